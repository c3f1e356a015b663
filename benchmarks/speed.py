"""Time what takes time, side by side with what it replaces, and keep the figures.

    python benchmarks/speed.py [ROW ...] --data fer2013.zip       (all of them: make bench DATA=...)

Rows are functions in speed_vectors.py (left of the seam) and speed_heads.py (right of it):

    @row("knn-predict")
    def knn_predict(bench: Bench) -> Row:
        ours, theirs = bench.rounds(lambda: fast.predict(x), lambda: slow.predict(x))
        return Row(
            what="predict 1,000 faces with the knn head",
            against="scikit-learn's KNeighborsClassifier",
            seconds_ours=ours,
            seconds_theirs=theirs,
            goals=["ratio >= 2", "difference <= 0.001"],
            facts={"difference": 0.0},
        )

`Bench.rounds` calls each of them in turn, once to warm up and then at least five times, so that
what else the machine does falls on all alike. `ratio` is the median of the rounds' ratios,
`seconds` the median of ours; what else a goal names must be among the facts. A row is written to
results/speed.json as soon as it is measured; those that are not asked for stay as they are.
"""

from __future__ import annotations

import argparse
import importlib
import json
import operator
import os
import platform
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cache, cached_property
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np

RESULTS = Path(__file__).parent / "results" / "speed.json"
MODULES = sorted(path.stem for path in Path(__file__).parent.glob("speed_*.py"))
PACKAGES = (
    "ferembed", "numpy", "scikit-learn", "scikit-learn-intelex", "openvino", "nncf", "tensorflow",
    "keras", "mtcnn", "opencv-python", "skops",
)  # fmt: skip
SETS = (
    "avx2", "avx512f", "avx512_vnni", "avx512_bf16", "avx512_fp16", "avx_vnni", "amx_tile",
    "amx_bf16", "amx_int8",
)  # fmt: skip
SIGNS = {">=": operator.ge, "<=": operator.le}
MATRIX = 2048  # rows and columns
PRODUCTS = 16  # at a time
FILE = 256 << 20  # bytes


@dataclass(frozen=True)
class Row:
    """What was measured. `seconds_theirs` is empty where there is nothing to compare with."""

    what: str
    against: str
    seconds_ours: Sequence[float]
    seconds_theirs: Sequence[float] = ()
    goals: Sequence[str] = ()  # "ratio >= 2.5", "seconds <= 0.002" or of any fact
    facts: dict[str, Any] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        values = {**self.facts, "seconds": statistics.median(self.seconds_ours)}
        if self.seconds_theirs:
            pairs = zip(self.seconds_theirs, self.seconds_ours, strict=True)
            values["ratio"] = statistics.median(theirs / ours for theirs, ours in pairs)
        reached = {}
        for goal in self.goals:
            name, sign, number = goal.split()
            reached[goal] = bool(SIGNS[sign](values[name], float(number)))
        return {
            "what": self.what,
            "against": self.against,
            **values,
            "goals": reached,
            "seconds_ours": list(self.seconds_ours),
            "seconds_theirs": list(self.seconds_theirs),
        }


ROWS: dict[str, Callable[[Bench], Row]] = {}


def row(name: str) -> Callable[[Callable[[Bench], Row]], Callable[[Bench], Row]]:
    """Register a function that measures a row under a name."""

    def register(measure: Callable[[Bench], Row]) -> Callable[[Bench], Row]:
        ROWS[name] = measure
        return measure

    return register


@dataclass(frozen=True)
class Bench:
    """What rows have in common: the data, a scratch folder, and how to time."""

    data: Path  # fer2013.zip
    scratch: Path  # empty at the start of a row, deleted after it

    @cached_property
    def faces(self) -> Any:
        """FER2013 as a `Dataset`, both splits."""
        from ferembed import datasets

        return datasets.open(str(self.data))

    @staticmethod
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
    """What decides the figures: rows of another machine are not kept beside this one's."""
    cpu, flags = platform.processor() or platform.machine(), set[str]()
    info = Path("/proc/cpuinfo")
    if info.exists():
        lines = dict(
            map(str.strip, line.split(":", 1)) for line in info.read_text().splitlines() if line
        )
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


def limits(scratch: Path) -> dict[str, float]:
    """What this machine can do at best, just now: matrix products, and reading a file."""
    float32, bfloat16 = map(
        statistics.median,
        Bench.rounds(matrix_products("float32"), matrix_products("bfloat16"), times=7),
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

    disk, page_cache = Bench.rounds(from_disk, from_page_cache)
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


def measured_before() -> dict[str, Any]:
    return json.loads(RESULTS.read_text()) if RESULTS.exists() else {}


def main() -> None:
    for module in MODULES:
        importlib.import_module(module)
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("rows", nargs="*", metavar="ROW", help=", ".join(ROWS))
    parser.add_argument("--data", type=Path, required=True, help="fer2013.zip")
    options = parser.parse_args()
    if unknown := [name for name in options.rows if name not in ROWS]:
        parser.error(f"no row is called {unknown[0]!r}; known: {', '.join(ROWS)}")
    here = machine()
    kept = measured_before()
    if options.rows and kept.get("machine") == here:
        now = kept["limits"]  # of the run that most of the rows are from
    else:
        with tempfile.TemporaryDirectory() as scratch:
            now = limits(Path(scratch))
    for name in options.rows or ROWS:
        with tempfile.TemporaryDirectory() as scratch:
            measured = ROWS[name](Bench(options.data, Path(scratch))).to_dict()
        # Read anew: another process may have measured other rows meanwhile.
        results = measured_before()
        rows = results["rows"] if results.get("machine") == here else {}
        rows[name] = measured
        ordered = {one: rows[one] for one in ROWS if one in rows}
        results = {"machine": here, "limits": now, "rows": ordered}
        RESULTS.write_text(json.dumps(results, indent=1) + "\n")
        ratio = f"{measured['ratio']:.2f}x, " if "ratio" in measured else ""
        print(f"{name}: {ratio}{measured['seconds']:.4g} s", measured["goals"], flush=True)


if __name__ == "__main__":
    # By its name: the modules of rows import this one, and it must be the same.
    sys.exit(importlib.import_module("speed").main())
