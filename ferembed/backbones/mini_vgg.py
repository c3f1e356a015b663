"""mini-vgg, which ships: pairs of 3x3 convolutions with batch norm, pooled to 256 values."""

from __future__ import annotations

from typing import Any

from ferembed.backbones.convert import import_keras
from ferembed.backbones.network import Network
from ferembed.backbones.preprocess import Preprocess
from ferembed.backbones.spec import BACKBONES, BackboneSpec
from ferembed.labels import EIGHT_EXPRESSIONS, EXPRESSIONS
from ferembed.storage.weights import Weights

WIDTHS = (32, 64, 128, 256)
DROPOUT = (0.0, 0.0, 0.1, 0.2)


def build(classes: int = 15) -> Any:
    """The Keras model, from a face to logits."""
    keras = import_keras()
    from ferembed.backbones.layers import BatchNorm

    layers = keras.layers
    face = keras.Input((48, 48, 1), name="face")
    x = face
    for group, (width, dropout) in enumerate(zip(WIDTHS, DROPOUT, strict=True), 1):
        for k in (1, 2):
            x = layers.Conv2D(
                width,
                3,
                padding="same",
                use_bias=False,
                kernel_initializer="he_normal",
                name=f"conv{group}_{k}",
            )(x)
            x = BatchNorm(momentum=0.9, epsilon=1e-3, name=f"norm{group}_{k}")(x)
            x = layers.ReLU(name=f"relu{group}_{k}")(x)
        if group < len(WIDTHS):
            x = layers.MaxPooling2D(2, name=f"pool{group}")(x)
        if dropout:
            x = layers.Dropout(dropout, name=f"drop{group}")(x)
    x = layers.GlobalAveragePooling2D(name="embedding")(x)
    x = layers.Dropout(0.4, name="drop")(x)
    logits = layers.Dense(classes, name="logits", dtype="float32")(x)
    return keras.Model(face, logits, name="vgg")


_FACTS = "MIT", "FER2013, training split (28,694 faces; for research), with the votes of FER+ (MIT)"
BACKBONES.add(
    "mini-vgg",
    BackboneSpec(
        name="mini-vgg",
        summary="VGG of 3x3 pairs with batch norm, trained on FER2013 and FER+",
        preprocess=Preprocess("gray", 48, mean=(128.0,), scale=1 / 64),
        layers=(("embedding", 256), ("logits", 15)),
        load=Network.from_spec,
        build=build,
        classifier="logits",
        label_sets=(("ferplus", EIGHT_EXPRESSIONS), ("fer2013", EXPRESSIONS)),
        parameters=1_178_415,
        weights=Weights(
            "mini-vgg.npz",
            "fece80b597826a35e806210e606ce19281967b915960b4efd70264078e57a97e",
            *_FACTS,
        ),
        onnx=Weights(
            "mini-vgg.onnx",
            "a323efa26d99b110e6a060cca468304fd504581ce73bd0e4a110330300902b1d",
            *_FACTS,
        ),
    ),
)
