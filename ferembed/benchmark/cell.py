"""Cell: one pipeline of a grid, checked before anything runs."""

from __future__ import annotations

import os
from dataclasses import KW_ONLY, dataclass, fields, replace
from importlib import import_module
from typing import Any

from sklearn.base import BaseEstimator, is_classifier

from ferembed.backbones import BACKBONES, DEFAULT_BACKBONE, LoadRequest
from ferembed.backbones.preprocess import EQUALIZERS, Preprocess
from ferembed.errors import DataError, UnknownName
from ferembed.heads import HEADS
from ferembed.registry import unknown_name_message

OWN_LAST_LAYER = "network"
"""In place of a head: the last layer of the network itself."""
TRAIN_FIRST = "trained"
"""In place of weights: they are trained on the data first."""
PARAMETER = "head__"


@dataclass(frozen=True)
class Cell:
    """One pipeline to try.

    >>> Cell(head="svm", parameters=(("C", 10),)).facts()["head__C"]
    10

    Parameters
    ----------
    backbone, layer, weights : as of an `Embedder`; the weights "trained" are trained on the data
        first, with the backbone's own recipe and the cell's seed
    preprocess : "none", "histogram" or "clahe", before the backbone's own preprocessing
    mirrored : train on the mirror image of each face, too
    classes : "all", or some joined by "+", such as "angry+happy+sad+neutral"
    balance : train on so many faces of each class, by dropping or augmenting faces; 0 is off
    faces : train on so many faces, drawn at random with the shares of the classes; 0 is all
    head : the name of a head, a class of scikit-learn such as
        "sklearn.neighbors.KNeighborsClassifier", or "network" for the network's own last layer
    seed : of a head with randomness, and of a network that is trained
    parameters : of the head, by name
    """

    backbone: str = DEFAULT_BACKBONE
    _: KW_ONLY
    layer: str | None = None
    weights: str | None = None
    preprocess: str = "none"
    mirrored: bool = False
    classes: str = "all"
    balance: int = 0
    faces: int = 0
    head: str = "svm"
    seed: int = 0
    parameters: tuple[tuple[str, Any], ...] = ()

    def facts(self) -> dict[str, Any]:
        """All settings by their names in a grid."""
        own = {one.name: getattr(self, one.name) for one in fields(self)[:-1]}
        return {**own, **{PARAMETER + name: value for name, value in self.parameters}}

    @property
    def vectors(self) -> Cell:
        """A cell that is the same for all cells with the same vectors."""
        seed = self.seed if self.weights == TRAIN_FIRST else 0
        return replace(self, head=OWN_LAST_LAYER, seed=seed, parameters=())

    @property
    def recipe(self) -> Preprocess | None:
        """The preprocessing, if it is not the backbone's own."""
        if self.preprocess == "none":
            return None
        return replace(BACKBONES[self.backbone].preprocess, equalize=self.preprocess)  # type: ignore[arg-type]

    def make_head(self) -> Any:
        """The head, not fitted."""
        given = {name: _to_sklearn(value) for name, value in self.parameters}
        head = self._plain_head().set_params(**given)
        others = head.get_params().keys() - given.keys()
        names = [name for name in others if name.rpartition("__")[2] == "random_state"]
        return head.set_params(**dict.fromkeys(names, self.seed))

    def _plain_head(self) -> Any:
        if not self.head.startswith("sklearn."):
            return HEADS[self.head].make()
        module, _, name = self.head.rpartition(".")
        try:
            found = getattr(import_module(module), name)
            # A function, which may do anything, is not called.
            made = found() if isinstance(found, type) and issubclass(found, BaseEstimator) else None
        except (ImportError, AttributeError, TypeError):
            made = None
        if made is None or not is_classifier(made):
            raise UnknownName(f"{self.head} is not a classifier of scikit-learn.")
        return made

    def check(self) -> None:
        """Raise an error for settings that are unknown or do not fit each other."""
        for name in ("backbone", "layer", "weights", "preprocess", "classes", "head"):
            value = getattr(self, name)
            if not isinstance(value, str) and not (value is None and name in ("layer", "weights")):
                raise DataError(f"{name} is {value!r}; it is a text.")
        spec = BACKBONES[self.backbone]
        spec.dim(self.layer)
        if self.preprocess not in EQUALIZERS:
            raise UnknownName(
                unknown_name_message("preprocessing", self.preprocess, list(EQUALIZERS))
            )
        if self.weights is None:
            there = spec.weights is not None
        elif self.weights == TRAIN_FIRST:
            there = spec.build is not None
        else:
            request = LoadRequest(self.backbone, weights=self.weights)
            there = request.seed is not None or os.path.isfile(self.weights)
        if not there:
            raise DataError(
                f"{self.backbone} has no weights {self.weights or 'of its own'}. Give the path of "
                f"a file of weights, or {TRAIN_FIRST!r} to have it trained first."
            )
        for name in ("balance", "faces", "seed"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < 1 << 32:
                raise DataError(f"{name} is {value!r}; it is a whole number from 0 to 4294967295.")
        if not isinstance(self.mirrored, bool):
            raise DataError(f"mirrored is {self.mirrored!r}; it is true or false.")
        if self.head == OWN_LAST_LAYER:
            self._check_network()
            return
        if self.head not in HEADS and not self.head.startswith("sklearn."):
            raise UnknownName(unknown_name_message("head", self.head, [*HEADS, OWN_LAST_LAYER]))
        known = sorted(self._plain_head().get_params())
        for name, _ in self.parameters:
            if name not in known:
                raise UnknownName(unknown_name_message(f"parameter of {self.head}", name, known))
        head = self.make_head()
        if hasattr(head, "_parameter_constraints"):
            try:
                head._validate_params()
            except ValueError as error:
                raise DataError(f"{self.head}: {error}") from None

    def _check_network(self) -> None:
        if self.parameters:
            raise DataError(
                f"The head {OWN_LAST_LAYER!r} is the network's last layer, without parameters. "
                f"Given: {', '.join(PARAMETER + name for name, _ in self.parameters)}."
            )
        if self.weights != TRAIN_FIRST and (self.weights or not BACKBONES[self.backbone].onnx):
            raise DataError(
                f"The head {OWN_LAST_LAYER!r} needs a network that ships, or weights = "
                f"{TRAIN_FIRST!r}; {self.backbone} is neither."
            )


class _Table(dict[str, Any]):
    """A table of TOML as a hashable value."""

    def __hash__(self) -> int:  # type: ignore[override]
        return hash(tuple(sorted(self.items())))


def hashable(value: Any) -> Any:
    """A value of a TOML file in a hashable form."""
    if isinstance(value, dict):
        return _Table({key: hashable(one) for key, one in value.items()})
    return tuple(map(hashable, value)) if isinstance(value, list) else value


def _to_sklearn(value: Any) -> Any:
    """The value as scikit-learn takes it."""
    if isinstance(value, tuple):
        return tuple(map(_to_sklearn, value))
    return (
        {key: _to_sklearn(one) for key, one in value.items()} if isinstance(value, dict) else value
    )
