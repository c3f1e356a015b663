"""Train the networks that ship: mini-vgg, twin-vgg of two of its kind, and fer-mobilenet.

    python benchmarks/make_network.py fer2013.zip WORK --stage first | second | ... | ship

Every stage learns from the faces of FER2013's training split. Their labels are noisy, so all but
the first learn targets of which a part is what teachers answer: `first`, to augmented copies of the
face, and `mobilenet`, a small classifier on the vectors of vggface2-mobilenet, which was trained to
tell people apart; it answers for faces that it has not learned from, by folds that keep copies
together. `mobilenet-views` learns from and answers to changed copies of each face, too. (That of
the networks which ship was one of two classifiers' mean, trained for 20 epochs, for `third` and
`fourth`.) `second` starts at random, `third` and `fourth` go on from `first` and `second`; `fifth`
goes on with the two of them side by side, joined at the embedding, as one network. `tuned` goes on
with vggface2-mobilenet itself: it gives the later blocks their batch norms back, which the
published file has folded into the convolutions, and trains those; the earlier blocks stay as they
are. `retuned` goes on with that and more of the blocks, `shortened` without the last one, which has
a third of all parameters, `strengthened` with that on faces that are changed more. `ship` writes
mini-vgg (the fourth), twin-vgg (the fifth) and fer-mobilenet (the mean of the weights of the
shortened and the strengthened one, which answers as the mean of their answers does). The validation
split (PublicTest) is watched and chooses nothing. WORK keeps the checkpoints: run again, a stage
goes on where it stopped.
"""

from __future__ import annotations

import argparse
import re
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from scipy.special import softmax

from ferembed import EXPRESSIONS, Embedder, datasets
from ferembed.backbones import (
    BACKBONES,
    LoadRequest,
    fer_mobilenet,
    load_backbone,
    mini_vgg,
    vggface2_mobilenet,
)
from ferembed.backbones.network import export_onnx, save_weights
from ferembed.datasets.audit import audit
from ferembed.images import load_image
from ferembed.storage.weights import models_folder, read_weights, sha256_of
from ferembed.training.loop import Augmentation, Faces, Recipe, _copy_weights, train

STRONG = Augmentation(rotation=12, scale=0.2, shift=0.1, erasing=0.4)
GENTLE = Augmentation(rotation=10, scale=0.12, shift=0.06, erasing=0.0)
TUNING = Recipe(
    epochs=14,
    rate=0.02,
    warmup_epochs=1,
    label_smoothing=0.0,
    averaging=0.998,
    batch_size=64,
    dtype="float32",
)
RECIPES = {
    "first": Recipe(epochs=45),
    "second": Recipe(
        epochs=66, steady=0.47, label_smoothing=0.05, averaging=0.998, augmentation=STRONG, seed=1
    ),
    "third": Recipe(epochs=28, rate=0.05, label_smoothing=0.0, averaging=0.998, seed=2),
    "fourth": Recipe(epochs=12, rate=0.02, label_smoothing=0.0, averaging=0.998, seed=3),
    "fifth": Recipe(epochs=34, rate=0.05, label_smoothing=0.0, averaging=0.998, seed=4),
    "tuned": TUNING,
    "retuned": replace(TUNING, seed=1),
    "shortened": replace(TUNING, seed=2),
    "strengthened": replace(TUNING, epochs=12, augmentation=STRONG, seed=3),
}
TEACHERS = {  # and the share of the labels themselves
    "first": ((), 1.0),
    "second": (("first",), 0.5),
    "third": (("first", "mobilenet"), 0.4),
    "fourth": (("first", "mobilenet"), 0.4),
    "fifth": (("fourth", "mobilenet-views"), 0.3),
    "tuned": (("fourth", "mobilenet-views"), 0.5),
    "retuned": (("fifth", "mobilenet-views"), 0.4),
    "shortened": (("fifth", "mobilenet-views"), 0.4),
    "strengthened": (("fifth", "mobilenet-views"), 0.3),
}
START = {
    "third": {"": "first"},
    "fourth": {"": "second"},
    "fifth": {"a_": "fourth", "b_": "third"},
    "tuned": {"": "vggface2-mobilenet"},
    "retuned": {"": "tuned"},
    "shortened": {"": "retuned"},
    "strengthened": {"": "shortened"},
}
SHIPS = {  # whose weights are the mean of what these stages end in
    "mini-vgg": ("fourth",),
    "twin-vgg": ("fifth",),
    "fer-mobilenet": ("shortened", "strengthened"),
}
VIEWS = 8
FOLDS = 5
FROZEN = {  # blocks of vggface2-mobilenet that stay as they are, and how many there are
    "tuned": (8, 13),
    "retuned": (4, 13),
    "shortened": (4, 12),
    "strengthened": (4, 12),
}
SEEN = 256  # faces that set the norms which it is given back


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
            if name.startswith("mobilenet"):
                np.save(kept, unseen_answers(data, targets, 4 if name.endswith("views") else 1))
            else:
                np.save(kept, answers(name, work, faces))
    if teachers:
        told = np.mean([np.load(work / f"{name}.answers.npy") for name in teachers], axis=0)
        targets = share * targets + (1 - share) * told
    tuning = stage in FROZEN
    if tuning:
        before = work / f"{START[stage]['']}-normed.npz"  # of a stage of this kind
        build = partial(normed, faces, *FROZEN[stage], before)
    else:
        start = {key: work / f"{part}.npz" for key, part in START.get(stage, {}).items()}
        build = partial(network, start)
    model = train(
        build,
        BACKBONES["fer-mobilenet" if tuning else "mini-vgg"].preprocess,
        (faces, targets),
        gray(data.split("validation")),
        work / stage,
        RECIPES[stage],
        report=lambda row: print({k: round(v, 4) for k, v in row.items()}, flush=True),
    )
    if tuning:
        save_weights(model, work / f"{stage}-normed.npz", half=False)
        plain = fer_mobilenet.build(blocks=FROZEN[stage][1])
        arrays = fer_mobilenet.folded(model)
        for variable in plain.weights:
            variable.assign(arrays[variable.path])
        model = plain
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


