"""The networks of keras-vggface in Keras 3. They read its published files without conversion.

Layers have the same names, with "_" for the "/" that Keras 3 forbids in a name.
"""

from __future__ import annotations

import mmap
from collections.abc import Callable, Collection
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ferembed.backbones.convert import import_keras
from ferembed.backbones.network import Network
from ferembed.backbones.preprocess import VGGFACE2_BGR_MEANS, Preprocess
from ferembed.backbones.spec import BACKBONES, BackboneSpec
from ferembed.errors import WeightsError
from ferembed.storage.weights import DownloadableWeights

STAGES = ((2, 3, 64), (3, 4, 128), (4, 6, 256), (5, 3, 512))  # number, blocks, filters
SQUEEZE = 16
VGG16_CONVOLUTIONS = ((1, 2, 64), (2, 2, 128), (3, 3, 256), (4, 3, 512), (5, 3, 512))
VGGFACE_BGR_MEANS = (93.5940, 104.7624, 129.1863)


def build_resnet(squeeze: bool) -> Any:
    """The Keras model of ResNet50, or of SENet50 with `squeeze`, up to the pooled vector."""
    keras = import_keras()
    from ferembed.backbones.layers import BatchNorm

    layers = keras.layers

    def convolve(x: Any, filters: int, size: int, name: str, strides: int = 1, **start: Any) -> Any:
        x = layers.Conv2D(
            filters,
            size,
            strides,
            padding="same",
            use_bias=False,
            kernel_initializer="he_normal",
            name=name,
        )(x)
        return BatchNorm(epsilon=1e-4 if squeeze else 1e-3, name=f"{name}_bn", **start)(x)

    def excite(x: Any, name: str) -> Any:
        channels = x.shape[-1]
        share = layers.GlobalAveragePooling2D(keepdims=True, name=f"{name}_squeeze")(x)
        share = layers.Conv2D(channels // SQUEEZE, 1, activation="relu", name=f"{name}_1x1_down")(
            share
        )
        share = layers.Conv2D(channels, 1, activation="sigmoid", name=f"{name}_1x1_up")(share)
        return layers.Multiply(name=f"{name}_excite")([x, share])

    face = x = keras.Input((224, 224, 3), name="face")
    # With random weights, pixels and blocks keep a similar scale through all layers.
    pixels = {"moving_variance_initializer": keras.initializers.Constant(64.0**2)}
    small = {"gamma_initializer": keras.initializers.Constant(0.25)}
    x = layers.ReLU(name="conv1_relu")(convolve(x, 64, 7, "conv1_7x7_s2", 2, **pixels))
    x = layers.MaxPooling2D(3, 2, name="pool1")(x)
    for stage, blocks, filters in STAGES:
        for block in range(1, blocks + 1):
            name = f"conv{stage}_{block}"
            # As in Caffe, the first 1x1 convolution halves the picture.
            strides = 2 if stage > 2 and block == 1 else 1
            y = layers.ReLU(name=f"{name}_relu1")(
                convolve(x, filters, 1, f"{name}_1x1_reduce", strides)
            )
            y = layers.ReLU(name=f"{name}_relu2")(convolve(y, filters, 3, f"{name}_3x3"))
            y = convolve(y, 4 * filters, 1, f"{name}_1x1_increase", **small)
            if squeeze:
                y = excite(y, name)
            if block == 1:
                x = convolve(x, 4 * filters, 1, f"{name}_1x1_proj", strides)
            x = layers.ReLU(name=f"{name}_relu")(layers.Add(name=f"{name}_add")([y, x]))
    x = layers.AveragePooling2D(7, name="avg_pool")(x)
    x = layers.Flatten(name="embedding")(x)
    return keras.Model(face, x, name="vggface2_senet50" if squeeze else "vggface2_resnet50")


def build_vgg16(top: bool) -> Any:
    """The Keras model of VGG16 up to the pooled vector, or up to fc7 with `top`."""
    keras = import_keras()
    layers = keras.layers
    face = x = keras.Input((224, 224, 3), name="face")
    for group, convolutions, filters in VGG16_CONVOLUTIONS:
        for k in range(1, convolutions + 1):
            x = layers.Conv2D(
                filters,
                3,
                padding="same",
                activation="relu",
                kernel_initializer="he_normal",
                name=f"conv{group}_{k}",
            )(x)
        x = layers.MaxPooling2D(2, name=f"pool{group}")(x)
    if not top:
        x = layers.GlobalAveragePooling2D(name="embedding")(x)
        return keras.Model(face, x, name="vggface_vgg16")
    x = layers.Flatten(name="flatten")(x)
    for name in ("fc6", "fc7"):
        x = layers.Dense(4096, kernel_initializer="he_normal", name=name)(x)
        x = layers.ReLU(name=f"{name}_relu")(x)
    return keras.Model(face, x, name="vggface_vgg16_top")


