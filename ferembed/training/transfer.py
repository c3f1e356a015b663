"""Transfer: a backbone trained or fine-tuned on a data set, as a pipeline."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from ferembed._progress import Progress, report_progress
from ferembed.backbones import BACKBONES, BackboneSpec, LoadRequest, load_backbone
from ferembed.backbones.network import Network
from ferembed.backbones.preprocess import Preprocess
from ferembed.backbones.weight_files import save_weights
from ferembed.datasets import Dataset
from ferembed.embedder import Failure
from ferembed.errors import ImageError, TrainingError
from ferembed.heads.softmax import Softmax
from ferembed.images import load_image
from ferembed.inference.openvino import Floats
from ferembed.pipeline import Pipeline
from ferembed.storage.files import exclusive_folder
from ferembed.training.augmentation import Faces
from ferembed.training.checkpoint import digest_of, read_history
from ferembed.training.curves import draw_curves
from ferembed.training.fastest import find_fastest
from ferembed.training.loop import train
from ferembed.training.recipe import DEFAULT, RECIPES, TrainingRecipe


@dataclass(frozen=True)
class TrainingResult:
    """A trained backbone: its pipeline, its files, and a row of numbers for each epoch."""

    pipeline: Pipeline
    weights: Path
    curves: Path
    history: tuple[dict[str, Any], ...]

    @property
    def seconds(self) -> float:
        return sum(float(row["seconds"]) for row in self.history)

    @property
    def validation_accuracy(self) -> float:
        """The accuracy on the validation faces after the last epoch."""
        return float(self.history[-1]["validation_accuracy"])

    @property
    def best_validation_accuracy(self) -> float:
        return max(float(row["validation_accuracy"]) for row in self.history)


def train_backbone(
    data: Dataset,
    backbone: str,
    folder: str | os.PathLike[str],
    recipe: TrainingRecipe | None = None,
    *,
    weights: str | None = None,
    training: str = "train",
    validation: str = "validation",
    fastest: bool = False,
    tell: Callable[[str], object] = lambda line: None,
    progress: Progress | None = None,
    on_epoch: Callable[[dict[str, Any]], object] = lambda row: None,
) -> TrainingResult:
    """Train a backbone on a data set; the pipeline has the network's own last layer as its head.

    The folder gets the weights (BACKBONE.npz), the history as JSON and as a picture, and the
    checkpoint: called again, an unfinished run is resumed. `weights` to start from are a file, or
    "pretrained" for those of the backbone; a backbone that ends in vectors gets a last layer. The
    default recipe is the one in RECIPES, or TrainingRecipe(). Pictures that cannot be read are
    skipped and listed in the pipeline's `failures_`.

    `fastest` measures first with which precision and batch size training is fastest here, and takes
    them: see `find_fastest`, which calls `tell`.

    `progress` is called for each picture read, then for each batch, and `on_epoch` with the numbers
    of each epoch.
    """
    folder = Path(folder)
    spec = BACKBONES[backbone]
    if spec.build is None:
        raise TrainingError(f"{backbone} has no network that can be trained.")
    source = None if weights is None else _source_network(backbone, weights)
    failures: list[Failure] = []
    parts = [
        _faces_and_targets(data.split(split), spec.preprocess, failures, progress)
        for split in (training, validation)
    ]
    classes = list(data.classes)
    used = recipe or RECIPES.get(backbone, DEFAULT)
    facts = {
        "backbone": backbone,
        "classes": classes,
        "weights": None if source is None else digest_of(source.get_weights()),
    }
    build = partial(_network, spec, len(classes), source)
    with exclusive_folder(folder, TrainingError):
        if fastest:
            used = find_fastest(build, spec.preprocess, parts[0], folder, used, tell=tell)
        model = train(
            build, spec.preprocess, parts[0], parts[1], folder, used,
            facts=facts, progress=progress, on_epoch=on_epoch,
        )  # fmt: skip
        history = read_history(folder)
        draw_curves(history, folder / "curves.png")
        path = folder / f"{backbone}.npz"
        _save(model, spec, len(classes), path)
    pipeline = _pipeline(model, spec, classes, path, _training_prior(parts[0][1], classes, used))
    pipeline.failures_ = tuple(failures)
    return TrainingResult(pipeline, path, folder / "curves.png", history)


def _save(model: Any, spec: BackboneSpec, classes: int, path: Path) -> None:
    """Save the weights of the backbone, and give the model those of a classifier, rounded."""
    assert spec.build is not None
    whole = spec.build(classes) if spec.classifier else spec.build()
    copy_weights(model, whole)
    save_weights(whole, path)
    if spec.classifier:
        copy_weights(whole, model)


def _pipeline(
    model: Any,
    spec: BackboneSpec,
    classes: list[str],
    weights: Path,
    training_prior: dict[str, float] | None,
) -> Pipeline:
    """The pipeline of the saved weights, whose head is the last layer of the model."""
    layer, last = _embedding_layer(model, spec)
    kernel, bias = (weight.numpy() for weight in last.weights)
    return Pipeline.from_head(
        Softmax.from_layer(kernel, bias, classes),
        training_prior=training_prior,
        backbone=spec.name,
        layer=layer,
        weights=str(weights),
    )


def _training_prior(
    targets: Floats, classes: list[str], recipe: TrainingRecipe
) -> dict[str, float] | None:
    """The class shares that the network expects; None where it has not seen a class."""
    shares = np.asarray(targets).sum(axis=0, dtype=np.float64)
    if not shares.all():
        return None
    if recipe.class_weight == "balanced":
        shares = np.ones(len(classes))
    return dict(zip(classes, (shares / shares.sum()).tolist(), strict=True))


def _source_network(backbone: str, weights: str) -> Any:
    """The Keras network that fine-tuning starts from."""
    named = None if weights == "pretrained" else weights
    loaded = load_backbone(LoadRequest(backbone, weights=named, engine="keras"))
    assert isinstance(loaded, Network)
    return loaded.model


def _faces_and_targets(
    data: Dataset, preprocess: Preprocess, failures: list[Failure], progress: Progress | None
) -> tuple[Faces, Floats]:
    """The pictures, no larger than the input of the network, and the targets of each."""
    gray = preprocess.color == "gray"
    faces, kept, earlier = [], [], len(failures)
    for i, source in enumerate(data.images):
        try:
            face = load_image(source)
        except ImageError as error:
            failures.append(Failure(i, data.images.name(i), str(error)))
        else:
            if gray:
                face = np.asarray(cv2.cvtColor(face, cv2.COLOR_RGB2GRAY), np.uint8)
            small = max(face.shape[:2]) <= preprocess.size
            faces.append(face if small else preprocess.resized(face))
            kept.append(i)
        report_progress(progress, i, len(data))
    if len({face.shape for face in faces}) > 1:
        faces = [preprocess.resized(face) for face in faces]
    if not faces:
        raise TrainingError("None of the pictures can be read: " + failures[earlier].reason)
    return np.stack(faces), data.targets[kept]


def _network(spec: BackboneSpec, classes: int, source: Any) -> Any:
    """The network to train: from a face to a value per class."""
    import keras

    assert spec.build is not None
    model = spec.build(classes) if spec.classifier else spec.build()
    if not spec.classifier:
        x = model.get_layer(spec.layers[0][0]).output
        x = keras.layers.Dropout(0.3, name="drop_logits")(x)
        x = keras.layers.Dense(classes, name="logits", dtype="float32")(x)
        model = keras.Model(model.inputs[0], x)
    if source is not None:
        copy_weights(source, model)
    return model


def copy_weights(source: Any, target: Any) -> None:
    """Copy each weight of the source to the weight of the target with its name and shape."""
    values = {weight.path: weight for weight in source.weights}
    for weight in target.weights:
        value = values.get(weight.path)
        if value is not None and tuple(value.shape) == tuple(weight.shape):
            weight.assign(value.numpy())


def _embedding_layer(model: Any, spec: BackboneSpec) -> tuple[str, Any]:
    """The layer whose vectors the last layer classifies, and the last layer."""
    import keras

    *body, last = model.layers
    taken = last.input
    for layer in reversed(body):
        if layer.output is taken:
            if layer.name in dict(spec.layers):
                return layer.name, last
            if not isinstance(layer, keras.layers.Dropout):
                break
            taken = layer.input
    raise TrainingError(f"No embedding layer of {spec.name} is the input of its last layer.")
