"""Network: a Keras graph, run by Keras, or converted for OpenVINO and run by that.

For the engine "openvino-int8" a network is quantized once, with faces, and kept in the cache.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import tempfile
import warnings
import zlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import cache, partial
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from ferembed.backbones.backbone import (
    NETWORK,
    Backbone,
    LoadRequest,
    Vectors,
)
from ferembed.errors import MissingExtra, ModelError, WeightsError
from ferembed.images import Image
from ferembed.inference.engines import choose_engine
from ferembed.inference.openvino import (
    compile_single,
    compile_throughput,
    import_nncf,
    import_openvino,
    quantized,
)
from ferembed.storage.files import atomic_write
from ferembed.storage.weights import read_weights

FEW = 4  # faces that all cores work on together
FEWEST = 20  # faces that give a network's numbers their ranges
Build: TypeAlias = Callable[[], Any]  # -> keras.Model
Read: TypeAlias = Callable[[Path], dict[str, NDArray[Any]]]  # -> the arrays by variable


class Network(Backbone):
    """A Keras graph, cut at a layer, on whichever engine serves it."""

    def __init__(self, request: LoadRequest, build: Build, read: Read = read_weights) -> None:
        """`read` reads weights in the form that others publish; an .npz is read as our own."""
        spec = request.spec
        super().__init__(request.preprocess or spec.preprocess, request.dim)
        layer = request.layer or spec.layers[0][0]
        given, taken = self.preprocess.shape, spec.preprocess.shape
        if given != taken:
            raise WeightsError(
                f"The preprocessing gives {'x'.join(map(str, given))}, and {spec.name} takes "
                f"{'x'.join(map(str, taken))}. Change size or color of the Preprocess."
            )
        ships = request.weights is None and spec.onnx is not None
        self.engine = choose_engine(request.engine, ships)
        self.model: Any = None  # of the engine "keras"
        if self.engine == "keras":
            self.model = _weighted(request, build, read)
            self._forward = keras_forward(self.model, layer)
        else:
            if self.engine == "openvino-int8":
                self.file = request.quantized_path() / NETWORK
            else:
                self.file = _converted(request, build, read)
            self._forward = openvino_forward(self.file, layer, self.engine)

    @classmethod
    def from_spec(cls, request: LoadRequest, read: Read = read_weights) -> Network:
        """The network that its spec builds, of as many classes as its weights have."""
        spec = request.spec
        assert spec.build is not None
        build = partial(spec.build, request.classes) if spec.classifier else spec.build
        return cls(request, build, read)

    def forward(self, batch: Vectors) -> Vectors:
        return self._forward(batch)


def quantize(request: LoadRequest, faces: Iterable[Image], verbose: bool = False) -> None:
    """Keep the network in integers of 8 bits, too, with the ranges that its numbers have here."""
    import_nncf()  # which may be missing: better said before the work than after
    exact = request.spec.load(replace(request, engine="openvino"))
    if not isinstance(exact, Network):
        raise WeightsError(f"{request.name} is no network that can run in 8-bit integers.")
    batches = [exact.preprocess([face]) for face in faces]
    if len(batches) < FEWEST:
        raise WeightsError(
            f"{len(batches)} faces do not tell the ranges of the network's numbers. Give at least "
            f"{FEWEST}, better some hundred, of the kind that it will see."
        )
    openvino = import_openvino()
    content = hashlib.sha256(b"".join(batch.tobytes() for batch in batches)).hexdigest()
    folder = request.cache_path(content[:16])
    if not folder.exists():
        network = quantized(openvino.Core().read_model(exact.file), batches, verbose)
        with _new_folder(folder) as whole:
            openvino.save_model(network, whole / NETWORK, compress_to_fp16=False)
    os.utime(folder / NETWORK)  # it is the one that was asked for last


def import_keras() -> Any:
    """Keras, with TensorFlow's start-up chatter turned down."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    import keras

    return keras


