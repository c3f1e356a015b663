"""Train the reference networks at their authors' recipes and write the table of them all.

    python -m benchmarks.networks fer2013.zip WORK [NAME ...] [--runs 1]

Each run learns from FER2013's training split and is scored on PublicTest, which early stopping, in
recipes that have it, has seen. WORK keeps checkpoints: run again, a run goes on where it stopped,
and one that is in the results is not repeated.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.machine import machine_text
from ferembed import datasets
from ferembed.backbones import BACKBONES
from ferembed.training import RECIPES, train_backbone

RESULTS = Path(__file__).parent / "results" / "networks.json"
FOUR = ["angry", "happy", "sad", "neutral"]
REPORTED = {
    "bn-cnn": "65.34 % (test)",
    "plain-150": "50.93 % (test)",
    "cnn-5": "79 % (their own merged set)",
    "vgg11 (four classes)": "60 to 62 % (validation, four classes)",
}
TIMED = 200  # faces, one at a time


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("data", help="FER2013 as a zip of class folders, or its CSV")
    parser.add_argument("work", type=Path, help="a folder for checkpoints")
    known = [*(name for name in RECIPES if name != "vgg11"), "vgg11 (four classes)"]
    parser.add_argument("names", nargs="*", default=known, metavar="NAME", help=", ".join(known))
    parser.add_argument("--runs", type=int, default=1)
    options = parser.parse_args()
    for name in options.names:
        for seed in range(options.runs):
            if seed in [run["seed"] for run in results().get(name, {}).get("runs", [])]:
                continue
            facts, run = train_and_score(name, seed, options.data, options.work)
            rows = results()  # read anew: another process may have added to them meanwhile
            runs = [*rows.get(name, {}).get("runs", []), run]
            rows[name] = {**facts, "runs": runs}
            RESULTS.write_text(json.dumps(rows, indent=1) + "\n")
            scores = [run["accuracy"] for run in runs]
            print(name, f"mean {statistics.mean(scores):.2%} of {len(scores)}", flush=True)


def results() -> dict[str, Any]:
    return json.loads(RESULTS.read_text()) if RESULTS.exists() else {}


def train_and_score(
    name: str, seed: int, source: str, work: Path
) -> tuple[dict[str, Any], dict[str, Any]]:
    backbone = name.partition(" ")[0]
    data = datasets.open(source, classes=FOUR if "four" in name else None)
    chosen = replace(RECIPES[backbone], seed=seed)
    folder = work / f"{name.replace(' ', '-')}-{seed}"
    pipeline = train_backbone(
        data,
        backbone,
        folder,
        chosen,
        on_epoch=lambda row: print(name, {k: round(v, 4) for k, v in row.items()}, flush=True),
    ).pipeline
    recipe = {**asdict(chosen), "seed": "as each run says"}
    epochs = json.loads((folder / "history.json").read_text())["epochs"]
    unseen = data.split("validation")
    pipeline.set_params(store="none")
    report, _ = pipeline.evaluate(unseen.images, unseen.labels)
    faces = [unseen.images[i] for i in range(TIMED)]
    pipeline.predict(faces[:1])
    milliseconds = []
    for face in faces:
        started = time.perf_counter()
        pipeline.predict([face])
        milliseconds.append((time.perf_counter() - started) * 1000)
    spec = BACKBONES[backbone]
    assert spec.build is not None
    network = spec.build(len(data.classes))
    facts = {
        "parameters": network.count_params(),
        "megaflops": 2 * multiplications(network) / 1e6,
        "reported": REPORTED.get(name, ""),
        "recipe": recipe,
        "trained_on": f"FER2013 training split, {len(data.split('train')):,} faces",
        "scored_on": f"FER2013 PublicTest, {len(unseen):,} faces, no test-time augmentation",
        "machine": machine_text(),
    }
    run = {
        "seed": seed,
        "accuracy": report.accuracy,
        "macro_f1": report.macro_f1,
        "training_accuracy": epochs[-1]["accuracy"],
        "epochs": len(epochs),
        "minutes": minutes(epochs),
        "milliseconds_per_face": statistics.median(milliseconds),
    }
    return facts, run


def minutes(epochs: list[dict[str, Any]]) -> float:
    """The time of training; epochs that other work held up count as the median one."""
    seconds = [row["seconds"] for row in epochs]
    usual = statistics.median(seconds)
    return sum(usual if one > 1.5 * usual else one for one in seconds) / 60


def multiplications(model: Any) -> int:
    """Multiply-and-adds of the convolutions and dense layers for one face."""
    total = 0
    for layer in model.layers:
        kernel = next((w for w in layer.weights if w.path.endswith("kernel")), None)
        if kernel is not None:
            positions = np.prod(layer.output.shape[1:-1], dtype=int)
            total += int(positions * np.prod(kernel.shape, dtype=int))
    return total


if __name__ == "__main__":
    main()
