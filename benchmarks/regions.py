"""Train `regions` and heads on `distances`, and score both: benchmarks/results/regions.json.

    python -m benchmarks.regions fer2013.zip WORK

They learn from FER2013's training split and are scored on PublicTest. WORK keeps the checkpoint and
the vectors: run again, it goes on where it stopped.
"""

from __future__ import annotations

import argparse
import json
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.base import clone
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from benchmarks.machine import machine_text
from ferembed import Pipeline, ProgressBar, datasets
from ferembed.backbones.landmarks import MESH
from ferembed.backbones.regions import DISTANCES
from ferembed.heads import HEADS
from ferembed.report import Report
from ferembed.training import RECIPES, train_backbone

RESULTS = Path(__file__).parent / "results" / "regions.json"
KNOWN = ("svm", "forest", "softmax")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("data", help="FER2013 as a zip of class folders, or its CSV")
    parser.add_argument("work", type=Path, help="a folder for the checkpoint and the vectors")
    options = parser.parse_args()
    options.work.mkdir(parents=True, exist_ok=True)
    data = datasets.open(options.data)
    training, unseen = data.split("train"), data.split("validation")
    store = options.work / "vectors.sqlite"
    measuring = Pipeline("distances", "softmax", store=store, progress=ProgressBar())
    started = time.process_time()
    parts = [measuring.embedder.embed(part.images) for part in (training, unseen)]
    seconds = time.process_time() - started
    result: dict[str, Any] = {
        "made_by": "benchmarks/regions.py",
        "machine": machine_text(),
        "trained_on": f"FER2013 training split, {len(training):,} faces",
        "scored_on": f"FER2013 PublicTest, {len(unseen):,} faces, one run",
        "landmarks": {
            "file": MESH.file,
            "licence": MESH.licence,
            "trained_on": MESH.trained_on,
            "found_in_training_split": found(parts[0].vectors),
            "found_in_publictest": found(parts[1].vectors),
        },
        "medians": dict(zip(DISTANCES, medians(parts[0].vectors), strict=True)),
        "distances": {},
    }
    if computed := sum(part.computed for part in parts):
        result["landmarks"]["cpu_milliseconds_per_face"] = round(1000 * seconds / computed, 2)
    elif RESULTS.exists():  # the vectors came out of the store: it was timed before
        timed = json.loads(RESULTS.read_text())["landmarks"].get("cpu_milliseconds_per_face")
        result["landmarks"]["cpu_milliseconds_per_face"] = timed
    labels = [np.asarray(part.labels) for part in (training, unseen)]
    for name in KNOWN:
        head = make_pipeline(StandardScaler(), clone(HEADS[name].make()))
        head.fit(parts[0].vectors, labels[0])
        shares = head.predict_proba(parts[1].vectors)
        result["distances"][name] = scores(
            Report.from_predictions(labels[1], shares, head.classes_)
        )
        print(name, result["distances"][name], flush=True)
    pipeline = train_backbone(
        data, "regions", options.work / "regions",
        on_epoch=lambda row: print({k: round(v, 4) for k, v in row.items()}, flush=True),
    ).pipeline  # fmt: skip
    pipeline.set_params(store=store)
    report, _ = pipeline.evaluate(unseen.images, unseen.labels)
    history = json.loads((options.work / "regions" / "history.json").read_text())["epochs"]
    result["regions"] = {
        **scores(report),
        "reported": "90.8 % on 1,167 validation images of posed faces",
        "recipe": asdict(RECIPES["regions"]),
        "minutes": round(sum(row["seconds"] for row in history) / 60),
        "epochs": history,
    }
    print("regions", scores(report))
    RESULTS.write_text(json.dumps(result, indent=1) + "\n")


def found(distances: np.ndarray[Any, Any]) -> float:
    """The share of faces whose landmarks were found."""
    return round(float(distances.any(axis=1).mean()), 4)


def medians(distances: np.ndarray[Any, Any]) -> list[float]:
    """Of each distance, over the faces whose landmarks were found."""
    there = distances[distances.any(axis=1)]
    return [round(float(value), 3) for value in np.median(there, axis=0)]


def scores(report: Report) -> dict[str, float]:
    return {"accuracy": round(report.accuracy, 4), "macro_f1": round(report.macro_f1, 4)}


if __name__ == "__main__":
    main()
