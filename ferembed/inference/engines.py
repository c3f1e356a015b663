"""What runs a network: Keras, the reference, or OpenVINO, fast on a CPU.

The two give the same numbers within 1e-4. Where the CPU has bfloat16, OpenVINO runs with it about
twice as fast, when it is asked to: numbers of 8 bits instead of 24 give vectors of a cosine of
0.9999 and more to the exact ones. Integers of 8 bits are faster still, on CPUs without bfloat16,
too, once the ranges of a network's numbers were measured on faces. The choice is made here and
nowhere else.

OpenVINO multiplies matrices, too, where NumPy would take longer.
"""

from __future__ import annotations

import importlib.util
import io
import os
import platform
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from functools import cache
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from ferembed.errors import MissingExtra, UnknownName
from ferembed.registry import unknown_name_message

ENGINES = ("auto", "keras", "openvino", "openvino-bf16", "openvino-int8")
_AT_ONCE = 4  # rows that a core works on together: what they need stays near to it
Floats: TypeAlias = NDArray[np.float32]
Compiled: TypeAlias = Callable[[Floats], list[Floats]]

_FIRST_ARRAY = threading.Lock()
_LARGE = 1 << 29  # multiplications in a product, for which NumPy takes some milliseconds
_TILE = 256, 1024  # rows of both sides that are multiplied at a time
_threads: list[int] = []  # the last is how many threads a network may use; [] is one a core
_side_by_side: list[None] = []  # an entry for each `one_blas_thread_per_worker` that is entered
_PROCESS = os.getpid()


def choose_engine(engine: str, converted: bool = True) -> str:
    """ "keras" or one of "openvino"; "auto" takes the exact fast one where it is installed.

    It reads TensorFlow's graphs: with Keras on another backend a network must be `converted`.
    """
    if engine not in ENGINES:
        raise UnknownName(unknown_name_message("engine", engine, list(ENGINES)))
    installed = importlib.util.find_spec("openvino") is not None
    if engine.startswith("openvino") and not installed:
        raise MissingExtra(
            f"The engine {engine!r} is not installed. Run: pip install 'ferembed[fast]'"
        )
    if engine == "openvino-bf16" and not _has_bfloat16():
        raise MissingExtra(
            "This CPU has no bfloat16: the engine 'openvino-bf16' would be no faster. "
            "Take 'openvino'."
        )
    if engine == "auto":
        readable = converted or os.environ.get("KERAS_BACKEND", "tensorflow") == "tensorflow"
        return "openvino" if installed and readable else "keras"
    return engine


@cache
def import_openvino() -> Any:
    """OpenVINO, which would report to its makers that it is in use, and asks nobody before."""
    with _unreported():
        import openvino
    return openvino


@cache
def import_nncf() -> Any:
    """What turns networks into 8-bit integers; it would report, too."""
    if importlib.util.find_spec("nncf") is None:
        raise MissingExtra(
            "Turning a network into 8-bit integers needs nncf. Run: pip install 'ferembed[int8]'"
        )
    with _unreported():
        import nncf
    nncf.set_log_level(40)
    return nncf


@contextmanager
def _unreported() -> Iterator[None]:
    """Inside `with`, what is imported finds nothing to send reports with."""
    name = "openvino_telemetry"
    modules: dict[str, Any] = sys.modules
    hidden = name not in modules
    if hidden:
        modules[name] = None
    try:
        yield
    finally:
        if hidden:
            modules.pop(name, None)


def use_threads(count: int) -> None:
    """Let each network that is compiled from now on, and BLAS, use so many threads here."""
    from threadpoolctl import threadpool_limits

    threadpool_limits(count)
    _threads.append(count)


def quantized(network: Any, batches: Sequence[Floats], verbose: bool = False) -> Any:
    """The openvino.Model in integers of 8 bits; their ranges are those that the batches bring."""
    nncf = import_nncf()
    from openvino.passes import ConstantFolding, Manager

    folding = Manager()  # a kernel computed from halves must be one again
    folding.register_pass(ConstantFolding())
    folding.run_passes(network)
    # It shows its progress on standard output, where answers belong.
    with redirect_stdout(sys.stderr if verbose and sys.stderr.isatty() else io.StringIO()):
        return nncf.quantize(
            network,
            nncf.Dataset(batches),
            preset=nncf.QuantizationPreset.MIXED,
            subset_size=len(batches),
            fast_bias_correction=False,  # as soon done, and 99 instead of 97 % of answers agree
        )


def compile_single(network: Any, cores: int = 0, engine: str = "openvino") -> Compiled:
    """What an openvino.Model of one input answers, output by output; threads may call at once.

    All cores work on each batch, or so many: a small network waits for others longer than it works.
    """
    settings = {"PERFORMANCE_HINT": "LATENCY", **_precision_hint(engine)}
    if cores:
        settings["INFERENCE_NUM_THREADS"] = str(cores)
    runnable = _compile(network, settings)
    idle: list[Any] = []

    def forward(batch: Floats) -> list[Floats]:
        try:
            request = idle.pop()  # one serves a single caller at a time
        except IndexError:
            request = runnable.create_infer_request()
        answers = request.infer([batch], share_inputs=True)
        copies = [np.array(answer) for answer in answers.values()]
        idle.append(request)
        return copies

    return forward


