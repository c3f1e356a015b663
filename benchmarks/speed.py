"""Time what takes time, side by side with what it replaces, and keep the figures.

    python -m benchmarks.speed [ROW ...] --data fer2013.zip       (all of them: make bench DATA=...)

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
import json
import tempfile
from pathlib import Path
from typing import Any

from benchmarks import speed_heads, speed_vectors  # noqa: F401  (each adds its rows)
from benchmarks.machine import limits, machine
from benchmarks.rows import ROWS, Bench

RESULTS = Path(__file__).parent / "results" / "speed.json"


def measured_before() -> dict[str, Any]:
    return json.loads(RESULTS.read_text()) if RESULTS.exists() else {}


def main() -> None:
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
    main()
