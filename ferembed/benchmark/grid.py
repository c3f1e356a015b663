"""Grid: what is tried, as a small TOML file says it, and checked before anything runs.

    title = "Neighbours"

    [[cells]]
    backbone = ["mini-vgg", "twin-vgg"]
    head = "knn"
    head__n_neighbors = [10, 30, 100]

Each table of cells is tried in every combination of its lists; a value alone is a list of one.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from importlib import import_module
from itertools import product
from pathlib import Path
from typing import Any

from sklearn.base import is_classifier

from ferembed.backbones import BACKBONES
from ferembed.backbones.preprocess import Preprocess
from ferembed.errors import DataError, FerembedError, UnknownName
from ferembed.heads import HEADS
from ferembed.registry import unknown_name_message

_GRIDS = Path(__file__).parent / "grids"
EQUALIZERS = ("none", "histogram", "clahe")
NETWORK = "network"  # stands for the network's own last layer in the place of a head
TRAINED = "trained"  # stands for weights that are trained for the cell first
_PARAMETER = "head__"


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
    mirrored : learn from the mirror image of each face, too
    classes : "all", or some joined by "+", such as "angry+happy+sad+neutral"
    balance : learn from so many faces of each class, drawn or made of others; 0 is as they are
    faces : learn from so many faces, drawn at random with the shares of the classes; 0 is all
    head : the name of a head, a class of scikit-learn such as
        "sklearn.neighbors.KNeighborsClassifier", or "network" for the network's own last layer
    seed : of the head, where it draws at random, and of a network that is trained
    parameters : of the head, by name
    """

    backbone: str = "twin-vgg"
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
        """Every setting by its name in a grid."""
        own = {one.name: getattr(self, one.name) for one in fields(self)[:-1]}
        return {**own, **{_PARAMETER + name: value for name, value in self.parameters}}

    @property
    def vectors(self) -> Cell:
        """A cell that stands for the vectors: cells that share it share them."""
        seed = self.seed if self.weights == TRAINED else 0
        return replace(self, head=NETWORK, seed=seed, parameters=())

    @property
    def recipe(self) -> Preprocess | None:
        """How a face becomes the network's input, where it is not the backbone's own way."""
        if self.preprocess == "none":
            return None
        return replace(BACKBONES[self.backbone].preprocess, equalize=self.preprocess)  # type: ignore[arg-type]

    def make_head(self) -> Any:
        """The head, not fitted."""
        given = {name: _thawed(value) for name, value in self.parameters}
        head = self._plain_head().set_params(**given)
        others = head.get_params().keys() - given.keys()
        names = [name for name in others if name.rpartition("__")[2] == "random_state"]
        return head.set_params(**dict.fromkeys(names, self.seed))

    def _plain_head(self) -> Any:
        if not self.head.startswith("sklearn."):
            return HEADS[self.head].make()
        module, _, name = self.head.rpartition(".")
        try:
            made = getattr(import_module(module), name)()
        except (ImportError, AttributeError, TypeError):
            made = None
        if made is None or not is_classifier(made):
            raise UnknownName(f"{self.head} is no classifier of scikit-learn.")
        return made

    def check(self) -> None:
        """An error that says what is not known, or does not go together."""
        spec = BACKBONES[self.backbone]
        spec.dim(self.layer)
        if self.preprocess not in EQUALIZERS:
            raise UnknownName(
                unknown_name_message("preprocessing", self.preprocess, list(EQUALIZERS))
            )
        if self.weights is None:
            there = spec.weights is not None
        elif self.weights == TRAINED:
            there = spec.build is not None
        else:
            there = self.weights.startswith("random") or Path(self.weights).is_file()
        if not there:
            raise DataError(
                f"{self.backbone} has no weights {self.weights or 'of its own'}. Give the path of "
                f"a file of weights, or {TRAINED!r} to have it trained first."
            )
        for name in ("balance", "faces", "seed"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or value < 0:
                raise DataError(f"{name} is {value!r}; it is a whole number from 0.")
        if not isinstance(self.mirrored, bool):
            raise DataError(f"mirrored is {self.mirrored!r}; it is true or false.")
        if self.head == NETWORK:
            self._check_network()
            return
        if self.head not in HEADS and not self.head.startswith("sklearn."):
            raise UnknownName(unknown_name_message("head", self.head, [*HEADS, NETWORK]))
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
                f"The head {NETWORK!r} is the network's own last layer and has no parameters; "
                f"given are {', '.join(_PARAMETER + name for name, _ in self.parameters)}."
            )
        if self.weights != TRAINED and (self.weights or not BACKBONES[self.backbone].onnx):
            raise DataError(
                f"The head {NETWORK!r} needs a network that ships, or weights = {TRAINED!r}; "
                f"{self.backbone} is neither."
            )