def network(start: dict[str, Path]) -> Any:
    """A network at random weights, or of branches that were trained before."""
    model = mini_vgg.build(branches=tuple(start) or ("",))
    arrays = joined({key: read_weights(path) for key, path in start.items()})
    for variable in model.weights if start else []:
        variable.assign(arrays[variable.path])
    return model


def normed(faces: Faces, frozen: int, blocks: int, before: Path) -> Any:
    """vggface2-mobilenet with norms, which at first change nothing, and a value per class.

    Layers that were trained with theirs `before` go on from there. Of fewer blocks than then, the
    values of the last one mean nothing yet: the classes leave them out.
    """
    import keras

    published = load_backbone(LoadRequest("vggface2-mobilenet", engine="keras")).model
    model = fer_mobilenet.build(frozen=frozen, blocks=blocks)
    _copy_weights(published, model)
    some = np.random.default_rng(0).choice(len(faces), SEEN, replace=False)
    preprocess = BACKBONES["fer-mobilenet"].preprocess
    seen = preprocess(np.repeat(face[:, :, None], 3, axis=2) for face in faces[some])
    for layer in model.layers:
        if layer.name.endswith("_norm"):
            values = keras.Model(model.inputs[0], layer.input).predict(seen, verbose=0)
            mean, variance = values.mean(axis=(0, 1, 2)), values.var(axis=(0, 1, 2))
            layer.gamma.assign(np.sqrt(variance + layer.epsilon))
            bias = published.get_layer(layer.name.removesuffix("_norm")).bias
            layer.beta.assign(mean + bias.numpy())
            layer.moving_mean.assign(mean)
            layer.moving_variance.assign(variance)
    arrays = read_weights(before) if before.exists() else {}
    if f"conv_pw_{blocks + 1}/kernel" in arrays:
        arrays["logits/kernel"][: vggface2_mobilenet.WIDTHS[blocks - 1]] = 0
    for variable in model.weights:
        if variable.path in arrays:
            variable.assign(arrays[variable.path])
    return model


def joined(branches: dict[str, dict[str, np.ndarray]]) -> dict[str, np.ndarray]:
    """The arrays of branches side by side, whose logits are averaged."""
    arrays = {}
    if branches:
        kernels = [branch["logits/kernel"] for branch in branches.values()]
        arrays["logits/kernel"] = np.concatenate(kernels) / np.float32(len(branches))
        arrays["logits/bias"] = np.mean([b["logits/bias"] for b in branches.values()], axis=0)
    for prefix, branch in branches.items():
        arrays |= {prefix + key: value for key, value in branch.items() if "logits" not in key}
    return arrays


