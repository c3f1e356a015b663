"""keras-vggface itself, run on legacy Keras, to compare our networks with.

    python -m tests.helpers.vggface_reference FOLDER resnet50 senet50 vgg16 vgg16-top

FOLDER holds faces.npy, (n, 224, 224, 3) RGB. Each network gets random weights. keras-vggface saves
them as NAME-notop.h5 or NAME-top.h5, or both, and what it makes of the faces is NAME.npz.
"""

from __future__ import annotations

import os
import sys
import types
from pathlib import Path
from typing import Any

import numpy as np

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
import tf_keras
from tf_keras.src.applications.imagenet_utils import obtain_input_shape


def main(folder: Path, names: list[str]) -> None:
    put_in_place_of_keras()
    from keras_vggface.utils import preprocess_input
    from keras_vggface.vggface import VGGFace

    faces = np.load(folder / "faces.npy").astype(np.float32)
    for name in names:
        tf_keras.utils.set_random_seed(1)
        kind, _, top = name.partition("-")
        batch = preprocess_input(faces, version=1 if kind == "vgg16" else 2)
        if top:
            whole = VGGFace(model=kind, weights=None)
            draw(whole)
            ends = [whole.get_layer(layer).output for layer in ("pool5", "fc6", "fc7")]
            pool5, fc6, fc7 = tf_keras.Model(whole.input, ends).predict_on_batch(batch)
            vectors = {"embedding": pool5.mean(axis=(1, 2)), "fc6": fc6, "fc7": fc7}
            whole.save_weights(folder / f"{name}.h5")
        else:
            pooled = VGGFace(
                model=kind,
                include_top=False,
                input_shape=(224, 224, 3),
                pooling="avg",
                weights=None,
            )
            draw(pooled)
            vectors = {"embedding": pooled.predict_on_batch(batch)}
            pooled.save_weights(folder / f"{name}-notop.h5")
            if kind != "vgg16":
                whole = VGGFace(model=kind, weights=None)
                for layer in filter(lambda layer: layer.weights, pooled.layers):
                    whole.get_layer(layer.name).set_weights(layer.get_weights())
                whole.save_weights(folder / f"{name}-top.h5")
        np.savez(folder / f"{name}.npz", **vectors)


def draw(model: Any) -> None:
    """Give biases and norms random values, statistics included; Keras has drawn the kernels.

    They are such that vectors come out near 1, where the last digits of a float can be compared.
    """
    rng = np.random.default_rng(1)
    for weight in model.weights:
        layer, _, kind = weight.name.partition(":")[0].rpartition("/")
        shape = tuple(weight.shape)
        if kind == "gamma":
            low, high = (0.1, 0.4) if "increase" in layer else (0.5, 1.5)
            weight.assign(rng.uniform(low, high, shape))
        elif kind == "moving_variance":
            weight.assign(rng.uniform(0.5, 1.5, shape) * (500 if "7x7" in layer else 0.5))
        elif kind in ("beta", "moving_mean", "bias"):
            weight.assign(rng.normal(0, 0.1, shape))


def put_in_place_of_keras() -> None:
    """keras-vggface imports Keras 2 from where it lay until 2019."""

    def module(name: str, **contents: Any) -> None:
        sys.modules[name] = types.ModuleType(name)
        sys.modules[name].__dict__.update(contents)

    sys.modules["keras"] = tf_keras
    for part in ("backend", "layers", "models", "utils"):
        sys.modules[f"keras.{part}"] = getattr(tf_keras, part)
    module("keras.utils.layer_utils")
    tf_keras.utils.layer_utils = sys.modules["keras.utils.layer_utils"]
    module("keras.utils.data_utils", get_file=None)
    module("keras.engine")
    module("keras.engine.topology", get_source_inputs=tf_keras.utils.get_source_inputs)
    module("keras_applications")
    module("keras_applications.imagenet_utils", _obtain_input_shape=obtain_input_shape)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
