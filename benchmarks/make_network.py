"""Train the networks that ship: mini-vgg, and twin-vgg of two of its kind.

    python benchmarks/make_network.py fer2013.zip WORK --stage first | second | ... | ship

Every stage learns from the faces of FER2013's training split. Their labels are noisy, so all but
the first learn targets of which a part is what teachers answer: `first`, to augmented copies of the
face, and `mobilenet`, a small classifier on the vectors of vggface2-mobilenet, which was trained to
tell people apart; it answers for faces that it has not learned from, by folds that keep copies
together. `second` starts at random, `third` and `fourth` go on from `first` and `second`. `ship`
writes mini-vgg (the fourth) and twin-vgg (the third and fourth, joined at the embedding, their
logits averaged). The validation split (PublicTest) is watched and chooses nothing. WORK keeps the
checkpoints: run again, a stage goes on where it stopped.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from scipy.special import softmax

from ferembed import EXPRESSIONS, Embedder, datasets
from ferembed.audit import audit
from ferembed.backbones import BACKBONES, vgg
from ferembed.backbones.engines import export_onnx, load_weights, save_weights
from ferembed.images import load_image
from ferembed.training import Augmentation, Recipe, train
from ferembed.weights import models_folder, read_weights, sha256_of

PREPROCESS = BACKBONES["mini-vgg"].preprocess
STRONG = Augmentation(rotation=12, scale=0.2, shift=0.1, erasing=0.4)
RECIPES = {
    "first": Recipe(epochs=45),
    "second": Recipe(
        epochs=66, steady=0.47, label_smoothing=0.05, averaging=0.998, augmentation=STRONG, seed=1
    ),
    "third": Recipe(epochs=28, rate=0.05, label_smoothing=0.0, averaging=0.998, seed=2),
    "fourth": Recipe(epochs=12, rate=0.02, label_smoothing=0.0, averaging=0.998, seed=3),
}
TEACHERS = {  # and the share of the labels themselves
    "first": ((), 1.0),
    "second": (("first",), 0.5),
    "third": (("first", "mobilenet"), 0.4),
    "fourth": (("first", "mobilenet"), 0.4),
}
START = {"third": "first", "fourth": "second"}
VIEWS = 8
FOLDS = 5


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("data", help="FER2013 as a zip of class folders, or its CSV")
    parser.add_argument("work", type=Path, help="a folder for checkpoints")
    parser.add_argument("--stage", choices=(*RECIPES, "ship"), required=True)
    options = parser.parse_args()
    if options.stage == "ship":
        ship(options.work)
    else:
        make(options.stage, datasets.open(options.data), options.work)


def make(stage: str, data: datasets.Dataset, work: Path) -> None:
    faces, targets = gray(data.split("train"))
    teachers, share = TEACHERS[stage]
    for name in teachers:
        kept = work / f"{name}.answers.npy"
        if not kept.exists():
            if name == "mobilenet":
                np.save(kept, unseen_answers(data, targets))
            else:
                np.save(kept, answers(work / f"{name}.npz", faces))
    if teachers:
        told = np.mean([np.load(work / f"{name}.answers.npy") for name in teachers], axis=0)
        targets = share * targets + (1 - share) * told
    model = train(
        partial(network, work / f"{START[stage]}.npz" if stage in START else None),
        PREPROCESS,
        (faces, targets),
        gray(data.split("validation")),
        work / stage,
        RECIPES[stage],
        report=lambda row: print({k: round(v, 4) for k, v in row.items()}, flush=True),
    )
    save_weights(model, work / f"{stage}.npz")


def gray(split: datasets.Dataset) -> tuple[np.ndarray, np.ndarray]:
    """The faces in the order of their numbers, as (n, 48, 48) bytes, and their class shares."""
    order = in_order(split)
    faces = np.stack([load_image(split.images[int(i)])[:, :, 0] for i in order])
    return faces, split.targets[order]


def in_order(split: datasets.Dataset) -> np.ndarray:
    """Positions by the number in the name, so that folders and the CSV give one order."""
    names = (split.images.name(i) for i in range(len(split)))
    return np.argsort([int(re.findall(r"\d+", name)[-1]) for name in names])


def network(start: Path | None) -> Any:
    model = vgg.build()
    if start is not None:
        load_weights(model, start)
    return model


def answers(weights: Path, faces: np.ndarray) -> np.ndarray:
    """What a network says of each face, averaged over augmented copies."""
    embedder = Embedder("mini-vgg", layer="logits", weights=weights, store="none")
    rng = np.random.default_rng(0)
    total = np.zeros((len(faces), len(EXPRESSIONS)), np.float32)
    for _ in range(VIEWS):
        views = replace(Augmentation(), erasing=0.0).apply(faces, rng)
        total += softmax(embedder.transform(views), axis=1)
    return total / VIEWS


def unseen_answers(data: datasets.Dataset, targets: np.ndarray) -> np.ndarray:
    """What classifiers on vectors of vggface2-mobilenet say of each face of the folds left out."""
    split = data.split("train")
    order = in_order(split)
    groups = np.unique(audit(data).copies[data.mask("train")][order], return_inverse=True)[1]
    folds = (np.random.default_rng(0).permutation(groups.max() + 1) % FOLDS)[groups]
    embedder = Embedder("vggface2-mobilenet", layer="joined", verbose=True)
    vectors = embedder.transform([split.images[int(i)] for i in order])
    vectors = (vectors - vectors.mean(axis=0)) / (vectors.std(axis=0) + 1e-6)
    told = np.zeros(targets.shape, np.float32)
    for fold in range(FOLDS):
        rest = folds != fold
        for seed in range(2):
            model = classifier(vectors[rest], targets[rest], seed)
            told[~rest] += model.predict(vectors[~rest], batch_size=512, verbose=0) / 2
    return told


def classifier(vectors: np.ndarray, targets: np.ndarray, seed: int) -> Any:
    import keras

    keras.utils.set_random_seed(seed)
    vector = keras.Input(vectors.shape[1:])
    x = keras.layers.Dropout(0.3)(vector)
    penalty = keras.regularizers.L2(1e-4)
    x = keras.layers.Dense(512, activation="relu", kernel_regularizer=penalty)(x)
    x = keras.layers.Dropout(0.5)(x)
    x = keras.layers.Dense(targets.shape[1], activation="softmax")(x)
    model = keras.Model(vector, x)
    epochs = 20
    rate = keras.optimizers.schedules.CosineDecay(1e-3, epochs * -(-len(vectors) // 256))
    loss = keras.losses.CategoricalCrossentropy(label_smoothing=0.05)
    model.compile(keras.optimizers.Adam(rate), loss, jit_compile=False)
    model.fit(vectors, targets, epochs=epochs, batch_size=256, verbose=0)
    return model


def ship(work: Path) -> None:
    write("mini-vgg", vgg.build, {"": work / "fourth.npz"})
    write(
        "twin-vgg",
        partial(vgg.build, branches=("a_", "b_")),
        {"a_": work / "fourth.npz", "b_": work / "third.npz"},
    )


def write(name: str, build: Callable[[], Any], parts: dict[str, Path]) -> None:
    """The weights and the ONNX graph of a network whose branches were trained apart."""
    model = build()
    branches = [read_weights(path) for path in parts.values()]
    arrays = {
        "logits/kernel": np.concatenate([branch["logits/kernel"] for branch in branches])
        / np.float32(len(branches)),
        "logits/bias": np.mean([branch["logits/bias"] for branch in branches], axis=0),
    }
    for prefix, branch in zip(parts, branches, strict=True):
        arrays |= {prefix + key: value for key, value in branch.items() if "logits" not in key}
    for variable in model.weights:
        variable.assign(arrays[variable.path])
    folder = models_folder() / "backbones"
    save_weights(model, folder / f"{name}.npz")
    export_onnx(model, ["embedding", "logits"], folder / f"{name}.onnx")
    for file in (f"{name}.npz", f"{name}.onnx"):
        print(file, sha256_of(folder / file), "- to be written into ferembed/backbones/vgg.py")


if __name__ == "__main__":
    main()
