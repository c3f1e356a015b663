"""The networks that ship: mini-vgg, 3x3 convolutions pooled to 256 values, and a twin of it."""

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
    """The Keras model, from the face to logits. Several branches are joined at the embedding."""
    keras = import_keras()
    layers = keras.layers
    face = keras.Input((48, 48, 1), name="face")
    pooled = [_pooled(face, branch, alone=len(branches) == 1) for branch in branches]
    x = pooled[0] if len(pooled) == 1 else layers.Concatenate(name="embedding")(pooled)
    x = layers.Dropout(0.4, name="drop")(x)
    logits = layers.Dense(classes, name="logits", dtype="float32")(x)
    return keras.Model(face, logits, name="vgg")


def _pooled(face: Any, branch: str, alone: bool) -> Any:
    """256 values of the face; the branch's name begins those of its layers."""
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
for _name, _summary, _branches, _dim, _parameters, _weights, _network in (
    (
        "mini-vgg",
        "VGG of 3x3 pairs with batch norm, trained on FER2013's training split",
        ("",),
        256,
        1_176_359,
        "4e32ea0becf66379107ec8c6444dd8e994460034660c1b69cdf36a53571b5503",
        "da1e9351f511033cfac404d3d404437ab5290eb4863a07cc831e8b4ba3310b83",
    ),
    (
        "twin-vgg",
        "two such networks, joined at the embedding; they learned apart and then together",
        ("a_", "b_"),
        512,
        2_352_711,
        "bad95dcdfc624bcac5c6bf9288ef86d9a70ffbde51b5c67f6654f05f1d6b6e96",
        "0506118c56b22f7a4d5593133f29c2fbb7d7a58c06354959d1adc4868af1f0ad",
    ),
):
    BACKBONES.add(
        _name,
        BackboneSpec(
            name=_name,
            summary=_summary,
            preprocess=Preprocess("gray", 48, mean=(128.0,), scale=1 / 64),
            layers=(("embedding", _dim), ("logits", 7)),
            load=Network.from_spec,
            build=partial(build, branches=_branches),
            classifier="logits",
            label_sets=(("fer2013", EXPRESSIONS),),
            parameters=_parameters,
            weights=Weights(f"{_name}.npz", _weights, *_FACTS),
            onnx=Weights(f"{_name}.onnx", _network, *_FACTS),
        ),
    )
