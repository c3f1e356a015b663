"""Registration of the user's own Keras models as backbones."""

from __future__ import annotations

import os
import re
from functools import partial
from typing import Any

from ferembed.backbones.convert import import_keras
from ferembed.backbones.network import Network
from ferembed.backbones.preprocess import Preprocess
from ferembed.backbones.spec import BACKBONES, BackboneSpec
from ferembed.backbones.weight_files import save_weights
from ferembed.errors import WeightsError
from ferembed.storage.files import temporary
from ferembed.storage.folders import cache_folder
from ferembed.storage.weights import Weights, sha256_of

_added: set[str] = set()


def register_keras_model(name: str, model: Any, layer: str, preprocess: Preprocess) -> BackboneSpec:
    """Register a Keras model as a backbone, cut at the layer, and return its spec.

    Its present weights are saved. Register it again after training it further. If the last layer is
    dense it is the classifier, which `train_backbone` replaces by one with the classes of the data.

        model = keras.models.load_model("mine.keras")
        register_keras_model("mine", model, "dense", Preprocess("gray", 48))
        Pipeline("mine", "svm").fit(faces, labels)

    The registration is valid in this process only: the workers of a parallel search need their own.
    """
    keras = import_keras()
    if not re.fullmatch(r"\w[\w.-]*", name):
        raise WeightsError(f"{name!r} is not a valid name. Use letters, digits, '.', '_' and '-'.")
    if name in BACKBONES and name not in _added:
        raise WeightsError(f"{name} is one of ferembed's own backbones. Choose another name.")
    names = [one.name for one in model.layers]
    if layer not in names:
        raise WeightsError(f"The model has no layer {layer!r}; it has {', '.join(names)}.")
    if tuple(model.inputs[0].shape[1:]) != preprocess.shape:
        raise WeightsError(
            f"The model takes faces of the shape {tuple(model.inputs[0].shape[1:])}, and the "
            f"preprocessing gives {preprocess.shape}. Change size or color of the Preprocess."
        )
    shape = model.get_layer(layer).output.shape
    if len(shape) != 2:
        raise WeightsError(
            f"The layer {layer!r} gives values of the shape {tuple(shape[1:])}, not a vector. "
            "Cut after a Flatten or a global pooling."
        )
    last = model.layers[-1]
    is_classifier = isinstance(last, keras.layers.Dense)
    weights = _saved_weights(model, name)
    spec = BackboneSpec(
        name=name,
        summary="your own network",
        preprocess=preprocess,
        layers=((layer, int(shape[1])),)
        + (((last.name, last.units),) if is_classifier and last.name != layer else ()),
        load=Network.from_spec,
        build=partial(_build, model) if is_classifier else partial(_copy, model),
        classifier=last.name if is_classifier else None,
        parameters=model.count_params(),
        weights=weights,
    )
    _added.add(name)
    return BACKBONES.add(name, spec, replace=True)


def _saved_weights(model: Any, name: str) -> Weights:
    """The weights of the model, saved in the cache under a unique name."""
    path = temporary(cache_folder() / "weights" / f"own-{name}.npz")
    save_weights(model, path, half=False)
    sha256 = sha256_of(path)
    file = f"own-{name}-{sha256[:16]}.npz"
    os.replace(path, path.with_name(file))
    return Weights(file, sha256, "yours", "your data")


def _copy(model: Any) -> Any:
    return import_keras().models.clone_model(model)


def _build(model: Any, classes: int) -> Any:
    """A copy with new weights and this number of classes."""
    keras = import_keras()
    copy = _copy(model)
    last = copy.layers[-1]
    if last.units == classes:
        return copy
    other = keras.layers.Dense.from_config({**last.get_config(), "units": classes})
    return keras.Model(copy.inputs, other(last.input))
