"""Measure cold starts of the command line: medians of whole processes.

    python -m benchmarks.start

Beside `ferembed predict` runs the same answer by way of Keras, in the same round: a script that
has Keras run the network, which imports TensorFlow.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from benchmarks.machine import machine_text
from ferembed.media.demo import photo

ROUNDS = 7
RESULTS = Path(__file__).parent / "results" / "start.json"
KERAS = """
import sys
from ferembed import Pipeline
print(Pipeline.load("default", engine="keras", store="none").analyze(sys.argv[1])[0].label)
"""
COMMANDS = {
    "python -c pass": ["-c", "pass"],
    "import ferembed": ["-c", "import ferembed"],
    "ferembed --help": ["-m", "ferembed.cli", "--help"],
    "ferembed predict photo.jpg": ["-m", "ferembed.cli", "predict", str(photo())],
    "the same through Keras": ["-c", KERAS, str(photo())],
}


def main() -> None:
    seconds: dict[str, list[float]] = {name: [] for name in COMMANDS}
    for _ in range(ROUNDS):
        for name, arguments in COMMANDS.items():
            started = time.perf_counter()
            subprocess.run([sys.executable, *arguments], check=True, capture_output=True)
            seconds[name].append(time.perf_counter() - started)
    result: dict[str, Any] = {
        "made_by": "benchmarks/start.py",
        "machine": machine_text(),
        "rounds": ROUNDS,
        "median_seconds": {name: round(statistics.median(s), 3) for name, s in seconds.items()},
        "range_seconds": {
            name: [round(min(s), 3), round(max(s), 3)] for name, s in seconds.items()
        },
    }
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps(result, indent=1) + "\n")
    for name, median in result["median_seconds"].items():
        print(f"{name:40} {median:.3f} s")


if __name__ == "__main__":
    main()
