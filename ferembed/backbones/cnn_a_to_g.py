"""The networks A to G: small CNNs on 48x48 gray faces, cut at one of their dense layers."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any, Literal, TypeAlias

from ferembed.backbones.convert import import_keras
from ferembed.backbones.network import Network
from ferembed.backbones.preprocess import Preprocess
from ferembed.backbones.spec import BACKBONES, BackboneSpec

FILTERS = (32, 64, 128)
CLASSES = 7


Pooling: TypeAlias = Literal["max", "average"]
MAX: Pooling = "max"
AVERAGE: Pooling = "average"


@dataclass(frozen=True)
class Design:
    """The differences between the networks; everything else is common to all."""

    convolutions: tuple[int, int, int]
    pooling: tuple[Pooling, Pooling, Pooling]
    parameters: int
    last: Literal["softmax", "linear"] = "softmax"


DESIGNS = {
    "cnn-a": Design((1, 1, 1), (MAX, MAX, MAX), 392_263),
    "cnn-b": Design((3, 3, 3), (MAX, MAX, MAX), 779_783),
    "cnn-c": Design((2, 3, 4), (MAX, MAX, MAX), 918_119),
    "cnn-d": Design((2, 3, 4), (AVERAGE, AVERAGE, AVERAGE), 918_119),
    "cnn-e": Design((2, 3, 4), (MAX, MAX, AVERAGE), 918_119),
    "cnn-f": Design((3, 3, 3), (AVERAGE, AVERAGE, AVERAGE), 779_783, "linear"),
    "cnn-g": Design((2, 3, 4), (AVERAGE, AVERAGE, AVERAGE), 918_119, "linear"),
}


def build(name: str, classes: int = CLASSES) -> Any:
    """The Keras model, from a face to one value per class."""
    keras = import_keras()
    layers, design = keras.layers, DESIGNS[name]
    pools = {"max": layers.MaxPooling2D, "average": layers.AveragePooling2D}
    face = x = keras.Input((48, 48, 1), name="face")
    for group, filters in enumerate(FILTERS):
        for k in range(design.convolutions[group]):
            x = layers.Conv2D(
                filters, 3, padding="same", activation="relu", name=f"conv{group + 1}_{k + 1}"
            )(x)
        x = pools[design.pooling[group]](2, name=f"pool{group + 1}")(x)
    x = layers.Flatten(name="flatten")(x)
    for k in (1, 2):
        x = layers.Dense(64, activation="relu", name=f"dense{k}")(x)
    penalty = keras.regularizers.L2(1e-4) if design.last == "linear" else None
    last = layers.Dense(
        classes,
        activation=design.last,
        kernel_regularizer=penalty,
        dtype="float32",
        name="output",
    )
    return keras.Model(face, last(x), name=name.replace("-", "_"))


for _name, _design in DESIGNS.items():
    BACKBONES.add(
        _name,
        BackboneSpec(
            name=_name,
            summary=f"CNN, {'-'.join(map(str, _design.convolutions))} convolutions a group",
            preprocess=Preprocess("gray", 48),
            layers=(("dense1", 64), ("dense2", 64), ("flatten", 4608), ("output", CLASSES)),
            load=Network.from_spec,
            build=partial(build, _name),
            classifier="output",
            parameters=_design.parameters,
        ),
    )