def keras_forward(model: Any, layer: str) -> Callable[[Vectors], Vectors]:
    keras = import_keras()
    cut = keras.Model(model.inputs[0], model.get_layer(layer).output)
    loaded_in = os.getpid()

    def forward(batch: Vectors) -> Vectors:
        if os.getpid() != loaded_in:
            raise ModelError(
                "Keras would wait for ever in a process that was forked after it ran. Start "
                "processes by multiprocessing.get_context('spawn'), or take engine='openvino'."
            )
        return np.asarray(keras.ops.convert_to_numpy(cut(batch, training=False)), np.float32)

    return forward


def openvino_forward(file: Path, layer: str, engine: str) -> Callable[[Vectors], Vectors]:
    """Few faces are waited for, and many are many: each way is compiled when it is first needed."""
    openvino = import_openvino()
    core = openvino.Core()
    try:
        network = core.read_model(file)
    except RuntimeError as error:
        made = "run ferembed quantize" if "-int8-" in file.parent.name else "it is made anew"
        advice = f"is damaged: delete the folder {file.parent}, and {made}."
        if file.name != NETWORK:  # it ships, and its sha256 was checked
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
        forked = os.getpid() != loaded_in  # which has none of the threads that `many` waits for
        return (few() if len(batch) <= FEW or forked else many())(batch)[0]

    return forward


def convert(model: Any, layers: list[str], folder: Path) -> None:
    """Write the network for OpenVINO with an output, named like the layer, for each of the layers.

    It reads TensorFlow's graphs itself. Through ONNX that takes four times as long and, for 24
    million parameters, 9 GB of memory.
    """
    import tensorflow as tf

    openvino = import_openvino()
    with _new_folder(folder) as whole:
        exported = whole.with_name("exported")
        try:
            _export(model, layers, str(exported), "tf_saved_model")
        except tf.errors.OpError as error:
            raise OSError from error
        network = openvino.Core().read_model(exported)
        for i, layer in enumerate(layers):
            network.output(f"output_{i}").tensor.add_names({layer})
        openvino.save_model(network, whole / NETWORK, compress_to_fp16=False)


@contextmanager
def _new_folder(folder: Path) -> Iterator[Path]:
    """A place to write what comes to lie at `folder` when it is whole."""
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".converting-") as unfinished:
            whole = Path(unfinished) / "network"
            yield whole
            try:
                whole.rename(folder)
            except OSError:
                if not folder.exists():  # else another process was faster
                    raise
    except (OSError, RuntimeError) as error:
        reason = getattr(error, "strerror", None) or "is the disk full?"
        raise WeightsError(
            f"The network for the fast engine cannot be kept at {folder}: {reason}. "
            "Choose another folder with $FEREMBED_CACHE, or the engine 'keras'."
        ) from error


def export_onnx(model: Any, layers: list[str], path: Path) -> None:
    """Write the network as ONNX with an output, named like the layer, for each of the layers."""
    if importlib.util.find_spec("tf2onnx") is None or importlib.util.find_spec("onnx") is None:
        raise MissingExtra(
            "Turning a network into ONNX needs tf2onnx and onnx. Run: pip install 'ferembed[fast]'"
        )
    import onnx

    with tempfile.TemporaryDirectory() as folder:
        raw = str(Path(folder) / "network.onnx")
        _export(model, layers, raw, "onnx")
        network = onnx.load(raw)
    _halve_kernels(network.graph, model)
    for value, layer in zip(network.graph.output, layers, strict=True):
        # Two outputs may be one tensor (a layer that does nothing at inference): name each anew.
        network.graph.node.append(onnx.helper.make_node("Identity", [value.name], [layer]))
        value.name = layer
    with atomic_write(path) as unfinished:
        onnx.save(network, str(unfinished))


