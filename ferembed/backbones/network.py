"""Network: a Keras model, run by Keras, or converted and run by OpenVINO.

For the engine "openvino-int8" a network is calibrated once on faces and kept in the cache.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterable
from dataclasses import replace
from functools import cache, partial
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from ferembed._progress import Progress
from ferembed.backbones.backbone import Backbone
from ferembed.backbones.convert import convert, import_keras, save_quantized
from ferembed.backbones.spec import NETWORK, LoadRequest
from ferembed.backbones.weight_files import Read, draw_weights, load_weights
from ferembed.errors import ModelError, WeightsError
from ferembed.images import Image
from ferembed.inference.openvino import (
    compile_single,
    compile_throughput,
    import_nncf,
    import_openvino,
)
from ferembed.storage.embeddings import Vectors
from ferembed.storage.weights import read_weights

_SMALL_BATCH = 4  # faces; all cores work together on a batch of at most this size
_FEWEST_FACES = 20  # that calibrate a network
Build: TypeAlias = Callable[[], Any]  # -> keras.Model


class Network(Backbone):
    """A Keras model, cut at a layer and run by the chosen engine."""

    def __init__(self, request: LoadRequest, build: Build, read: Read = read_weights) -> None:
        """`read` reads weights in the published format; an .npz file is read as ferembed's own."""
        spec = request.spec
        super().__init__(request.preprocess or spec.preprocess, request.dim)
        layer = request.layer or spec.layers[0][0]
        given, taken = self.preprocess.shape, spec.preprocess.shape
        if given != taken:
            raise WeightsError(
                f"The preprocessing gives {'x'.join(map(str, given))}, and {spec.name} takes "
                f"{'x'.join(map(str, taken))}. Change size or color of the Preprocess."
            )
        self.engine = request.chosen_engine
        self.model: Any = None  # of the engine "keras"
        if self.engine == "keras":
            self.model = _weighted(request, build, read)
            self._forward = keras_forward(self.model, layer)
        else:
            if self.engine == "openvino-int8":
                self.file = request.quantized_file()
            else:
                self.file = _converted(request, build, read)
            self._forward = openvino_forward(self.file, layer, self.engine)

    @classmethod
    def from_spec(cls, request: LoadRequest, read: Read = read_weights) -> Network:
        """The network built by its spec, with as many classes as its weights."""
        spec = request.spec
        assert spec.build is not None
        build = partial(spec.build, request.classes) if spec.classifier else spec.build
        return cls(request, build, read)

    def forward(self, batch: Vectors) -> Vectors:
        return self._forward(batch)


def quantize(
    request: LoadRequest, faces: Iterable[Image], progress: Progress | None = None
) -> None:
    """Calibrate an INT8 version of the network on the faces and keep it in the cache."""
    import_nncf()  # raises now if it is missing, not after the work
    exact = request.spec.load(replace(request, engine="openvino"))
    if not isinstance(exact, Network):
        raise WeightsError(f"{request.name} is not a network that can run in INT8.")
    batches = [exact.preprocess([face]) for face in faces]
    if len(batches) < _FEWEST_FACES:
        raise WeightsError(
            f"INT8 calibration needs at least {_FEWEST_FACES} faces, got {len(batches)}. Some "
            "hundred faces of the kind that will be read are better."
        )
    content = hashlib.sha256(b"".join(batch.tobytes() for batch in batches)).hexdigest()
    folder = request.cache_path(content[:16])
    if not folder.exists():
        save_quantized(exact.file, batches, folder, progress)
    os.utime(folder / NETWORK)  # the latest one is used


def keras_forward(model: Any, layer: str) -> Callable[[Vectors], Vectors]:
    """A function from a batch to the output of a layer, computed by Keras."""
    keras = import_keras()
    cut = keras.Model(model.inputs[0], model.get_layer(layer).output)
    loaded_in = os.getpid()

    def forward(batch: Vectors) -> Vectors:
        if os.getpid() != loaded_in:
            raise ModelError(
                "Keras would deadlock in a process that was forked after it ran. Start processes "
                "by multiprocessing.get_context('spawn'), or use engine='openvino'."
            )
        return np.asarray(keras.ops.convert_to_numpy(cut(batch, training=False)), np.float32)

    return forward


def openvino_forward(file: Path, layer: str, engine: str) -> Callable[[Vectors], Vectors]:
    """The same, computed by OpenVINO: compiled once for small batches, once for large ones."""
    openvino = import_openvino()
    core = openvino.Core()
    try:
        network = core.read_model(file)
    except RuntimeError as error:
        remedy = "run ferembed quantize" if engine == "openvino-int8" else "run again"
        advice = f"is damaged: delete the folder {file.parent} and {remedy}."
        if file.name != NETWORK:  # an ONNX file, whose sha256 was checked
            advice = (
                f"cannot be read by OpenVINO {openvino.__version__}. Run: pip install --upgrade "
                "openvino, or choose the engine 'keras'."
            )
        raise WeightsError(f"{file} {advice}") from error
    cut = openvino.Model([network.output(layer)], network.get_parameters(), layer)
    few = cache(lambda: compile_single(cut, engine=engine))
    many = cache(lambda: compile_throughput(cut, engine))
    loaded_in = os.getpid()

    def forward(batch: Vectors) -> Vectors:
        forked = os.getpid() != loaded_in  # a fork lacks the threads of `many`
        return (few() if len(batch) <= _SMALL_BATCH or forked else many())(batch)[0]

    return forward


def _weighted(request: LoadRequest, build: Build, read: Read) -> Any:
    path = None if request.seed is not None else request.weights_path()
    model = build()
    if path is None:
        draw_weights(model, request.seed or 0)
    else:
        with path.open("rb") as file:  # a saved model renames them to weights.npz
            zipped = file.read(2) == b"PK"
        load_weights(model, path, read_weights if zipped else read)
    return model


def _converted(request: LoadRequest, build: Build, read: Read) -> Path:
    """The file of the network for OpenVINO: one that ships, or one in the cache."""
    spec = request.spec
    if request.weights is None and spec.onnx is not None:
        return spec.onnx.path()
    folder = request.cache_path()
    if not folder.exists():
        convert(_weighted(request, build, read), [layer for layer, _ in spec.layers], folder)
    return folder / NETWORK