def compile_throughput(network: Any, engine: str = "openvino") -> Compiled:
    """The same for large batches: each core works by itself on rows of its own.

    None waits for the others after each layer, as they do where they share one batch.
    """
    openvino = import_openvino()
    settings = {"PERFORMANCE_HINT": "THROUGHPUT", **_precision_hint(engine)}
    requests = openvino.AsyncInferQueue(_compile(network, settings))
    turn = threading.Lock()

    def keep(request: Any, place: tuple[dict[int, list[Floats]], int]) -> None:
        answers, start = place  # of its own call: one that was stopped may have left others running
        answers[start] = [np.array(tensor.data) for tensor in request.output_tensors]

    requests.set_callback(keep)

    def forward(batch: Floats) -> list[Floats]:
        rows = max(1, min(_AT_ONCE, len(batch) // len(requests)))
        answers: dict[int, list[Floats]] = {}
        with turn:
            for start in range(0, len(batch), rows):
                part = batch[start : start + rows]
                requests.start_async([part], (answers, start), share_inputs=True)
            requests.wait_all()
        parts = [answers[start] for start in sorted(answers)]
        return [np.concatenate(part) for part in zip(*parts, strict=True)]

    return forward


@contextmanager
def one_blas_thread_per_worker() -> Iterator[None]:
    """Inside `with`, each thread has one core for its products, and OpenVINO may make them."""
    from threadpoolctl import threadpool_limits

    with threadpool_limits(1, "blas"):
        _side_by_side.append(None)
        try:
            yield
        finally:
            _side_by_side.pop()


def matmul_transposed(a: Floats, b: Floats) -> Floats:
    """(n, m): the inner product of each row of `a` with each of `b`.

    Large ones inside `one_blas_thread_per_worker` are computed by OpenVINO where it is installed.
    NumPy's own wheels take twice as long on
    processors that their BLAS does not know, such as AMD's with bfloat16.
    """
    rows, columns = _TILE
    fits = len(a) >= rows and len(b) >= columns and len(a) * b.size >= _LARGE
    if not (fits and _side_by_side and os.getpid() == _PROCESS and _multiplies()):
        return np.asarray(a @ b.T)
    # All of one shape, as OpenVINO keeps what it has made ready for each. The last ones overlap.
    values = np.empty((len(a), len(b)), np.float32)
    request = _products().create_infer_request()
    a, b = (np.require(one, np.float32, ["C", "W"]) for one in (a, b))
    for i in (min(i, len(a) - rows) for i in range(0, len(a), rows)):
        for j in (min(j, len(b) - columns) for j in range(0, len(b), columns)):
            request.infer([a[i : i + rows], b[j : j + columns]], share_inputs=True)
            values[i : i + rows, j : j + columns] = request.get_output_tensor().data
    return values


def _multiplies() -> bool:
    """Whether OpenVINO may multiply here, and is at its best.

    A Mac's NumPy has units that it does not use. scikit-learn-intelex cannot be loaded after it.
    """
    here = platform.machine().lower() in ("x86_64", "amd64")
    intel = "sklearnex" in sys.modules or importlib.util.find_spec("sklearnex") is None
    if not (here and intel and importlib.util.find_spec("openvino")):
        return False
    try:
        _products()
    except (ImportError, RuntimeError):  # an OpenVINO that does not work here: NumPy does
        return False
    return True


@cache
def _products() -> Any:
    openvino = import_openvino()
    from openvino import opset13 as ops

    given = [ops.parameter([rows, -1], np.float32) for rows in _TILE]
    network = openvino.Model([ops.matmul(*given, False, True)], given, "product")
    cores = {"NUM_STREAMS": os.cpu_count() or 1, "INFERENCE_NUM_THREADS": os.cpu_count() or 1}
    return _compile(network, {**cores, **_precision_hint("openvino")})


def _compile(network: Any, settings: dict[str, Any]) -> Any:
    """A compiled network that several threads may ask at once.

    OpenVINO makes ready for NumPy's arrays when it meets the first one. Two threads that both bring
    the first wait for each other for ever, so one brings it here.
    """
    openvino = import_openvino()
    if _threads:
        settings = {"INFERENCE_NUM_THREADS": str(_threads[-1]), **settings}
    with _FIRST_ARRAY:
        openvino.Tensor(np.zeros(1, np.float32)).data.sum()
    return openvino.Core().compile_model(network, "CPU", settings)


def _precision_hint(engine: str) -> dict[str, str]:
    return {"INFERENCE_PRECISION_HINT": "bf16" if engine == "openvino-bf16" else "f32"}


@cache
def _has_bfloat16() -> bool:
    capabilities = import_openvino().Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    return "BF16" in capabilities