def read(path: Path, top: Collection[str] = ()) -> dict[str, NDArray[Any]]:
    """The arrays of an .h5 file of Keras 2 by variable, without the layers in `top`."""
    import h5py

    arrays, left = {}, path.stat().st_size
    try:
        _check_heaps(path)
        with h5py.File(path, "r") as file:
            layers = file.get("model_weights", file)
            for layer in _texts(layers.attrs, "layer_names"):
                if layer in top:
                    continue
                for name in _texts(layers[layer].attrs, "weight_names"):
                    array = layers[layer][name]
                    _check_own(array, path, name)
                    left -= array.nbytes
                    if left < 0:
                        raise ValueError(f"{name} claims to be larger than the file")
                    variable = name.rpartition("/")[2].partition(":")[0]
                    arrays[f"{layer.replace('/', '_')}/{variable}"] = np.asarray(array, np.float32)
    except (OSError, AttributeError, KeyError, RuntimeError, TypeError, ValueError) as error:
        reason = str(error).partition("\n")[0].strip("'\". ")
        raise WeightsError(
            f"{path} is not a readable .h5 file of Keras 2 weights: {reason}."
        ) from error
    return arrays


def _check_heaps(path: Path) -> None:
    """A ValueError for a heap of names in which HDF5 would read one place for ever."""
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        start = content.find(b"GCOL")
        while start >= 0:
            size = int.from_bytes(content[start + 8 : start + 16], "little")
            at, end = start + 16, min(start + size, len(content))
            while at + 16 <= end:
                index = int.from_bytes(content[at : at + 2], "little")
                length = int.from_bytes(content[at + 8 : at + 16], "little")
                step = (16 + -(-length // 8) * 8) % (1 << 64) if index else length
                if not step:
                    raise ValueError(f"its heap is damaged at byte {at:,}")
                at += step
            start = content.find(b"GCOL", start + 4)


def _check_own(array: Any, path: Path, name: str) -> None:
    """A ValueError for an array in another file, or one that is not of floats."""
    if array.file.filename != str(path) or array.external or array.is_virtual:
        raise ValueError(f"{name} is in another file")
    if array.dtype.kind != "f":
        raise ValueError(f"{name} holds {array.dtype} values, not floats")


def _texts(attributes: Any, key: str) -> list[str]:
    """The texts of an attribute. HDF5 can crash on lists that a damaged type makes of them."""
    import h5py

    stored = attributes.get_id(key)
    if not stored.get_space().get_simple_extent_npoints():  # of a layer without weights
        return []
    if stored.get_type().get_class() != h5py.h5t.STRING:
        raise ValueError(f"{key} holds no texts")
    names = attributes[key]
    return [name.decode() if isinstance(name, bytes) else str(name) for name in names]


_RELEASE = "https://github.com/rcmalli/keras-vggface/releases/download/v2.0/"
_VGGFACE2 = {
    "licence": "CC BY-SA 4.0, as is VGGFace2; for its models keras-vggface refers to Oxford's page",
    "trained_on": "VGGFace2 (3.3 million pictures of 9,131 people)",
}
_VGGFACE = {
    "licence": "CC BY for research that is not commercial, says Oxford's page on VGG Face",
    "trained_on": "VGG Face (2.6 million pictures of 2,622 people)",
}
_FC = ("fc6", "fc7", "fc8")


def _add(
    name: str,
    *,
    summary: str,
    build: Callable[[], Any],
    layers: tuple[tuple[str, int], ...],
    parameters: int,
    top: Collection[str],
    means: tuple[float, float, float],
    weights: DownloadableWeights,
) -> None:
    spec = BackboneSpec(
        name=name,
        summary=summary,
        preprocess=Preprocess("bgr", 224, mean=means, scale=1.0),
        layers=layers,
        load=partial(Network.from_spec, read=partial(read, top=top)),
        build=build,
        parameters=parameters,
        weights=replace(weights, url=_RELEASE + weights.file, backbone=name),
    )
    BACKBONES.add(name, spec)


_add(
    "vggface2-resnet50",
    summary="ResNet50 of VGGFace2",
    build=partial(build_resnet, False),
    layers=(("embedding", 2048),),
    parameters=23_561_152,
    top=("classifier",),
    means=VGGFACE2_BGR_MEANS,
    weights=DownloadableWeights(
        "rcmalli_vggface_tf_notop_resnet50.h5", "", size=95_000_000, **_VGGFACE2
    ),
)
_add(
    "vggface2-senet50",
    summary="SENet50 of VGGFace2",
    build=partial(build_resnet, True),
    layers=(("embedding", 2048),),
    parameters=26_092_144,
    top=("classifier",),
    means=VGGFACE2_BGR_MEANS,
    weights=DownloadableWeights(
        "rcmalli_vggface_tf_notop_senet50.h5", "", size=105_000_000, **_VGGFACE2
    ),
)
_add(
    "vggface-vgg16",
    summary="VGG16 of VGG Face, its convolutions",
    build=partial(build_vgg16, False),
    layers=(("embedding", 512),),
    parameters=14_714_688,
    top=_FC,
    means=VGGFACE_BGR_MEANS,
    weights=DownloadableWeights(
        "rcmalli_vggface_tf_notop_vgg16.h5", "", size=59_000_000, **_VGGFACE
    ),
)
_add(
    "vggface-vgg16-top",
    summary="VGG16 of VGG Face with its dense layers",
    build=partial(build_vgg16, True),
    layers=(("fc7", 4096), ("fc6", 4096)),
    parameters=134_260_544,
    top=("fc8",),
    means=VGGFACE_BGR_MEANS,
    weights=DownloadableWeights("rcmalli_vggface_tf_vgg16.h5", "", size=580_000_000, **_VGGFACE),
)
