"""A MobileNet trained on identities, fine-tuned here on expressions."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ferembed.backbones import vggface2_mobilenet
from ferembed.backbones.convert import import_keras
from ferembed.backbones.network import Network
from ferembed.backbones.preprocess import Preprocess
from ferembed.backbones.spec import BACKBONES, BackboneSpec
from ferembed.labels import EIGHT_EXPRESSIONS, EXPRESSIONS
from ferembed.storage.weights import Weights

SIZE = 96  # a face of FER2013 has 48 pixels; the first convolution halves the side


def build(classes: int = 15, frozen: int | None = None, blocks: int = 12, size: int = SIZE) -> Any:
    """The Keras model, from a face to logits. To train it, see `vggface2_mobilenet.build`.

    The last block of the published network is left out. It had a third of the parameters, and the
    network is as accurate without it.
    """
    keras = import_keras()
    body = vggface2_mobilenet.build(size, frozen, blocks)
    x = keras.layers.Dropout(0.4, name="drop")(body.get_layer("joined").output)
    logits = keras.layers.Dense(classes, name="logits", dtype="float32")(x)
    return keras.Model(body.inputs[0], logits, name="fer_mobilenet")


def _build_192(classes: int = 7) -> Any:
    return build(classes, size=192)


def folded(model: Any) -> dict[str, NDArray[Any]]:
    """The weights of a model built for training, with the batch norms folded into convolutions."""
    arrays = {weight.path: np.asarray(weight.numpy()) for weight in model.weights}
    for layer in model.layers:
        if not layer.name.endswith("_norm"):
            continue
        convolution = layer.name.removesuffix("_norm")
        gamma, beta, mean, variance = (
            arrays.pop(f"{layer.name}/{part}")
            for part in ("gamma", "beta", "moving_mean", "moving_variance")
        )
        factor = gamma / np.sqrt(variance + layer.epsilon)
        deep = convolution.startswith("conv_dw")  # whose kernel ends in (channels, 1)
        arrays[f"{convolution}/kernel"] *= factor[:, None] if deep else factor
        arrays[f"{convolution}/bias"] = beta - mean * factor
    return arrays


_FACTS = (
    "MIT (made from weights under MIT, upstream Apache-2.0)",
    "VGGFace2 (3.3 million pictures of 9,131 people), by HSE-FaceRes; then FER2013, training split "
    "(28,694 faces; for research), with the votes of FER+ (MIT)",
)
_FACTS_192 = (
    _FACTS[0],
    "VGGFace2 (3.3 million pictures of 9,131 people), by HSE-FaceRes; then FER2013, training split "
    "(28,709 faces, in sharpened and clipped copies; for research)",
)
BACKBONES.add(
    "fer-mobilenet",
    BackboneSpec(
        name="fer-mobilenet",
        summary="vggface2-mobilenet without its last block, fine-tuned on FER2013 and FER+",
        preprocess=Preprocess("bgr", SIZE, mean=vggface2_mobilenet.IMAGENET_BGR_MEANS, scale=1.0),
        layers=(("joined", 1536), ("embedding", 1024), ("logits", 15)),
        load=Network.from_spec,
        build=build,
        classifier="logits",
        label_sets=(("ferplus", EIGHT_EXPRESSIONS), ("fer2013", EXPRESSIONS)),
        parameters=2_159_247,
        weights=Weights(
            "fer-mobilenet.npz",
            "6502c4a924dff0670e2e359f0143d84c5d52553a884f85661acf09e32b60afdf",
            *_FACTS,
        ),
        onnx=Weights(
            "fer-mobilenet.onnx",
            "23f25683143519ad5afce6a55ecc63fe7de7fba3384af651e865646c0c75b8e9",
            *_FACTS,
        ),
    ),
)
BACKBONES.add(
    "fer-mobilenet-192",
    BackboneSpec(
        name="fer-mobilenet-192",
        summary="the earlier fer-mobilenet, of larger faces, trained on FER2013's own classes",
        preprocess=Preprocess("bgr", 192, mean=vggface2_mobilenet.IMAGENET_BGR_MEANS, scale=1.0),
        layers=(("joined", 1536), ("embedding", 1024), ("logits", 7)),
        load=Network.from_spec,
        build=_build_192,
        classifier="logits",
        label_sets=(("fer2013", EXPRESSIONS),),
        parameters=2_146_951,
        weights=Weights(
            "fer-mobilenet-192.npz",
            "5fe7224eed7f407ef0e99016bc8fe8873cc2621b7502c8e746cff7642f626aba",
            *_FACTS_192,
        ),
        onnx=Weights(
            "fer-mobilenet-192.onnx",
            "a333153d9f046202262108fca1c8e512559be960cd017838dc40861417e0b65f",
            *_FACTS_192,
        ),
    ),
)
