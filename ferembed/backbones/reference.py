"""Reference networks: classic CNNs with a published score, and cnn-5.

Their weights do not ship. Training one repeats its authors' experiment on other data. The scores
in the summaries are those of the authors; they were not measured here.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ferembed.backbones.convert import import_keras
from ferembed.backbones.network import Network
from ferembed.backbones.preprocess import Preprocess
from ferembed.backbones.spec import BACKBONES, BackboneSpec

CLASSES = 7


def bn_cnn(classes: int = CLASSES) -> Any:
    """Four wide convolutions and two dense layers, each with batch norm, ReLU and dropout 0.25.

    Its authors trained it with Adam at 5e-4 in batches of 32 for 25 epochs.
    """
    layers = import_keras().layers
    face = x = _face(48)
    for i, (filters, side) in enumerate(((64, 5), (128, 5), (512, 3), (512, 3)), 1):
        x = layers.Conv2D(filters, side, padding="same", name=f"conv{i}")(x)
        x = _normalised(x, f"conv{i}_norm", f"conv{i}_relu")
        x = layers.MaxPooling2D(2, name=f"pool{i}")(x)
        x = layers.Dropout(0.25, name=f"conv{i}_drop")(x)
    x = layers.Flatten(name="flatten")(x)
    for i, units in enumerate((256, 512), 1):
        x = layers.Dense(units, name=f"dense{i}_linear")(x)
        x = _normalised(x, f"dense{i}_norm", f"dense{i}")
        x = layers.Dropout(0.25, name=f"dense{i}_drop")(x)
    return _softmax("bn_cnn", face, x, classes)


def plain_150(classes: int = CLASSES) -> Any:
    """Four 3x3 convolutions without padding, each followed by a pool, and one dense layer."""
    layers = import_keras().layers
    face = x = _face(150)
    for i, filters in enumerate((32, 64, 128, 128), 1):
        x = layers.Conv2D(filters, 3, activation="relu", name=f"conv{i}")(x)
        x = layers.MaxPooling2D(2, name=f"pool{i}")(x)
    x = layers.Flatten(name="flatten")(x)
    x = layers.Dense(512, activation="relu", name="dense")(x)
    return _softmax("plain_150", face, x, classes)


def cnn_5(classes: int = CLASSES) -> Any:
    """Five 3x3 convolutions with batch norm, pooled down to 3x3, and one dense layer.

    For balanced data merged from several sets: 12,006 faces per class, split 60/20/20. Only the
    number of convolutions of the network that scored 79 % there is known; the layout is our own.
    """
    layers = import_keras().layers
    face = x = _face(48)
    for i, filters in enumerate((32, 64, 128, 128, 256), 1):
        x = layers.Conv2D(filters, 3, padding="same", use_bias=False, name=f"conv{i}")(x)
        x = _normalised(x, f"conv{i}_norm", f"conv{i}_relu")
        if i < 5:
            x = layers.MaxPooling2D(2, name=f"pool{i}")(x)
    x = layers.Flatten(name="flatten")(x)
    x = layers.Dense(256, activation="relu", name="dense")(x)
    x = layers.Dropout(0.5, name="drop")(x)
    return _softmax("cnn_5", face, x, classes)


def vgg11(classes: int = CLASSES) -> Any:
    """VGG's configuration A on a face of 48x48, which its five pools bring down to one pixel.

    Its two dense layers have 512 units instead of 4,096, as their input has 512 values.
    """
    keras = import_keras()
    layers = keras.layers
    face = x = _face(48)
    groups = ((64,), (128,), (256, 256), (512, 512), (512, 512))
    for group, widths in enumerate(groups, 1):
        for k, filters in enumerate(widths, 1):
            x = layers.Conv2D(
                filters,
                3,
                padding="same",
                activation="relu",
                kernel_initializer="he_normal",  # without batch norm, training needs it
                name=f"conv{group}_{k}",
            )(x)
        x = layers.MaxPooling2D(2, name=f"pool{group}")(x)
    x = layers.Flatten(name="flatten")(x)
    for k in (1, 2):
        x = layers.Dense(512, activation="relu", kernel_initializer="he_normal", name=f"dense{k}")(
            x
        )
        x = layers.Dropout(0.5, name=f"drop{k}")(x)
    return _softmax("vgg11", face, x, classes)


def _face(size: int) -> Any:
    return import_keras().Input((size, size, 1), name="face")


def _normalised(x: Any, norm: str, relu: str) -> Any:
    from ferembed.backbones.layers import BatchNorm

    return import_keras().layers.ReLU(name=relu)(BatchNorm(name=norm)(x))


def _softmax(name: str, face: Any, x: Any, classes: int) -> Any:
    keras = import_keras()
    shares = keras.layers.Dense(classes, activation="softmax", dtype="float32", name="output")(x)
    return keras.Model(face, shares, name=name)


def _add(
    name: str,
    *,
    build: Callable[..., Any],
    size: int,
    summary: str,
    layers: tuple[tuple[str, int], ...],
    parameters: int,
) -> None:
    spec = BackboneSpec(
        name=name,
        summary=summary,
        preprocess=Preprocess("gray", size),
        layers=(*layers, ("output", CLASSES)),
        load=Network.from_spec,
        build=build,
        classifier="output",
        parameters=parameters,
    )
    BACKBONES.add(name, spec)


_add(
    "bn-cnn",
    build=bn_cnn,
    size=48,
    summary="CNN with batch norm and dropout throughout; its authors report 65.34 % on FER2013",
    layers=(("dense2", 512), ("dense1", 256), ("flatten", 4608)),
    parameters=4_479_751,
)
_add(
    "plain-150",
    build=plain_150,
    size=150,
    summary="plain CNN on 150x150; its authors report 50.93 % in test, 85 % in training",
    layers=(("dense", 512), ("flatten", 6272)),
    parameters=3_455_623,
)
_add(
    "cnn-5",
    build=cnn_5,
    size=48,
    summary="five convolutions, for balanced data of several sets, where others report 79 %",
    layers=(("dense", 256), ("flatten", 2304)),
    parameters=1_129_127,
)
_add(
    "vgg11",
    build=vgg11,
    size=48,
    summary="VGG's configuration A, adapted to 48x48",
    layers=(("dense2", 512), ("dense1", 512), ("flatten", 512)),
    parameters=9_748_231,
)
