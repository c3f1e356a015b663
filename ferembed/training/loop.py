"""Training of a Keras network: epochs, batches and validation; an interrupted run resumes."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from ferembed._progress import Progress
from ferembed.backbones.convert import import_keras
from ferembed.backbones.preprocess import Preprocess
from ferembed.errors import TrainingError
from ferembed.inference.openvino import Floats
from ferembed.training.augmentation import Faces
from ferembed.training.checkpoint import AVERAGE_EVERY, Checkpoint, digest_of
from ferembed.training.losses import (
    accuracy_metric,
    make_loss,
    make_optimizer,
    validation_accuracies,
)
from ferembed.training.recipe import DEFAULT, TrainingRecipe

_SEEDS = 2**32  # NumPy and Keras take smaller ones


def train(
    build: Callable[[], Any],
    preprocess: Preprocess,
    training: tuple[Faces, Floats],
    validation: tuple[Faces, Floats],
    folder: str | os.PathLike[str],
    recipe: TrainingRecipe = DEFAULT,
    *,
    facts: dict[str, Any] | None = None,
    label_sets: Sequence[int] = (),
    progress: Progress | None = None,
    on_epoch: Callable[[dict[str, Any]], object] = lambda row: None,
) -> Any:
    """The trained Keras model. Called again with the same folder it continues where it stopped.

    `build` returns a network that ends in softmax or in logits. Targets are probabilities of each
    class: one-hot rows, votes, or the predictions of a larger network. Each batch draws from its
    own seed, so a resumed run sees the same pictures as an uninterrupted one. A run of other
    `facts`, faces or recipe is not continued.

    With several label sets, `label_sets` says how many columns of the targets belong to each. The
    loss is the sum of one cross-entropy per set. A row of zeros in a set is a face without a label
    there, and a row that sums to less than one counts less.

    `progress` is called after each batch, and `on_epoch` with the numbers of each epoch.
    """
    keras = import_keras()
    _check(training, validation, recipe)
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    facts = {**(facts or {}), "faces": digest_of([*training, *validation])}
    keras.utils.set_random_seed(recipe.seed % _SEEDS)
    model, optimizer, loss = compiled(build, recipe, label_sets)
    checkpoint = Checkpoint(folder, recipe, facts, model, optimizer)
    epochs = _Epochs(
        model=model,
        optimizer=optimizer,
        batches=Batches(preprocess, *training, recipe),
        recipe=recipe,
        checkpoint=checkpoint,
        progress=progress,
    )
    accuracies = [row["validation_accuracy"] for row in checkpoint.history]
    while not recipe.ends_after(accuracies):
        started = time.perf_counter()
        row = epochs.fit(len(accuracies), recipe.rate_after(accuracies))
        with checkpoint.averaged():
            outputs = _outputs(model, preprocess, validation[0])
        row["validation_loss"] = float(np.mean(loss(validation[1], outputs)))
        row |= validation_accuracies(outputs, validation[1], label_sets)
        row["seconds"] = time.perf_counter() - started
        accuracies.append(row["validation_accuracy"])
        checkpoint.save(row)
        on_epoch(row)
    checkpoint.finish()
    return model


def compiled(
    build: Callable[[], Any], recipe: TrainingRecipe, label_sets: Sequence[int]
) -> tuple[Any, Any, Any]:
    """The network, ready to train, its optimizer and its loss."""
    import keras

    with _dtype_policy(recipe.dtype):
        model = build()
    loss = make_loss(model, recipe, label_sets)
    optimizer = make_optimizer(model, recipe)
    on_tensorflow = keras.backend.backend() == "tensorflow"
    model.compile(
        optimizer,
        loss,
        metrics=[accuracy_metric(label_sets[0])] if label_sets else ["accuracy"],
        jit_compile=False if on_tensorflow else "auto",
    )
    optimizer.build(model.trainable_variables)
    return model, optimizer, loss


@contextmanager
def _dtype_policy(name: str) -> Iterator[None]:
    """Inside `with`, Keras builds layers with this dtype policy; then with the one before."""
    import keras

    before = keras.config.dtype_policy()
    try:
        keras.config.set_dtype_policy(name)
    except (TypeError, ValueError) as error:
        raise TrainingError(f"dtype is {name!r}, which Keras does not know.") from error
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)


@dataclass(frozen=True, kw_only=True)
class _Epochs:
    """One epoch after the other of a run."""

    model: Any
    optimizer: Any
    batches: Batches
    recipe: TrainingRecipe
    checkpoint: Checkpoint
    progress: Progress | None

    def fit(self, epoch: int, rate: float) -> dict[str, Any]:
        """Train for one epoch; its loss and accuracy on the training faces."""
        import keras

        keras.utils.set_random_seed((self.recipe.seed * 10_000 + epoch) % _SEEDS)
        self.optimizer.learning_rate.assign(rate)
        sums = {"loss": 0.0, "accuracy": 0.0}
        for step, batch in enumerate(self.batches.of_epoch(epoch)):
            self.model.reset_metrics()
            fitted = self.model.train_on_batch(*batch, return_dict=True)
            for name in sums:
                sums[name] += float(fitted[name]) * len(batch[0]) / len(self.batches.faces)
            if not np.isfinite(fitted["loss"]):
                raise TrainingError(
                    f"The loss is {fitted['loss']} in epoch {epoch + 1}: the learning rate "
                    f"{rate:.3g} is too high. Start again in another folder with a lower one."
                )
            if self.recipe.averaging and step % AVERAGE_EVERY == 0:
                self.checkpoint.average(epoch * len(self.batches) + step)
            if self.progress:
                done = epoch * len(self.batches) + step + 1
                self.progress(done, self.recipe.epochs * len(self.batches))
        return {"epoch": epoch + 1, "rate": rate, **sums}


def _check(
    training: tuple[Faces, Floats], validation: tuple[Faces, Floats], recipe: TrainingRecipe
) -> None:
    for name, (faces, shares) in (("training", training), ("validation", validation)):
        if len(faces) != len(shares) or shares.ndim != 2:
            raise TrainingError(
                f"{len(faces)} {name} faces and targets of the shape {shares.shape}: give one row "
                "of class shares per face."
            )
        if not len(faces):
            raise TrainingError(f"There are no {name} faces.")
    if training[1].shape[1] != validation[1].shape[1]:
        raise TrainingError("Training and validation have different numbers of classes.")
    if recipe.body_rate != 1 and recipe.optimizer != "sgd":
        raise TrainingError("body_rate scales gradients, and adam normalizes them: use sgd.")


class Batches:
    """The batches of any epoch; a thread makes the next one during a training step."""

    def __init__(
        self, preprocess: Preprocess, faces: Faces, shares: Floats, recipe: TrainingRecipe
    ) -> None:
        self.preprocess, self.faces, self.shares, self.recipe = preprocess, faces, shares, recipe
        self.weights = None
        if recipe.class_weight == "balanced":
            counts = np.maximum(shares.sum(axis=0), 1)
            self.weights = (len(shares) / (shares.shape[1] * counts)).astype(np.float32)

    def __len__(self) -> int:
        return -(-len(self.faces) // self.recipe.batch_size)

    def of_epoch(self, epoch: int) -> Iterator[tuple[Any, ...]]:
        order = np.random.default_rng([self.recipe.seed, epoch]).permutation(len(self.faces))
        rows = np.array_split(order, len(self))
        with ThreadPoolExecutor(1) as pool:
            made = pool.submit(self._make, rows[0], epoch, 0)
            for step in range(len(rows)):
                batch = made.result()
                if step + 1 < len(rows):
                    made = pool.submit(self._make, rows[step + 1], epoch, step + 1)
                yield batch

    def _make(self, rows: NDArray[np.intp], epoch: int, step: int) -> tuple[Any, ...]:
        recipe = self.recipe
        rng = np.random.default_rng([recipe.seed, epoch, step])
        faces, shares = self.faces[rows], self.shares[rows]
        if recipe.augmentation is not None:
            faces = recipe.augmentation.apply(faces, rng)
        inputs = _inputs(self.preprocess, faces)
        if recipe.mixup:
            share = np.float32(rng.beta(recipe.mixup, recipe.mixup))
            partner = rng.permutation(len(rows))
            inputs = share * inputs + (1 - share) * inputs[partner]
            shares = share * shares + (1 - share) * shares[partner]
        return (inputs, shares) if self.weights is None else (inputs, shares, shares @ self.weights)


def _inputs(preprocess: Preprocess, faces: Faces) -> NDArray[np.float32]:
    in_colour = faces.ndim == 4
    return preprocess(
        face if in_colour else cv2.cvtColor(face, cv2.COLOR_GRAY2RGB) for face in faces
    )


def _outputs(model: Any, preprocess: Preprocess, faces: Faces, size: int = 256) -> Floats:
    parts = [
        np.asarray(model.predict_on_batch(_inputs(preprocess, faces[start : start + size])))
        for start in range(0, len(faces), size)
    ]
    return np.concatenate(parts).astype(np.float32)
