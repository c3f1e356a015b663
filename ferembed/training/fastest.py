"""find_fastest: which precision and batch size train a network fastest on this machine."""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Callable
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

from ferembed.backbones.convert import import_keras
from ferembed.backbones.preprocess import Preprocess
from ferembed.errors import TrainingError
from ferembed.inference.openvino import Floats
from ferembed.storage.files import atomic_write
from ferembed.training.augmentation import Faces
from ferembed.training.loop import Batches, compiled
from ferembed.training.recipe import TrainingRecipe

_FILE = "fastest.json"
_DTYPES = ("float32", "mixed_bfloat16")
_WARM, _STEPS = 2, 5  # steps of a measurement: those that do not count, and those that do
_GAIN = 1.05  # another setting than the recipe's must be so much faster
_FEWEST_STEPS = 20  # of an epoch, or a batch is too large


def find_fastest(
    build: Callable[[], Any],
    preprocess: Preprocess,
    training: tuple[Faces, Floats],
    folder: Path,
    recipe: TrainingRecipe,
    tell: Callable[[str], object] = lambda line: None,
) -> TrainingRecipe:
    """The recipe with the precision and batch size that are fastest here, by a few steps of each.

    Batches of the recipe's size and of twice that are tried; with SGD, the learning rate grows with
    them. Larger batches are fewer steps of an epoch, which may need more epochs. The folder keeps
    the choice, so that a run that is resumed goes on with it. `tell` is called with a line for each
    measurement and for the choice.
    """
    file = folder / _FILE
    if file.exists():
        return _read(file, recipe)
    speeds: dict[TrainingRecipe, float] = {}
    for dtype in dict.fromkeys((recipe.dtype, *_DTYPES)):
        for factor in (1, 2):
            changed = _with_batches(replace(recipe, dtype=dtype), factor)
            if factor > 1 and len(training[0]) < _FEWEST_STEPS * changed.batch_size:
                continue
            try:
                speeds[changed] = _speed(build, preprocess, training, changed)
            except Exception as error:  # such as one of a GPU whose memory is too small
                if changed == recipe:
                    raise
                tell(f"{_text(changed)}: left out, {type(error).__name__}")
                continue
            tell(f"{_text(changed)}: {speeds[changed]:,.0f} faces a second")
    chosen = max(speeds, key=lambda one: speeds[one])
    if speeds[chosen] < _GAIN * speeds[recipe]:
        chosen = recipe
    tell(f"training with {_text(chosen)}, rate {chosen.rate:g}")
    facts = {
        "given": _settings(recipe),
        "chosen": _settings(chosen),
        "faces_per_second": {_text(one): round(speed, 1) for one, speed in speeds.items()},
    }
    with atomic_write(file) as unfinished:
        unfinished.write_text(json.dumps(facts, indent=1), "utf-8")
    return chosen


def _settings(recipe: TrainingRecipe) -> dict[str, Any]:
    return {name: getattr(recipe, name) for name in ("dtype", "batch_size", "rate")}


def _text(recipe: TrainingRecipe) -> str:
    return f"{recipe.dtype}, batches of {recipe.batch_size}"


def _with_batches(recipe: TrainingRecipe, factor: int) -> TrainingRecipe:
    rate = recipe.rate * (factor if recipe.optimizer == "sgd" else 1)
    return replace(recipe, batch_size=factor * recipe.batch_size, rate=rate)


def _speed(
    build: Callable[[], Any],
    preprocess: Preprocess,
    training: tuple[Faces, Floats],
    recipe: TrainingRecipe,
) -> float:
    """The training speed in faces per second, measured over a few steps."""
    import_keras()
    model, _, _ = compiled(build, recipe, label_sets=())
    batches = Batches(preprocess, *training, recipe)
    seconds, faces = [], 0
    started = time.perf_counter()
    for batch in islice(batches.of_epoch(0), _WARM + _STEPS):
        model.train_on_batch(*batch)
        now = time.perf_counter()
        seconds.append(now - started)
        started, faces = now, len(batch[0])
    return faces / statistics.median(seconds[_WARM:] or seconds)


def _read(file: Path, recipe: TrainingRecipe) -> TrainingRecipe:
    """The recipe with what an earlier call chose for it."""
    try:
        kept = json.loads(file.read_text("utf-8"))
        given, chosen = (
            {name: kept[key][name] for name in _settings(recipe)} for key in ("given", "chosen")
        )
        found = replace(recipe, **chosen)
    except (ValueError, KeyError, TypeError, OSError) as error:
        raise TrainingError(f"{file} is damaged. Remove it, or give another folder.") from error
    if given != _settings(recipe):
        raise TrainingError(
            f"{file} was measured for another precision, batch size or rate. Continue with "
            "the same settings, or give another folder."
        )
    return found
