"""Train a backbone on labelled faces: augmentation, a cosine schedule, checkpoints that resume."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from ferembed.files import replacing


@dataclass(frozen=True)
class Augmentation:
    """How far a training face may move; every range is symmetric around no change."""

    mirror: bool = True
    rotation: float = 10.0  # degrees
    scale: float = 0.15  # share of the side
    shift: float = 0.08  # share of the side
    contrast: float = 0.25  # share
    brightness: float = 20.0  # gray levels
    erasing: float = 0.25  # probability of a blank rectangle

    def apply(self, faces: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.uint8]:
        """A changed copy of (n, h, w) gray faces; the same generator state gives the same copy."""
        n, height, width = faces.shape
        angle = np.deg2rad(rng.uniform(-self.rotation, self.rotation, n))
        zoom = np.exp(rng.uniform(-1, 1, n) * np.log1p(self.scale))
        flip = np.where(rng.random((n,)) < 0.5 * self.mirror, -1.0, 1.0)
        offset = rng.uniform(-self.shift, self.shift, (n, 2)) * (width, height)
        gain = 1 + rng.uniform(-self.contrast, self.contrast, (n,))
        light = rng.uniform(-self.brightness, self.brightness, (n,))
        erased = rng.random((n,)) < self.erasing
        boxes = rng.uniform(0, 1, (n, 4))
        fill = rng.integers(0, 256, (n,))

        cos, sin = np.cos(angle) * zoom, np.sin(angle) * zoom
        matrix = np.stack([np.stack([flip * cos, -sin], 1), np.stack([flip * sin, cos], 1)], 1)
        centre = np.array([(width - 1) / 2, (height - 1) / 2])
        offset = centre + offset - matrix @ centre
        affine = np.concatenate([matrix, offset[:, :, None]], 2)
        changed = np.empty_like(faces)
        for i in range(n):
            face = cv2.warpAffine(
                faces[i], affine[i], (width, height), borderMode=cv2.BORDER_REPLICATE
            )
            changed[i] = cv2.convertScaleAbs(
                np.maximum(face * gain[i] + (128 * (1 - gain[i]) + light[i]), 0)
            )
            if erased[i]:
                h, w = (np.array([height, width]) * (0.15 + 0.25 * boxes[i, :2])).astype(int)
                y, x = (boxes[i, 2:] * (height - h, width - w)).astype(int)
                changed[i, y : y + h, x : x + w] = fill[i]
        return changed


@dataclass(frozen=True)
class Recipe:
    """Everything that decides how a network is trained. Results name it in full."""

    cycles: tuple[tuple[int, float], ...] = ((45, 0.1),)  # epochs, highest rate
    batch_size: int = 128
    warmup_epochs: int = 2
    momentum: float = 0.9
    weight_decay: float = 5e-3  # decoupled: per step, times the learning rate
    label_smoothing: float = 0.1
    augmentation: Augmentation = Augmentation()
    dtype: str = "mixed_bfloat16"
    seed: int = 0

    @property
    def epochs(self) -> int:
        return sum(epochs for epochs, _ in self.cycles)

    def rate(self, epoch: int) -> float:
        """The learning rate of an epoch: each cycle warms up, then falls to almost nothing."""
        cycle = 0
        while epoch >= self.cycles[cycle][0]:
            epoch -= self.cycles[cycle][0]
            cycle += 1
        epochs, highest = self.cycles[cycle]
        if epoch < self.warmup_epochs:
            return highest * (epoch + 1) / (self.warmup_epochs + 1)
        done = (epoch - self.warmup_epochs) / max(1, epochs - self.warmup_epochs)
        return float(highest * 0.5 * (1 + np.cos(np.pi * done)) + 1e-5)


def train(
    build: Callable[[], Any],
    scale: Callable[[NDArray[np.uint8]], NDArray[np.float32]],
    training: tuple[NDArray[np.uint8], NDArray[np.integer[Any]]],
    validation: tuple[NDArray[np.uint8], NDArray[np.integer[Any]]],
    folder: Path,
    recipe: Recipe = Recipe(),
    report: Callable[[dict[str, Any]], None] = lambda row: None,
) -> Any:
    """The trained Keras model. Called again with the same folder it goes on where it stopped.

    `build` returns a network that ends in logits; `scale` makes its input of (n, h, w) gray bytes.
    Each epoch draws from its own seed, so a resumed run sees the pictures an unbroken one would.
    """
    import keras

    folder.mkdir(parents=True, exist_ok=True)
    keras.utils.set_random_seed(recipe.seed)
    keras.config.set_dtype_policy(recipe.dtype)
    try:
        model = build()
    finally:
        keras.config.set_dtype_policy("float32")
    optimizer = keras.optimizers.SGD(
        momentum=recipe.momentum, nesterov=True, weight_decay=recipe.weight_decay
    )
    optimizer.exclude_from_weight_decay(var_names=["bias", "gamma", "beta"])
    model.compile(
        optimizer,
        keras.losses.CategoricalCrossentropy(
            from_logits=True, label_smoothing=recipe.label_smoothing
        ),
        metrics=["accuracy"],
        jit_compile=False,
    )
    optimizer.build(model.trainable_variables)

    faces, labels = training
    targets = np.eye(int(labels.max()) + 1, dtype=np.float32)[labels]
    valid = scale(validation[0]), np.eye(targets.shape[1], dtype=np.float32)[validation[1]]
    history: list[dict[str, Any]] = []
    state, log = folder / "state.npz", folder / "history.json"
    variables = [*model.variables, *optimizer.variables]
    if state.exists():
        history = json.loads(log.read_text())["epochs"]
        with np.load(state) as saved:
            # The log is written first: a kill between the two leaves one epoch more in it.
            history = history[: int(saved["epoch"])]
            for i, variable in enumerate(variables):
                variable.assign(saved[f"v{i}"])
    for epoch in range(len(history), recipe.epochs):
        started = time.perf_counter()
        rng = np.random.default_rng([recipe.seed, epoch])
        keras.utils.set_random_seed(recipe.seed * 10_000 + epoch)
        order = rng.permutation(len(faces))
        optimizer.learning_rate.assign(recipe.rate(epoch))
        seen = scale(recipe.augmentation.apply(faces[order], rng))
        fit = model.fit(
            seen, targets[order], batch_size=recipe.batch_size, shuffle=False, verbose=0
        ).history
        loss, accuracy = model.evaluate(*valid, batch_size=256, verbose=0)
        row = {
            "epoch": epoch + 1,
            "rate": recipe.rate(epoch),
            "loss": fit["loss"][0],
            "accuracy": fit["accuracy"][0],
            "validation_loss": loss,
            "validation_accuracy": accuracy,
            "seconds": time.perf_counter() - started,
        }
        history.append(row)
        text = json.dumps({"recipe": asdict(recipe), "epochs": history}, indent=1)
        arrays: dict[str, Any] = {f"v{i}": np.asarray(v.value) for i, v in enumerate(variables)}
        arrays["epoch"] = np.array(epoch + 1)
        with replacing(log) as unfinished:
            unfinished.write_text(text)
        with replacing(state) as unfinished:
            np.savez(unfinished, **arrays)
        report(row)
    return model
