"""The machine that figures are from: what it is, and what it can do at best."""

from __future__ import annotations

import os
import platform
import statistics
import time
from collections.abc import Callable
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np

PACKAGES = (
    "ferembed", "numpy", "scikit-learn", "scikit-learn-intelex", "openvino", "nncf", "tensorflow",
    "keras", "mtcnn", "opencv-python", "skops",
)  # fmt: skip
SETS = (
    "avx2", "avx512f", "avx512_vnni", "avx512_bf16", "avx512_fp16", "avx_vnni", "amx_tile",
    "amx_bf16", "amx_int8",
)  # fmt: skip
MATRIX = 2048  # rows and columns
PRODUCTS = 16  # at a time
FILE = 256 << 20  # bytes


def rounds(*actions: Callable[[], object], times: int = 5, warm: int = 1) -> list[list[float]]:
    """The seconds of each action in each round. In a round each of them is called once."""
    seconds: list[list[float]] = [[] for _ in actions]
    for i in range(warm + times):
        for action, taken in zip(actions, seconds, strict=True):
            started = time.perf_counter()
            action()
            if i >= warm:
                taken.append(time.perf_counter() - started)
    return seconds


@cache
def matrix_products(precision: str) -> Callable[[], object]:
    """Something to call that makes so many products of two matrices, as fast as can be.

    By oneDNN, which OpenVINO carries, in "float32" or "bfloat16". Each core makes its own: where
    they share one, each waits for those that the machine keeps busy with other things.
    """
    import openvino
    from openvino import opset13 as ops

    a = np.random.default_rng(0).random((MATRIX, MATRIX), np.float32)
    given = ops.parameter([MATRIX, MATRIX], np.float32)
    network = openvino.Model([ops.matmul(given, ops.constant(a), False, False)], [given], "product")
    hint = {"float32": "f32", "bfloat16": "bf16"}[precision]
    settings = {"INFERENCE_PRECISION_HINT": hint, "PERFORMANCE_HINT": "THROUGHPUT"}
    requests = openvino.AsyncInferQueue(openvino.Core().compile_model(network, "CPU", settings))

    def multiply() -> None:
        for _ in range(PRODUCTS):
            requests.start_async([a], share_inputs=True)
        requests.wait_all()

    return multiply


def gigaflops(seconds: float) -> float:
    """The rate of one call of `matrix_products`."""
    return PRODUCTS * 2 * MATRIX**3 / seconds / 1e9


def machine() -> dict[str, Any]:
    """The machine and its software: rows measured on another are not kept beside this one's."""
    cpu, flags = platform.processor() or platform.machine(), set[str]()
    info = Path("/proc/cpuinfo")
    if info.exists():
        pairs = (line.partition(":") for line in info.read_text().splitlines())
        lines = {name.strip(): value.strip() for name, _, value in pairs}
        cpu, flags = lines.get("model name", cpu), set(lines.get("flags", "").split())
        cpu += f" (family {lines.get('cpu family')}, model {lines.get('model')})"
    versions = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            continue
    return {
        "cpu": cpu,
        "cores": os.cpu_count(),
        "instruction_sets": [name for name in SETS if name in flags],
        "versions": versions,
    }


def machine_text() -> str:
    """The same in a few words."""
    here = machine()
    return f"{here['cores']} cores of {here['cpu']}, Python {here['versions']['python']}"


def limits(scratch: Path) -> dict[str, float]:
    """The measured limits of this machine: matrix products, and reading a file."""
    float32, bfloat16 = map(
        statistics.median,
        rounds(matrix_products("float32"), matrix_products("bfloat16"), times=7),
    )
    path = scratch / "file"
    path.write_bytes(os.urandom(1 << 20) * (FILE >> 20))
    with path.open("rb") as file:
        os.fsync(file.fileno())

    def from_disk() -> None:
        with path.open("rb", buffering=0) as file:
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
            _read(file)

    def from_page_cache() -> None:
        with path.open("rb", buffering=0) as file:
            _read(file)

    disk, page_cache = rounds(from_disk, from_page_cache)
    path.unlink()
    return {
        "float32_gflops": gigaflops(float32),
        "bfloat16_gflops": gigaflops(bfloat16),
        "disk_read_mb_per_s": FILE / statistics.median(disk) / 1e6,
        "page_cache_read_mb_per_s": FILE / statistics.median(page_cache) / 1e6,
    }


def _read(file: Any) -> None:
    part = bytearray(1 << 20)
    while file.readinto(part):
        pass