@dataclass(frozen=True)
class Grid:
    """Cells to try, with a title, and what others report for the like: (who, accuracy, on what)."""

    title: str
    cells: tuple[Cell, ...]
    about: str = ""
    reported: tuple[tuple[str, float, str], ...] = ()

    @staticmethod
    def names() -> list[str]:
        """The names of the grids that ship."""
        return sorted(file.stem for file in _GRIDS.glob("*.toml"))

    @classmethod
    def named(cls, name: str | os.PathLike[str], **changes: Any) -> Grid:
        """A grid that ships, by its name, or the grid of a TOML file.

        `changes` take the place of what each table of cells says: backbone="cnn-a",
        head__C=[1, 10].
        """
        ready = cls.names()
        if str(name) in ready:
            text = (_GRIDS / f"{name}.toml").read_text("utf-8")
        else:
            path = Path(name)
            if path.suffix != ".toml":
                raise UnknownName(
                    unknown_name_message("grid", str(name), ready) + " Or give a TOML file."
                )
            try:
                text = path.read_text("utf-8")
            except (OSError, UnicodeDecodeError) as error:
                raise DataError(f"The grid {path} cannot be read: {error}.") from None
        return cls.parse(text, str(name), changes)

    @classmethod
    def parse(cls, text: str, name: str, changes: Mapping[str, Any] | None = None) -> Grid:
        """The grid that a TOML text says; every cell is checked."""
        if sys.version_info >= (3, 11):
            import tomllib
        else:
            import tomli as tomllib
        try:
            given = tomllib.loads(text)
        except tomllib.TOMLDecodeError as error:
            raise DataError(f"The grid {name} is no TOML: {error}.") from None
        known = ["title", "about", "cells", "reported"]
        for key in given:
            if key not in known:
                raise UnknownName(unknown_name_message(f"entry of the grid {name}", key, known))
        tables = given.get("cells", [])
        if not isinstance(tables, list) or not tables:
            raise DataError(f"The grid {name} has no [[cells]]: there is nothing to try.")
        cells = [cell for table in tables for cell in _product({**table, **(changes or {})})]
        for cell in cells:
            try:
                cell.check()
            except FerembedError as error:
                raise type(error)(f"The grid {name} cannot run: {error}") from None
        try:
            reported = tuple(
                (str(one["by"]), float(one["accuracy"]), str(one.get("on", "")))
                for one in given.get("reported", [])
            )
        except (KeyError, TypeError, ValueError) as error:
            raise DataError(
                f"[[reported]] of the grid {name} needs by and accuracy: {error!r}."
            ) from None
        title, about = str(given.get("title", name)), str(given.get("about", ""))
        return cls(title, tuple(dict.fromkeys(cells)), about, reported)


def _product(table: Mapping[str, Any]) -> list[Cell]:
    """The cells of one table: every combination of its lists."""
    own = [one.name for one in fields(Cell)[:-1]]
    for key in table:
        if key not in own and not key.startswith(_PARAMETER):
            raise UnknownName(
                unknown_name_message("setting of a cell", key, [*own, "head__C and so on"])
            )
    choices = [value if isinstance(value, list) else [value] for value in table.values()]
    if empty := [key for key, of in zip(table, choices, strict=True) if not of]:
        raise DataError(
            f"{empty[0]} of a table of cells is an empty list: there is nothing to try."
        )
    cells = []
    for values in product(*choices):
        settings = dict(zip(table, values, strict=True))
        parameters = {
            key.removeprefix(_PARAMETER): _frozen(settings.pop(key))
            for key in list(settings)
            if key.startswith(_PARAMETER)
        }
        for key in ("layer", "weights"):
            settings[key] = settings.get(key) or None
        cells.append(Cell(**settings, parameters=tuple(sorted(parameters.items()))))
    return cells


class _Table(dict[str, Any]):
    """A table of TOML as a part of a cell, which is never changed."""

    def __hash__(self) -> int:  # type: ignore[override]
        return hash(tuple(sorted(self.items())))


def _frozen(value: Any) -> Any:
    """A value of a TOML file that cells may be told apart by."""
    if isinstance(value, dict):
        return _Table({key: _frozen(one) for key, one in value.items()})
    return tuple(map(_frozen, value)) if isinstance(value, list) else value


def _thawed(value: Any) -> Any:
    """The value as scikit-learn takes it."""
    if isinstance(value, tuple):
        return tuple(map(_thawed, value))
    return {key: _thawed(one) for key, one in value.items()} if isinstance(value, dict) else value


def varying(cells: Sequence[Cell]) -> list[str]:
    """The settings in which cells differ, in the order of a cell."""
    every: dict[str, set[str]] = {}
    for cell in cells:
        for key, value in cell.facts().items():
            every.setdefault(key, set()).add(repr(value))
    count = len(cells)
    present = {key: sum(key in cell.facts() for cell in cells) for key in every}
    return [key for key, found in every.items() if len(found) > 1 or present[key] < count]
