"""Networks to compare with: classic CNNs whose authors published a score, and our own cnn-5.

Their weights do not ship: training one repeats its authors' experiment on one's own data. The
scores in the summaries are the authors', not measured here.
"""

from __future__ import annotations

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
    """Four 3x3 convolutions without padding, each pooled, and one dense layer: nothing else."""
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

    For the balanced recipe of several data sets merged: 12,006 faces a class, split 60/20/20. Of
    the network that scored 79 % there only the number of convolutions is known: the layout is ours.
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

    Of 512 values two dense layers of 4,096 would learn nothing more, so they have 512 each.
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
                kernel_initializer="he_normal",  # without norms it does not start from others
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


for _name, _build, _size, _summary, _layers, _parameters in (
    (
        "bn-cnn",
        bn_cnn,
        48,
        "CNN with batch norm and dropout throughout; its authors report 65.34 % on FER2013",
        (("dense2", 512), ("dense1", 256), ("flatten", 4608)),
        4_479_751,
    ),
    (
        "plain-150",
        plain_150,
        150,
        "plain CNN on 150x150; its authors report 50.93 % in test, 85 % in training",
        (("dense", 512), ("flatten", 6272)),
        3_455_623,
    ),
    (
        "cnn-5",
        cnn_5,
        48,
        "five convolutions, for balanced data of several sets, where others report 79 %",
        (("dense", 256), ("flatten", 2304)),
        1_129_127,
    ),
    (
        "vgg11",
        vgg11,
        48,
        "VGG's configuration A, adapted to 48x48",
        (("dense2", 512), ("dense1", 512), ("flatten", 512)),
        9_748_231,
    ),
):
    BACKBONES.add(
        _name,
        BackboneSpec(
            name=_name,
            summary=_summary,
            preprocess=Preprocess("gray", _size),
            layers=(*_layers, ("output", CLASSES)),
            load=Network.from_spec,
            build=_build,
            classifier="output",
            parameters=_parameters,
        ),
    )