def answers(stage: str, work: Path, faces: np.ndarray) -> np.ndarray:
    """What a network says of each face, averaged over augmented copies."""
    name = "twin-vgg" if stage == "fifth" else "mini-vgg"
    embedder = Embedder(name, layer="logits", weights=work / f"{stage}.npz", store="none")
    rng = np.random.default_rng(0)
    total = np.zeros((len(faces), len(EXPRESSIONS)), np.float32)
    for _ in range(VIEWS):
        views = replace(Augmentation(), erasing=0.0).apply(faces, rng)
        total += softmax(embedder.transform(views), axis=1)
    return total / VIEWS


def unseen_answers(data: datasets.Dataset, targets: np.ndarray, views: int) -> np.ndarray:
    """What classifiers on vectors of vggface2-mobilenet say of each face of the folds left out.

    Of several views the second is the mirror image, and the others are changed at random.
    """
    split = data.split("train")
    order = in_order(split)
    groups = np.unique(audit(data).copies[data.mask("train")][order], return_inverse=True)[1]
    folds = (np.random.default_rng(0).permutation(groups.max() + 1) % FOLDS)[groups]
    embedder = Embedder("vggface2-mobilenet", layer="joined", verbose=True)
    faces, rng = gray(split)[0], np.random.default_rng(5)
    seen = [faces, faces[:, :, ::-1], *(GENTLE.apply(faces, rng) for _ in range(views - 2))]
    vectors = np.stack([embedder.transform(list(view)) for view in seen[:views]], axis=1)
    vectors -= vectors[:, 0].mean(axis=0)
    vectors /= vectors[:, 0].std(axis=0) + 1e-6
    told = np.zeros(targets.shape, np.float32)
    for fold in range(FOLDS):
        rest = folds != fold
        model = classifier(vectors[rest], targets[rest], seed=fold)
        for view in range(views):
            told[~rest] += model.predict(vectors[~rest, view], batch_size=512, verbose=0) / views
    return told


def classifier(vectors: np.ndarray, targets: np.ndarray, seed: int) -> Any:
    """A dense network that learns from one view of a face at a time."""
    import keras

    keras.utils.set_random_seed(seed)
    vector = keras.Input(vectors.shape[2:])
    x = keras.layers.Dropout(0.3)(vector)
    penalty = keras.regularizers.L2(5e-5)
    x = keras.layers.Dense(512, activation="relu", kernel_regularizer=penalty)(x)
    x = keras.layers.Dropout(0.5)(x)
    x = keras.layers.Dense(targets.shape[1], activation="softmax")(x)
    model = keras.Model(vector, x)
    steps = 10 * vectors.shape[1] * len(vectors) // 256
    rate = keras.optimizers.schedules.CosineDecay(1e-3, steps)
    loss = keras.losses.CategoricalCrossentropy(label_smoothing=0.05)
    model.compile(keras.optimizers.Adam(rate), loss, jit_compile=False)
    rng = np.random.default_rng(seed)
    for _ in range(steps):
        rows, views = rng.integers(0, len(vectors), 256), rng.integers(0, vectors.shape[1], 256)
        model.train_on_batch(vectors[rows, views], targets[rows])
    return model


def stages_of(*networks: str) -> list[str]:
    """The stages that networks come from: those that they go on from, and their teachers'."""
    found = [stage for name in networks for stage in SHIPS[name]]
    for stage in found:  # which grows
        before = (*START.get(stage, {}).values(), *TEACHERS[stage][0])
        found += [name for name in before if name in RECIPES and name not in found]
    return [stage for stage in RECIPES if stage in found]


def ship(work: Path) -> None:
    write("mini-vgg", mini_vgg.build(), work)
    write("twin-vgg", mini_vgg.build(branches=("a_", "b_")), work)
    write("fer-mobilenet", fer_mobilenet.build(), work, "joined")


def write(name: str, model: Any, work: Path, *more: str) -> None:
    """The weights and the ONNX graph of a network."""
    ends = [read_weights(work / f"{stage}.npz") for stage in SHIPS[name]]
    for variable in model.weights:
        variable.assign(np.mean([arrays[variable.path] for arrays in ends], axis=0))
    folder = models_folder() / "backbones"
    save_weights(model, folder / f"{name}.npz")
    export_onnx(model, [*more, "embedding", "logits"], folder / f"{name}.onnx")
    for file in (f"{name}.npz", f"{name}.onnx"):
        print(file, sha256_of(folder / file), "- to be written where the backbone is registered")


if __name__ == "__main__":
    main()
