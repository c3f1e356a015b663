"""Compare the models that ship with the package `fer`, on the same faces in one run.

    python -m benchmarks.peers fer2013.zip ferplus.csv photos.zip --fer-python /venv/bin/python

Scored on PublicTest, under FER2013's own labels and under the majority of FER+ (eight classes; a
label that a model cannot predict counts as an error), and on the half of the photos that chose no
setting. All models get the same crops of the photos, found by mtcnn; a photo without a face counts
as an error. Latency is the median of one face at a time, the models in turns, five rounds. `fer`
runs in a process of its own, with the interpreter of an environment where it is installed.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.metrics import f1_score

from benchmarks.faces import Photos
from benchmarks.machine import machine
from benchmarks.make_models import MODELS
from benchmarks.make_network import LABEL_SETS, faces_and_targets
from ferembed import EXPRESSIONS, Pipeline, datasets
from ferembed.backbones import BACKBONES
from ferembed.faces import FaceRecipe
from ferembed.labels import EIGHT_EXPRESSIONS
from ferembed.storage.files import atomic_write
from ferembed.storage.folders import models_folder

RESULTS = Path(__file__).parent / "results" / "peers.json"
ROUNDS, TIMED = 5, 40
FER_BYTES = 872_856  # emotion_model.hdf5 of fer 25.10.3
FER_PARAMETERS = 58_423
Predict = Callable[[list[np.ndarray]], np.ndarray]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("data", help="FER2013 as a zip of class folders, or its CSV")
    parser.add_argument("votes", type=Path, help="ferplus.csv")
    parser.add_argument("photos", help="a zip of labelled photos, as faces.py takes it")
    parser.add_argument("--fer-python", required=True, help="an interpreter that imports fer")
    options = parser.parse_args()
    pixels, targets = faces_and_targets(
        datasets.open(options.data).split("validation"), options.votes, training=False
    )
    faces = [np.repeat(face[:, :, None], 3, axis=2) for face in pixels]
    photos = Photos.read(options.photos)
    found = [FaceRecipe.resolve("mtcnn")(photos.pixels[i]) for i in reporting(photos)]
    crops = [each[0][1] for each in found if each]
    seen = np.array([bool(each) for each in found])
    photo_labels = photos.labels[reporting(photos)]
    fer = Fer(options.fer_python)
    models: dict[str, Predict] = {name: ours(name) for name in MODELS} | {"fer": fer.predict}
    rows = {}
    for name, predict in models.items():
        predicted = predict(faces)
        on_photos = np.full(len(seen), "no face", dtype="<U16")
        on_photos[seen] = predict(crops)
        rows[name] = {
            **facts(name),
            "fer2013": share(predicted, targets[:, LABEL_SETS[0] :], EXPRESSIONS),
            "ferplus": share(predicted, targets[:, : LABEL_SETS[0]], EIGHT_EXPRESSIONS),
            "photos": float((on_photos == photo_labels).mean()),
            "photos_macro_f1": float(
                f1_score(photo_labels, on_photos, labels=EXPRESSIONS, average="macro")
            ),
        }
        print(name, rows[name], flush=True)
    seconds: dict[str, list[float]] = {name: [] for name in models}
    for _ in range(ROUNDS):
        for name, predict in models.items():
            if name == "fer":
                seconds[name].append(fer.seconds(crops[:TIMED]))
            else:
                seconds[name].append(statistics.median(timed(predict, crops[:TIMED])))
    for name, row in rows.items():
        row["milliseconds"] = 1000 * statistics.median(seconds[name])
    result = {
        "made_by": "benchmarks/peers.py",
        "scored_on": f"PublicTest: {len(faces):,} faces under FER2013's labels, "
        f"{int(targets[:, : LABEL_SETS[0]].any(axis=1).sum()):,} under FER+ majority; "
        f"{len(photo_labels):,} photos. One run, no test-time augmentation",
        "machine": machine(),
        "rows": rows,
    }
    with atomic_write(RESULTS) as unfinished:
        unfinished.write_text(json.dumps(result, indent=1) + "\n")


def reporting(photos: Photos) -> np.ndarray:
    return np.flatnonzero(~photos.choosing)


def share(predicted: np.ndarray, targets: np.ndarray, classes: tuple[str, ...]) -> float:
    """The accuracy over the faces that have a label."""
    labelled = targets.any(axis=1)
    labels = np.array(classes)[targets[labelled].argmax(axis=1)]
    return float((predicted[labelled] == labels).mean())


def ours(name: str) -> Predict:
    return Pipeline.load(name, store="none").predict


def timed(predict: Predict, faces: list[np.ndarray]) -> list[float]:
    seconds = []
    for face in faces:
        started = time.perf_counter()
        predict([face])
        seconds.append(time.perf_counter() - started)
    return seconds


def facts(name: str) -> dict[str, Any]:
    """The size of a model."""
    if name == "fer":
        return {"parameters": FER_PARAMETERS, "megabytes": FER_BYTES / 1e6}
    specs = [BACKBONES[network] for network in MODELS[name].networks]
    head = sum(file.stat().st_size for file in (models_folder() / name).iterdir())
    networks = sum(spec.onnx.path().stat().st_size for spec in specs if spec.onnx)
    return {
        "parameters": sum(spec.parameters for spec in specs),
        "megabytes": (head + networks) / 1e6,
    }


class Fer:
    """The package `fer` in a process of its own."""

    def __init__(self, python: str) -> None:
        self.folder = tempfile.TemporaryDirectory()
        self.process = subprocess.Popen(
            [python, str(Path(__file__).with_name("peers_fer.py"))],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def _ask(self, faces: list[np.ndarray]) -> tuple[np.ndarray, float]:
        path = Path(self.folder.name) / "faces.npz"
        arrays: dict[str, Any] = {f"face{i:06}": face for i, face in enumerate(faces)}
        np.savez(path, **arrays)
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(f"{path}\n")
        self.process.stdin.flush()
        seconds = float(self.process.stdout.readline())
        return np.load(f"{path}.labels.npy"), seconds

    def predict(self, faces: list[np.ndarray]) -> np.ndarray:
        return self._ask(faces)[0]

    def seconds(self, faces: list[np.ndarray]) -> float:
        """The median of one face."""
        return self._ask(faces)[1]


if __name__ == "__main__":
    main()
