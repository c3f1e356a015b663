"""Checkpoint: the state of a training run on disk, from which it resumes."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from ferembed.errors import TrainingError
from ferembed.storage.arrays import write_arrays
from ferembed.storage.files import atomic_write
from ferembed.training.recipe import TrainingRecipe

HISTORY = "history.json"
AVERAGE_EVERY = 8  # steps


class Checkpoint:
    """The state of a run, written to its folder after each epoch and restored from there."""

    def __init__(
        self,
        folder: Path,
        recipe: TrainingRecipe,
        facts: dict[str, Any],
        model: Any,
        optimizer: Any,
    ) -> None:
        self.recipe, self.facts, self.model = recipe, facts, model
        self.log, self.state, self.best = (
            folder / name for name in (HISTORY, "state.npz", "best.npz")
        )
        self.variables = [*model.variables, *optimizer.variables]
        self.history: list[dict[str, Any]] = []
        self.averages = [np.asarray(w, np.float32).copy() for w in model.get_weights()]
        if self.state.exists():
            self._restore(folder)

    def _restore(self, folder: Path) -> None:
        """Continue the run in the folder, if it is of the same recipe and facts."""
        try:
            written = json.loads(self.log.read_text("utf-8"))
            before = {"recipe": written["recipe"], **written.get("of", self.facts)}
            now = {"recipe": json.loads(json.dumps(asdict(self.recipe))), **self.facts}
            changed = [name for name, value in now.items() if before.get(name) != value]
            if not changed:
                with np.load(self.state) as saved:
                    # The log is written first: after a kill between the two it has one epoch more.
                    self.history = written["epochs"][: int(saved["epoch"])]
                    for i, variable in enumerate(self.variables):
                        variable.assign(saved[f"v{i}"])
                    if self.recipe.averaging:
                        self.averages = [saved[f"a{i}"] for i in range(len(self.averages))]
        except (ValueError, KeyError, TypeError, AttributeError, OSError, BadZipFile) as error:
            raise TrainingError(f"The run in {folder} is damaged. Give another folder.") from error
        if changed:
            raise TrainingError(
                f"{folder} holds a run with a different setting: {changed[0]}. Continue it with "
                "the same settings, or give another folder."
            )

    def average(self, step: int) -> None:
        """Move the averages towards the weights, faster at first to forget the random start."""
        keep = min(self.recipe.averaging**AVERAGE_EVERY, (1 + step) / (10 + step))
        for average, weight in zip(self.averages, self.model.get_weights(), strict=True):
            average += (1 - keep) * (weight - average)

    @contextmanager
    def averaged(self) -> Iterator[None]:
        """Inside `with`, the model has the averaged weights, if the recipe averages."""
        if not self.recipe.averaging:
            yield
            return
        own = self.model.get_weights()
        self.model.set_weights(self.averages)
        try:
            yield
        finally:
            self.model.set_weights(own)

    def save(self, row: dict[str, Any]) -> None:
        self.history.append(row)
        written = {"recipe": asdict(self.recipe), "of": self.facts, "epochs": self.history}
        text = json.dumps(written, indent=1)
        arrays: dict[str, Any] = {f"v{i}": v.numpy() for i, v in enumerate(self.variables)}
        if self.recipe.averaging:
            arrays |= {f"a{i}": average for i, average in enumerate(self.averages)}
        accuracies = [row["validation_accuracy"] for row in self.history]
        if self.recipe.keep == "best" and int(np.argmax(accuracies)) == len(accuracies) - 1:
            with self.averaged(), atomic_write(self.best) as unfinished:
                weights = self.model.get_weights()
                best = {f"w{i}": weight for i, weight in enumerate(weights)}
                write_arrays(unfinished, best, packed=False)
        with atomic_write(self.log) as unfinished:
            unfinished.write_text(text, "utf-8")
        arrays["epoch"] = np.array(len(self.history))
        with atomic_write(self.state) as unfinished:
            write_arrays(unfinished, arrays, packed=False)

    def finish(self) -> None:
        """Give the model the weights that the recipe keeps."""
        if self.recipe.keep == "best":
            with np.load(self.best) as saved:
                self.model.set_weights([saved[name] for name in saved.files])
        elif self.recipe.averaging:
            self.model.set_weights(self.averages)


def read_history(folder: Path) -> tuple[dict[str, Any], ...]:
    """A row of numbers for each epoch of the run in a folder."""
    return tuple(json.loads((folder / HISTORY).read_text("utf-8"))["epochs"])


def digest_of(arrays: Iterable[NDArray[Any]]) -> str:
    """A digest of the content of arrays."""
    digest = hashlib.blake2b(digest_size=16)
    for array in arrays:
        digest.update(repr((array.shape, array.dtype.str)).encode())
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()
