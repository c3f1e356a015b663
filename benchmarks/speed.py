"""Time what takes time, side by side with what it replaces, and keep the figures.

    python -m benchmarks.speed --data fer2013.zip             (make bench DATA=fer2013.zip)
    python -m benchmarks.speed --data fer2013.zip --quick     some rows, three rounds, not kept
    python -m benchmarks.speed --data fer2013.zip --all       those that take minutes, too
    python -m benchmarks.speed ROW ... --data fer2013.zip

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
`seconds` the median of ours; what else a goal names must be among the facts. Ratios differ between
CPUs by half, so the results of each CPU are in a separate file, results/speed/CPU.json. Each row is
saved after it is measured; rows that are not requested are kept.
"""

from __future__ import annotations

import argparse
import json
import re
import tempfile
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks import speed_heads, speed_vectors  # noqa: F401  (each adds its rows)
from benchmarks.machine import limits, machine, rounds
from benchmarks.rows import ROWS, Bench

RESULTS = Path(__file__).parent / "results" / "speed"
LONG = "svm-fit-all", "memory", "growth-svm", "growth-forest", "growth-bagged-svm", "growth-embed"
QUICK = (
    "svm-fit-512", "svm-predict-512", "knn-predict-512", "mini-vgg", "mini-vgg-bf16",
    "mini-vgg-int8", "one-face", "cold-predict", "mtcnn", "import",
)  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("rows", nargs="*", metavar="ROW", help=", ".join(ROWS))
    parser.add_argument("--data", type=Path, required=True, help="fer2013.zip")
    several = parser.add_mutually_exclusive_group()
    several.add_argument("--quick", action="store_true", help="some rows, which are not kept")
    several.add_argument("--all", action="store_true", help="those that take minutes, too")
    options = parser.parse_args()
    if unknown := [name for name in options.rows if name not in ROWS]:
        parser.error(f"no row is called {unknown[0]!r}; known: {', '.join(ROWS)}")
    if options.quick:
        for name in options.rows or QUICK:
            say(name, measured(name, options.data, times=3))
        return
    here = machine()
    file = RESULTS / f"{file_name(here)}.json"
    kept = measured_before(file)
    if options.rows and kept.get("machine") == here:
        now = kept["limits"]  # of the run that most of the rows are from
    else:
        with tempfile.TemporaryDirectory() as scratch:
            now = limits(Path(scratch))
    for name in options.rows or [name for name in ROWS if options.all or name not in LONG]:
        row = measured(name, options.data)
        # Read anew: another process may have measured other rows meanwhile.
        results = measured_before(file)
        rows = results["rows"] if results.get("machine") == here else {}
        rows[name] = row
        ordered = {one: rows[one] for one in ROWS if one in rows}
        results = {"machine": here, "limits": now, "rows": ordered}
        RESULTS.mkdir(exist_ok=True)
        file.write_text(json.dumps(results, indent=1) + "\n")
        say(name, row)


def measured_before(file: Path) -> dict[str, Any]:
    return json.loads(file.read_text()) if file.exists() else {}


def file_name(here: dict[str, Any]) -> str:
    """The name of the file of a machine, by its CPU."""
    return re.sub(r"[^a-z0-9]+", "-", f"{here['cpu']} {here['cores']} cores".lower()).strip("-")


def measured(name: str, data: Path, times: int = 5) -> dict[str, Any]:
    """The facts of a row."""
    with tempfile.TemporaryDirectory() as scratch:
        bench = Bench(data, Path(scratch), partial(rounds, times=times))
        return ROWS[name](bench).to_dict()


def say(name: str, row: dict[str, Any]) -> None:
    ratio = f"{row['ratio']:.2f}x, " if "ratio" in row else ""
    print(f"{name}: {ratio}{row['seconds']:.4g} s", row["goals"], flush=True)


if __name__ == "__main__":
    main()
