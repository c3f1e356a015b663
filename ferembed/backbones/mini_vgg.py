"""mini-vgg, a small VGG with an embedding of 256 values, and twin-vgg, two of them joined."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

from ferembed.backbones.convert import import_keras
from ferembed.backbones.network import Network
from ferembed.backbones.preprocess import Preprocess
from ferembed.backbones.spec import BACKBONES, BackboneSpec
from ferembed.labels import EXPRESSIONS
from ferembed.storage.weights import Weights

WIDTHS = (32, 64, 128, 256)
DROPOUT = (0.0, 0.0, 0.1, 0.2)


def build(classes: int = 7, branches: Sequence[str] = ("",)) -> Any:
    """The Keras model, from a face to logits. Several branches are joined at the embedding."""
    keras = import_keras()
    layers = keras.layers
    face = keras.Input((48, 48, 1), name="face")
    pooled = [_pooled(face, branch, alone=len(branches) == 1) for branch in branches]
    x = pooled[0] if len(pooled) == 1 else layers.Concatenate(name="embedding")(pooled)
    x = layers.Dropout(0.4, name="drop")(x)
    logits = layers.Dense(classes, name="logits", dtype="float32")(x)
    return keras.Model(face, logits, name="vgg")


def _pooled(face: Any, branch: str, alone: bool) -> Any:
    """256 pooled values of the face. The names of the layers start with that of the branch."""
    from ferembed.backbones.layers import BatchNorm

    layers = import_keras().layers
    x = face
    for group, (width, dropout) in enumerate(zip(WIDTHS, DROPOUT, strict=True), 1):
        for k in (1, 2):
            x = layers.Conv2D(
                width,
                3,
                padding="same",
                use_bias=False,
                kernel_initializer="he_normal",
                name=f"{branch}conv{group}_{k}",
            )(x)
            x = BatchNorm(momentum=0.9, epsilon=1e-3, name=f"{branch}norm{group}_{k}")(x)
            x = layers.ReLU(name=f"{branch}relu{group}_{k}")(x)
        if group < len(WIDTHS):
            x = layers.MaxPooling2D(2, name=f"{branch}pool{group}")(x)
        if dropout:
            x = layers.Dropout(dropout, name=f"{branch}drop{group}")(x)
    name = "embedding" if alone else f"{branch}embedding"
    return layers.GlobalAveragePooling2D(name=name)(x)


_FACTS = (
    "MIT",
    "FER2013, training split (28,709 faces, in sharpened and clipped copies; the data set is for "
    "research)",
)


def _add(
    name: str,
    *,
    summary: str,
    branches: Sequence[str],
    dim: int,
    parameters: int,
    npz_sha256: str,
    onnx_sha256: str,
) -> None:
    spec = BackboneSpec(
        name=name,
        summary=summary,
        preprocess=Preprocess("gray", 48, mean=(128.0,), scale=1 / 64),
        layers=(("embedding", dim), ("logits", 7)),
        load=Network.from_spec,
        build=partial(build, branches=branches),
        classifier="logits",
        label_sets=(("fer2013", EXPRESSIONS),),
        parameters=parameters,
        weights=Weights(f"{name}.npz", npz_sha256, *_FACTS),
        onnx=Weights(f"{name}.onnx", onnx_sha256, *_FACTS),
    )
    BACKBONES.add(name, spec)


_add(
    "mini-vgg",
    summary="VGG of 3x3 pairs with batch norm, trained on FER2013's training split",
    branches=("",),
    dim=256,
    parameters=1_176_359,
    npz_sha256="4e32ea0becf66379107ec8c6444dd8e994460034660c1b69cdf36a53571b5503",
    onnx_sha256="da1e9351f511033cfac404d3d404437ab5290eb4863a07cc831e8b4ba3310b83",
)
_add(
    "twin-vgg",
    summary="two such networks joined at the embedding, trained separately and then together",
    branches=("a_", "b_"),
    dim=512,
    parameters=2_352_711,
    npz_sha256="bad95dcdfc624bcac5c6bf9288ef86d9a70ffbde51b5c67f6654f05f1d6b6e96",
    onnx_sha256="0506118c56b22f7a4d5593133f29c2fbb7d7a58c06354959d1adc4868af1f0ad",
)