def _halve_kernels(graph: Any, model: Any) -> None:
    """Keep the kernels of convolutions in half precision, where they were rounded to it.

    The export multiplies a batch norm into the kernel before it. Taken apart again, into the
    rounded kernel and a factor per channel, they need half the space and are as exact as before.
    """
    from onnx import TensorProto, helper, numpy_helper

    kernels = [
        value.transpose(3, 2, 0, 1)
        for value in (variable.numpy() for variable in model.weights)
        if value.ndim == 4 and (value == value.astype(np.float16)).all()
    ]
    nodes = []
    for tensor in list(graph.initializer):
        merged = numpy_helper.to_array(tensor)
        for kernel in kernels:
            if kernel.shape != merged.shape:
                continue
            axes = tuple(range(1, kernel.ndim))
            factor = (merged * kernel).sum(axes, keepdims=True, dtype=np.float64)
            factor /= np.maximum(
                np.square(kernel).sum(axes, keepdims=True, dtype=np.float64), 1e-30
            )
            if np.abs(merged - kernel * factor).max() > 1e-6 * np.abs(merged).max():
                continue
            half, whole, scale = (f"{tensor.name}_{part}" for part in ("half", "whole", "scale"))
            graph.initializer.remove(tensor)
            graph.initializer.append(numpy_helper.from_array(kernel.astype(np.float16), half))
            graph.initializer.append(numpy_helper.from_array(factor.astype(np.float32), scale))
            nodes.append(helper.make_node("Cast", [half], [whole], to=TensorProto.FLOAT))
            nodes.append(helper.make_node("Mul", [whole, scale], [tensor.name]))
            break
    for node in reversed(nodes):
        graph.node.insert(0, node)


def _export(model: Any, layers: list[str], path: str, format: str) -> None:
    keras = import_keras()
    cut = keras.Model(model.inputs[0], [model.get_layer(layer).output for layer in layers])
    signature = [keras.InputSpec(shape=(None, *cut.inputs[0].shape[1:]), dtype="float32")]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the converters, about their own future
        cut.export(path, format=format, verbose=False, input_signature=signature)


def save_weights(model: Any, path: Path, *, half: bool = True) -> None:
    """Write the arrays by name. Kernels are rounded to half precision, in the model too."""
    arrays: dict[str, Any] = {}
    for variable in model.weights:
        value = np.asarray(variable.numpy(), np.float32)
        if half and value.ndim > 1:
            value = value.astype(np.float16)
            variable.assign(value.astype(np.float32))
        arrays[variable.path] = value
    with atomic_write(path) as unfinished, unfinished.open("wb") as file:
        np.savez_compressed(file, **arrays)


def load_weights(model: Any, path: Path, read: Read = read_weights) -> None:
    """Fill the model from a file; every name and shape must match."""
    arrays = read(path)
    expected = {variable.path: tuple(variable.shape) for variable in model.weights}
    found = {name: array.shape for name, array in arrays.items()}
    if found != expected:
        odd = sorted(
            name for name in expected.keys() | found if expected.get(name) != found.get(name)
        )
        raise WeightsError(
            f"{path} holds the weights of another network: {odd[0]} is {found.get(odd[0])} there, "
            f"{expected.get(odd[0])} in {model.name} ({len(odd)} differ)."
        )
    for variable in model.weights:
        variable.assign(arrays[variable.path].astype(np.float32))


def _draw_weights(model: Any, seed: int) -> None:
    """He-normal kernels from NumPy: the same on every backend, the caller's seeds untouched."""
    for variable in model.weights:
        shape = tuple(variable.shape)
        if len(shape) > 1:
            rng = np.random.default_rng([seed, zlib.crc32(variable.path.encode())])
            # A depthwise kernel ends in (channels, 1), and each channel sees itself alone.
            inputs = shape[:2] if len(shape) == 4 and shape[3] == 1 else shape[:-1]
            deviation = np.sqrt(2 / np.prod(inputs))
            variable.assign((rng.standard_normal(shape) * deviation).astype(np.float32))


def _weighted(request: LoadRequest, build: Build, read: Read) -> Any:
    path = None if request.seed is not None else request.weights_path()
    model = build()
    if path is None:
        _draw_weights(model, request.seed or 0)
    else:
        with path.open("rb") as file:  # a saved model calls them weights.npz, whatever they are
            zipped = file.read(2) == b"PK"
        load_weights(model, path, read_weights if zipped else read)
    return model


def _converted(request: LoadRequest, build: Build, read: Read) -> Path:
    """The network as the fast engine reads it: what ships, or what is kept in the cache."""
    spec = request.spec
    if request.weights is None and spec.onnx is not None:
        return spec.onnx.path()
    folder = request.cache_path()
    if not folder.exists():
        convert(_weighted(request, build, read), [layer for layer, _ in spec.layers], folder)
    return folder / NETWORK
