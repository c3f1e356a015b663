"""Conversion of Keras models to OpenVINO, to INT8 and to ONNX."""

from __future__ import annotations

import errno
import importlib.util
import os
import shutil
import sys
import tempfile
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from ferembed._progress import Progress
from ferembed.backbones.spec import NETWORK
from ferembed.errors import MissingExtra, WeightsError
from ferembed.inference.openvino import import_openvino, quantized
from ferembed.storage.embeddings import Vectors
from ferembed.storage.files import atomic_write, replace_durably, temporary


def import_keras() -> Any:
    """The module keras, without the start-up messages of TensorFlow."""
    if "keras" not in sys.modules and os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3") == "3":
        with _standard_error_off():  # since TensorFlow 2.20 the variable does not silence it
            import tensorflow

            tensorflow.config.list_physical_devices()
    import keras

    return keras


@contextmanager
def _standard_error_off() -> Iterator[None]:
    """Inside `with`, what C libraries write to standard error is dropped."""
    try:
        kept = os.dup(2)
    except OSError:  # it is closed
        yield
        return
    try:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, 2)
        os.close(nowhere)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)


def convert(model: Any, layers: list[str], folder: Path) -> None:
    """Write the model for OpenVINO, with one output per layer, named like it.

    OpenVINO reads TensorFlow's graphs. A conversion through ONNX takes four times as long, and 9 GB
    of memory for 24 million parameters.
    """
    import tensorflow as tf

    openvino = import_openvino()
    with _new_folder(folder) as unfinished:
        exported = unfinished / "exported"
        try:
            _export(model, layers, str(exported), "tf_saved_model")
        except tf.errors.OpError as error:
            raise OSError from error
        except UnicodeEncodeError as error:
            raise OSError(errno.EINVAL, "TensorFlow needs a name in UTF-8") from error
        network = openvino.Core().read_model(exported)
        for i, layer in enumerate(layers):
            network.output(f"output_{i}").tensor.add_names({layer})
        openvino.save_model(network, unfinished / NETWORK, compress_to_fp16=False)
        del network  # which maps the export
        shutil.rmtree(exported)


def save_quantized(
    file: Path, batches: Sequence[Vectors], folder: Path, progress: Progress | None = None
) -> None:
    """Write the network of the file in INT8, calibrated on the batches, into the folder."""
    openvino = import_openvino()
    network = quantized(openvino.Core().read_model(file), batches, progress)
    with _new_folder(folder) as unfinished:
        openvino.save_model(network, unfinished / NETWORK, compress_to_fp16=False)


@contextmanager
def _new_folder(folder: Path) -> Iterator[Path]:
    """A temporary folder to write to; it is renamed to `folder` when it is complete."""
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        unfinished = temporary(folder)
        try:
            unfinished.mkdir()
            yield unfinished
            try:
                replace_durably(unfinished, folder)
            except OSError:
                if not folder.exists():  # otherwise another process was faster
                    raise
        finally:
            shutil.rmtree(unfinished, ignore_errors=True)
    except (OSError, RuntimeError) as error:
        reason = getattr(error, "strerror", None)  # OpenVINO gives none
        reason = reason or "the disk is full, or there are too many open files"
        raise WeightsError(
            f"The network for OpenVINO cannot be written to {folder}: {reason}. "
            "Choose another folder with $FEREMBED_CACHE, or the engine 'keras'."
        ) from error


def export_onnx(model: Any, layers: list[str], path: Path) -> None:
    """Write the model as ONNX, with one output per layer, named like it."""
    if importlib.util.find_spec("tf2onnx") is None or importlib.util.find_spec("onnx") is None:
        raise MissingExtra(
            "An export to ONNX needs tf2onnx and onnx. Run: pip install 'ferembed[fast]'"
        )
    import onnx

    with tempfile.TemporaryDirectory() as folder:
        raw = str(Path(folder) / "network.onnx")
        _export(model, layers, raw, "onnx")
        network = onnx.load(raw)
    _halve_kernels(network.graph, model)
    for value, layer in zip(network.graph.output, layers, strict=True):
        # Two outputs may be one tensor (a layer without effect at inference): rename each.
        network.graph.node.append(onnx.helper.make_node("Identity", [value.name], [layer]))
        value.name = layer
    with atomic_write(path) as unfinished:
        onnx.save(network, str(unfinished))


def _halve_kernels(graph: Any, model: Any) -> None:
    """Store the kernels of convolutions in half precision if they were rounded to it.

    The export multiplies a batch norm into the kernel before it. Separated again into the rounded
    kernel and a factor per channel, they need half the space and are as exact as before.
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
        warnings.simplefilter("ignore")  # deprecation warnings of the converters
        cut.export(path, format=format, verbose=False, input_signature=signature)
