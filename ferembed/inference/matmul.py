"""Large matrix products, by OpenVINO where it is faster than NumPy."""

from __future__ import annotations

import importlib.util
import os
import platform
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

import numpy as np

from ferembed._threads import thread_count
from ferembed.inference.openvino import Floats, compile_model, import_openvino, precision_hint

_LARGE = 1 << 29  # multiplications in a product that takes NumPy some milliseconds
_TILE = 256, 1024  # rows of both sides that are multiplied at a time
_active: list[None] = []  # one entry for each active `one_blas_thread_per_worker`
_PROCESS = os.getpid()


@contextmanager
def one_blas_thread_per_worker() -> Iterator[None]:
    """Limit BLAS to one thread per caller inside `with`, and allow OpenVINO for large products."""
    from threadpoolctl import threadpool_limits

    with threadpool_limits(1, "blas"):
        _active.append(None)
        try:
            yield
        finally:
            _active.pop()


def matmul_transposed(a: Floats, b: Floats) -> Floats:
    """(n, m): the inner product of each row of `a` with each of `b`.

    Large ones inside `one_blas_thread_per_worker` are computed by OpenVINO where it is installed.
    NumPy's own wheels take twice as long on processors that their BLAS does not know, such as
    AMD's with bfloat16.
    """
    rows, columns = _TILE
    fits = len(a) >= rows and len(b) >= columns and len(a) * b.size >= _LARGE
    if not (fits and _active and os.getpid() == _PROCESS and _openvino_is_usable()):
        return np.asarray(a @ b.T)
    # All tiles have one shape, for which OpenVINO compiles once. The last tiles overlap.
    values = np.empty((len(a), len(b)), np.float32)
    request = _compiled_tile().create_infer_request()
    a, b = (np.require(one, np.float32, ["C", "W"]) for one in (a, b))
    for i in (min(i, len(a) - rows) for i in range(0, len(a), rows)):
        for j in (min(j, len(b) - columns) for j in range(0, len(b), columns)):
            request.infer([a[i : i + rows], b[j : j + columns]], share_inputs=True)
            values[i : i + rows, j : j + columns] = request.get_output_tensor().data
    return values


def _openvino_is_usable() -> bool:
    """True if OpenVINO works here and is faster than NumPy.

    On a Mac, NumPy uses matrix units that OpenVINO does not. scikit-learn-intelex cannot be loaded
    after OpenVINO.
    """
    here = platform.machine().lower() in ("x86_64", "amd64")
    intel = "sklearnex" in sys.modules or importlib.util.find_spec("sklearnex") is None
    if not (here and intel and importlib.util.find_spec("openvino")):
        return False
    try:
        _compiled_tile()
    except (ImportError, RuntimeError):  # OpenVINO does not work on this machine
        return False
    return True


@cache
def _compiled_tile() -> Any:
    openvino = import_openvino()
    from openvino import opset13 as ops

    given = [ops.parameter([rows, -1], np.float32) for rows in _TILE]
    network = openvino.Model([ops.matmul(*given, False, True)], given, "product")
    cores = {"NUM_STREAMS": thread_count(), "INFERENCE_NUM_THREADS": thread_count()}
    return compile_model(network, {**cores, **precision_hint("openvino")})
