"""Train the networks that ship, mini-vgg and fer-mobilenet, and write their weights.

    python -m benchmarks.make_network fer2013.zip ferplus.csv WORK --network NAME
    python -m benchmarks.make_network fer2013.zip ferplus.csv WORK --ship NAME [NAME ...]

Both are trained on the training split of FER2013 with two label sets at once: the vote
distributions of FER+ over eight expressions, and FER2013's own seven classes. A face counts in the
first by the share of its votes that name an expression, and half in the second, unless most people
saw no face in it. Half of each target is what the fer-mobilenet of START predicts. Training
continues from the weights of START. The folded norms of fer-mobilenet are given back first, so
that its later blocks can be trained; the first blocks stay as they are. What is written is a mean
of the trained weights and those of START, which has a lower loss on the validation split than
either.

The validation split (PublicTest) is scored after each epoch and selects nothing. WORK keeps the
checkpoints: run again, training continues where it stopped.
"""

from __future__ import annotations

import argparse
import csv
import io
import re
import subprocess
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from scipy.special import softmax

from ferembed import datasets
from ferembed.backbones import BACKBONES, fer_mobilenet, mini_vgg
from ferembed.backbones.convert import export_onnx
from ferembed.backbones.weight_files import save_weights
from ferembed.images import load_image
from ferembed.storage.folders import models_folder
from ferembed.storage.weights import read_weights, sha256_of
from ferembed.training import Augmentation, TrainingRecipe, train

START = "e3cd691"  # the commit whose weights training continues from
TEACHER = "fer-mobilenet"
VOTES = ("anger", "disgust", "fear", "happiness", "sadness", "surprise", "neutral", "contempt")
LABEL_SETS = (8, 7)
OWN_CLASS = 0.5  # the weight of FER2013's class beside the votes
TRAINED = 0.75  # share of the trained weights in the mean; the rest are those of START
FROZEN = 2  # blocks of fer-mobilenet that stay as they are
SEEN = 256  # faces that set the norms given back to it
STRONG = Augmentation(rotation=12, scale=0.2, shift=0.1, erasing=0.4)
RECIPES = {
    "mini-vgg": TrainingRecipe(
        epochs=10,
        rate=0.06,
        steady=0.2,
        warmup_epochs=1,
        label_smoothing=0.0,
        averaging=0.998,
        augmentation=STRONG,
        seed=22,
    ),
    "fer-mobilenet": TrainingRecipe(
        epochs=12,
        rate=0.03,
        steady=0.2,
        warmup_epochs=1,
        label_smoothing=0.0,
        averaging=0.998,
        batch_size=64,
        dtype="float32",
        augmentation=STRONG,
        seed=21,
    ),
}
VIEWS = 4  # augmented copies of a face that the teacher predicts
Split = tuple[np.ndarray, np.ndarray]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("data", help="FER2013 as a zip of class folders, or its CSV")
    parser.add_argument("votes", type=Path, help="ferplus.csv")
    parser.add_argument("work", type=Path, help="a folder for checkpoints")
    chosen = parser.add_mutually_exclusive_group(required=True)
    chosen.add_argument("--network", choices=list(RECIPES), help="the network to train")
    chosen.add_argument("--ship", choices=list(RECIPES), nargs="+", help="write these networks")
    options = parser.parse_args()
    for name in options.ship or []:
        ship(name, options.work)
    if options.network:
        make(options.network, datasets.open(options.data), options.votes, options.work)


def make(name: str, data: datasets.Dataset, votes: Path, work: Path) -> None:
    work.mkdir(parents=True, exist_ok=True)
    training = faces_and_targets(data.split("train"), votes, training=True)
    training = training[0], taught(training, work)
    model = train(
        partial(start, name, training[0]),
        BACKBONES[name].preprocess,
        training,
        faces_and_targets(data.split("validation"), votes, training=False),
        work / name,
        RECIPES[name],
        on_epoch=lambda row: print({k: round(v, 4) for k, v in row.items()}, flush=True),
        label_sets=LABEL_SETS,
    )
    arrays = {variable.path: np.asarray(variable.numpy()) for variable in model.weights}
    if name == "fer-mobilenet":
        arrays = fer_mobilenet.folded(model)
        model = fer_mobilenet.build(sum(LABEL_SETS))
    earlier = earlier_weights(name)
    set_weights(
        model, {path: TRAINED * arrays[path] + (1 - TRAINED) * earlier[path] for path in earlier}
    )
    save_weights(model, work / f"{name}.npz", half=False)


