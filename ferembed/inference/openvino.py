"""OpenVINO: networks compiled for single batches or for throughput, and INT8 quantization."""

from __future__ import annotations

import importlib
import importlib.util
import io
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from functools import cache
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from ferembed._progress import Progress
from ferembed._threads import thread_limit
from ferembed.errors import MissingExtra

_ROWS_PER_REQUEST = 4  # rows of one request; more rows need more memory than a core's cache
_CONVERTER = "openvino.tools.ovc"
Floats: TypeAlias = NDArray[np.float32]
Compiled: TypeAlias = Callable[[Floats], list[Floats]]

_FIRST_ARRAY = threading.Lock()


@cache
def import_openvino() -> Any:
    """The module openvino, with its telemetry disabled.

    Its converter of models, which takes half of the time of the import, is imported when it is
    first used.
    """
    with _hidden("openvino_telemetry", _CONVERTER):
        import openvino
    if not hasattr(openvino, "convert_model"):
        vars(openvino)["__getattr__"] = _converter
    return openvino


def _converter(name: str) -> Any:
    """openvino.convert_model, on request."""
    if name != "convert_model":
        raise AttributeError(f"module 'openvino' has no attribute {name!r}")
    with _hidden("openvino_telemetry"):
        return importlib.import_module(_CONVERTER).convert_model


@cache
def import_nncf() -> Any:
    """The module nncf, which quantizes networks, with its telemetry disabled."""
    if importlib.util.find_spec("nncf") is None:
        raise MissingExtra(
            "Quantizing a network to INT8 needs nncf. Run: pip install 'ferembed[int8]'"
        )
    with _hidden("openvino_telemetry"):
        import nncf
    nncf.set_log_level(40)
    return nncf


@contextmanager
def _hidden(*names: str) -> Iterator[None]:
    """Hide packages from modules that are imported inside `with`."""
    modules: dict[str, Any] = sys.modules
    hidden = [name for name in names if name not in modules]
    modules.update(dict.fromkeys(hidden))
    try:
        yield
    finally:
        for name in hidden:
            modules.pop(name, None)


def quantized(network: Any, batches: Sequence[Floats], progress: Progress | None = None) -> Any:
    """The openvino.Model in INT8, calibrated on the batches."""
    nncf = import_nncf()
    from openvino.passes import ConstantFolding, Manager

    folding = Manager()  # turns kernels stored in half precision into constants again
    folding.register_pass(ConstantFolding())
    folding.run_passes(network)
    read = 0

    def count(batch: Floats) -> Floats:  # nncf goes through the batches many times
        nonlocal read
        read += 1
        if progress:
            progress(read, None)
        return batch

    with redirect_stdout(io.StringIO()):  # where nncf prints; it is for results
        calibrated = nncf.quantize(
            network,
            nncf.Dataset(batches, count),
            preset=nncf.QuantizationPreset.MIXED,
            subset_size=len(batches),
            fast_bias_correction=False,  # as fast, and 99 % instead of 97 % of predictions agree
        )
    if progress:
        progress(read, read)
    return calibrated


def compile_single(network: Any, cores: int = 0, engine: str = "openvino") -> Compiled:
    """A function from a batch to the outputs of an openvino.Model; threads may share it.

    All cores, or `cores` of them, work on each batch. Few are faster for a small network.
    """
    settings = {"PERFORMANCE_HINT": "LATENCY", **precision_hint(engine)}
    if cores:
        settings["INFERENCE_NUM_THREADS"] = str(cores)
    runnable = compile_model(network, settings)
    idle: list[Any] = []

    def forward(batch: Floats) -> list[Floats]:
        try:
            request = idle.pop()  # a request serves one caller at a time
        except IndexError:
            request = runnable.create_infer_request()
        outputs = request.infer([batch], share_inputs=True)
        copies = [np.array(output) for output in outputs.values()]
        idle.append(request)
        return copies

    return forward


def compile_throughput(network: Any, engine: str = "openvino") -> Compiled:
    """Like `compile_single`, but for large batches: each core computes rows of its own.

    Cores that share one batch would wait for each other after each layer.
    """
    openvino = import_openvino()
    settings = {"PERFORMANCE_HINT": "THROUGHPUT", **precision_hint(engine)}
    requests = openvino.AsyncInferQueue(compile_model(network, settings))
    turn = threading.Lock()

    def keep(request: Any, place: tuple[dict[int, list[Floats]], int]) -> None:
        found, start = place  # of this call: an interrupted one may have left requests running
        found[start] = [np.array(tensor.data) for tensor in request.output_tensors]

    requests.set_callback(keep)

    def forward(batch: Floats) -> list[Floats]:
        rows = max(1, min(_ROWS_PER_REQUEST, len(batch) // len(requests)))
        found: dict[int, list[Floats]] = {}
        with turn:
            for start in range(0, len(batch), rows):
                part = batch[start : start + rows]
                requests.start_async([part], (found, start), share_inputs=True)
            requests.wait_all()
        parts = [found[start] for start in sorted(found)]
        return [np.concatenate(part) for part in zip(*parts, strict=True)]

    return forward


def compile_model(network: Any, settings: dict[str, Any]) -> Any:
    """A compiled openvino.Model that several threads may call at the same time.

    OpenVINO initialises its use of NumPy at the first array. Two threads that both pass the first
    one can deadlock, so one is passed here under a lock. Its threads are not pinned to cores: two
    processes, or two networks of a process, with a thread each would share the first core.
    """
    openvino = import_openvino()
    settings = {"ENABLE_CPU_PINNING": "NO", **settings}
    if limit := thread_limit():
        settings = {"INFERENCE_NUM_THREADS": str(limit), **settings}
    with _FIRST_ARRAY:
        openvino.Tensor(np.zeros(1, np.float32)).data.sum()
    return openvino.Core().compile_model(network, "CPU", settings)


def precision_hint(engine: str) -> dict[str, str]:
    return {"INFERENCE_PRECISION_HINT": "bf16" if engine == "openvino-bf16" else "f32"}
