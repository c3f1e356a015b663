"""Recipe: the settings that a network is trained with, and those of the backbones that ship."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any, Literal

import numpy as np

from ferembed.errors import TrainingError, UnknownName
from ferembed.registry import unknown_name_message
from ferembed.training.augmentation import Augmentation

# Of a recipe's numbers: at least the one, less than the other.
_BOUNDS: tuple[tuple[str, type | tuple[type, ...], float, float], ...] = (
    *((name, int, 1, np.inf) for name in ("epochs", "batch_size")),
    *((name, int, 0, np.inf) for name in ("warmup_epochs", "patience", "stop_after", "seed")),
    *((name, (int, float), 0, np.inf) for name in ("rate", "weight_decay", "body_rate", "mixup")),
    *((n, (int, float), 0, 1) for n in ("momentum", "averaging", "label_smoothing", "steady")),
)


@dataclass(frozen=True, kw_only=True)
class TrainingRecipe:
    """All settings of a training run; its history.json holds them."""

    epochs: int = 45
    rate: float = 0.1  # the highest learning rate
    schedule: Literal["cosine", "plateau", "constant"] = "cosine"
    steady: float = 0.0  # share of the epochs at the highest rate before the cosine schedule starts
    warmup_epochs: int = 2
    patience: int = 3  # epochs without improvement before a plateau halves the rate
    stop_after: int = 0  # epochs without improvement before training stops; 0: never
    keep: Literal["last", "best"] = "last"  # by accuracy on the validation faces
    optimizer: Literal["sgd", "adam"] = "sgd"
    momentum: float = 0.9
    weight_decay: float = 5e-3  # decoupled: per step, times the learning rate
    body_rate: float = 1.0  # factor of the rate for all but the last layer; below 1 to fine-tune
    batch_size: int = 128
    loss: Literal["crossentropy", "squared_hinge"] = "crossentropy"
    label_smoothing: float = 0.1
    class_weight: Literal["none", "balanced"] = "none"
    mixup: float = 0.0  # alpha of the Beta distribution that mixes two faces
    averaging: float = 0.0  # decay of the running average of the weights per step
    augmentation: Augmentation | None = field(default_factory=Augmentation)
    dtype: str = "mixed_bfloat16"
    seed: int = 0

    def __post_init__(self) -> None:
        for name, known in (
            ("schedule", ("cosine", "plateau", "constant")),
            ("keep", ("last", "best")),
            ("optimizer", ("sgd", "adam")),
            ("loss", ("crossentropy", "squared_hinge")),
            ("class_weight", ("none", "balanced")),
        ):
            if getattr(self, name) not in known:
                raise UnknownName(unknown_name_message(name, getattr(self, name), list(known)))
        for name, kind, least, below in _BOUNDS:
            value = getattr(self, name)
            fits = isinstance(value, kind) and not isinstance(value, bool)
            if not (fits and least <= value < below):
                what = "a whole number" if kind is int else "a number"
                bound = f" and less than {below:g}" if below < np.inf else ""
                raise TrainingError(
                    f"{name} is {value!r}; it is {what} of at least {least}{bound}."
                )
        if isinstance(self.augmentation, dict):  # from JSON
            try:
                object.__setattr__(self, "augmentation", Augmentation(**self.augmentation))
            except TypeError as error:
                raise TrainingError(f"augmentation is {self.augmentation!r}: {error}.") from None
        if not isinstance(self.augmentation, (Augmentation, type(None))):
            raise TrainingError(
                f"augmentation is {self.augmentation!r}; it is an Augmentation, as JSON "
                f"{json.dumps(asdict(Augmentation()))}, or null."
            )

    def rate_after(self, accuracies: list[float]) -> float:
        """The learning rate of the next epoch, after epochs of these validation accuracies."""
        epoch = len(accuracies)
        if epoch < self.warmup_epochs:
            return self.rate * (epoch + 1) / (self.warmup_epochs + 1)
        if self.schedule == "constant":
            return self.rate
        if self.schedule == "plateau":
            halvings, waited, best = 0, 0, -1.0
            for accuracy in accuracies:
                waited, best = (0, accuracy) if accuracy > best else (waited + 1, best)
                if waited >= self.patience:
                    halvings, waited = halvings + 1, 0
            return self.rate * 0.5**halvings
        start = max(self.warmup_epochs, int(self.steady * self.epochs))
        done = max(0.0, (epoch - start) / max(1, self.epochs - start))
        return float(self.rate * 0.5 * (1 + np.cos(np.pi * done)) + 1e-5)

    def ends_after(self, accuracies: list[float]) -> bool:
        """True when training is over after epochs of these validation accuracies."""
        since = len(accuracies) - 1 - int(np.argmax(accuracies)) if accuracies else 0
        return len(accuracies) >= self.epochs or bool(self.stop_after and since >= self.stop_after)


DEFAULT = TrainingRecipe()


def recipe_for(backbone: str, **changes: Any) -> TrainingRecipe:
    """The recipe of a backbone, with other settings.

    >>> recipe_for("bn-cnn", epochs=3).batch_size
    32
    """
    recipe = RECIPES.get(backbone, DEFAULT)
    known = [one.name for one in fields(recipe)]
    for name in changes:
        if name not in known:
            raise UnknownName(unknown_name_message("setting of a recipe", name, known))
    return replace(recipe, **changes)


_AUTHORS = TrainingRecipe(  # of the publications of the reference networks
    warmup_epochs=0,
    schedule="constant",
    optimizer="adam",
    weight_decay=0.0,
    label_smoothing=0.0,
    augmentation=None,
)
_EARLY = replace(_AUTHORS, epochs=60, rate=1e-3, batch_size=64, stop_after=10, keep="best")
RECIPES = {
    "bn-cnn": replace(_AUTHORS, epochs=25, rate=5e-4, batch_size=32),
    "plain-150": replace(_AUTHORS, epochs=30, rate=1e-4, batch_size=64),
    "cnn-5": replace(_EARLY, augmentation=Augmentation(erasing=0.0)),
    "vgg11": replace(_EARLY, rate=1e-4, augmentation=Augmentation(erasing=0.0)),
    "regions": replace(
        _AUTHORS,
        epochs=8,
        rate=1e-3,
        schedule="cosine",
        batch_size=64,
        augmentation=Augmentation(erasing=0.0),
    ),
    **{f"cnn-{letter}": _EARLY for letter in "abcde"},
    **{f"cnn-{letter}": replace(_EARLY, loss="squared_hinge") for letter in "fg"},
}