def faces_and_targets(split: datasets.Dataset, votes: Path, training: bool) -> Split:
    """The faces in the order of their numbers, and the columns of both label sets.

    Single votes are dropped. To train, a row of the first set is the distribution of the votes, of
    which those for "unknown" and "not a face" are left out. To validate, it is kept only if one
    expression has more than half of all votes.
    """
    order = in_order(split)
    faces = np.stack([load_image(split.images[int(i)])[:, :, 0] for i in order])
    with votes.open(newline="") as file:
        rows = {row["Image name"]: row for row in csv.DictReader(file)}
    columns = [*VOTES, "unknown", "NF"]
    counts = np.array(
        [
            [int(rows[name][column]) if name in rows else 0 for column in columns]
            for name in (Path(split.images.name(int(i))).name for i in order)
        ]
    )
    counts = np.where(counts > 1, counts, 0)
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    agreed, own = shares[:, : len(VOTES)], split.targets[order]
    if training:
        own = own * OWN_CLASS * (shares[:, -1:] <= 0.5)
    else:
        agreed = agreed * (agreed.max(axis=1, keepdims=True) > 0.5)
    return faces, np.concatenate([agreed, own], axis=1).astype(np.float32)


def taught(training: Split, work: Path) -> np.ndarray:
    """Targets half of which are the teacher's predictions, where a face has a label."""
    faces, targets = training
    kept = work / "predictions.npy"
    if not kept.exists():
        model = fer_mobilenet.build(sum(LABEL_SETS))
        set_weights(model, earlier_weights(TEACHER))
        preprocess = BACKBONES[TEACHER].preprocess
        rng = np.random.default_rng(0)
        predictions = np.zeros_like(targets)
        for _ in range(VIEWS):
            views = replace(STRONG, erasing=0.0).apply(faces, rng)
            for start in range(0, len(faces), 256):
                batch = preprocess(np.repeat(v[:, :, None], 3, axis=2) for v in views[start:][:256])
                logits = np.asarray(model.predict_on_batch(batch))
                for part in columns():
                    predictions[start : start + 256, part] += (
                        softmax(logits[:, part], axis=1) / VIEWS
                    )
        np.save(kept, predictions)
    predictions = np.load(kept)
    for part in columns():
        predictions[:, part] *= targets[:, part].sum(axis=1, keepdims=True)
    return (targets + predictions) / 2


def columns() -> list[slice]:
    """The columns of each label set."""
    ends = np.cumsum(LABEL_SETS)
    return [slice(end - width, end) for end, width in zip(ends, LABEL_SETS, strict=True)]


def in_order(split: datasets.Dataset) -> np.ndarray:
    """Positions by the number in the name, so that folders and the CSV give one order."""
    names = (split.images.name(i) for i in range(len(split)))
    return np.argsort([int(re.findall(r"\d+", name)[-1]) for name in names])


def start(name: str, faces: np.ndarray) -> Any:
    """The network with the weights of an earlier version."""
    arrays = earlier_weights(name)
    if name == "fer-mobilenet":
        return with_norms(arrays, faces)
    model = mini_vgg.build(sum(LABEL_SETS))
    set_weights(model, arrays)
    return model


def earlier_weights(name: str) -> dict[str, np.ndarray]:
    """The arrays that this repository held at START."""
    file = models_folder().resolve() / "backbones" / f"{name}.npz"
    root = models_folder().resolve().parent
    shown = subprocess.run(
        ["git", "show", f"{START}:{file.relative_to(root)}"],
        cwd=root,
        check=True,
        capture_output=True,
    )
    with np.load(io.BytesIO(shown.stdout)) as saved:
        return {key: saved[key].astype(np.float32) for key in saved.files}


def with_norms(arrays: dict[str, np.ndarray], faces: np.ndarray) -> Any:
    """fer-mobilenet with batch norms in its later blocks, which at first change nothing."""
    import keras

    model = fer_mobilenet.build(sum(LABEL_SETS), frozen=FROZEN)
    for variable in model.weights:
        if variable.path in arrays:
            variable.assign(arrays[variable.path])
    some = np.random.default_rng(0).choice(len(faces), SEEN, replace=False)
    preprocess = BACKBONES["fer-mobilenet"].preprocess
    seen = preprocess(np.repeat(face[:, :, None], 3, axis=2) for face in faces[some])
    for layer in model.layers:
        if layer.name.endswith("_norm"):
            values = keras.Model(model.inputs[0], layer.input).predict(seen, verbose=0)
            mean, variance = values.mean(axis=(0, 1, 2)), values.var(axis=(0, 1, 2))
            layer.gamma.assign(np.sqrt(variance + layer.epsilon))
            layer.beta.assign(mean + arrays[layer.name.removesuffix("_norm") + "/bias"])
            layer.moving_mean.assign(mean)
            layer.moving_variance.assign(variance)
    return model


def set_weights(model: Any, arrays: dict[str, np.ndarray]) -> None:
    for variable in model.weights:
        variable.assign(arrays[variable.path])


def ship(name: str, work: Path) -> None:
    """Write the weights and the ONNX graph of a trained network."""
    build: Any = BACKBONES[name].build
    model = build(sum(LABEL_SETS))
    set_weights(model, read_weights(work / f"{name}.npz"))
    folder = models_folder() / "backbones"
    save_weights(model, folder / f"{name}.npz")
    layers = [layer for layer, _ in BACKBONES[name].layers]
    export_onnx(model, layers, folder / f"{name}.onnx")
    for file in (f"{name}.npz", f"{name}.onnx"):
        print(file, sha256_of(folder / file), "- goes where the backbone is registered")


if __name__ == "__main__":
    main()
