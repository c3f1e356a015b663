"""Quantize the networks that ship, and record what reduced precision costs.

    python -m benchmarks.precision fer2013.zip ferplus.csv [NETWORK ...]

Run it again after the weights of a network have changed: until then its record does not count, and
the engine "auto" runs it in full precision.

A network is calibrated on faces of the training split, and written in INT8 beside its weights. On
PublicTest each precision is compared with full precision: the share of faces with the same label,
and the accuracy, under the labels of FER+ and under FER2013's own. The worse of the two counts.
INT8 ships if it loses at most LOST points. The record is models/backbones/precision.json.
"""

from __future__ import annotations

import argparse
import json
import shutil
from dataclasses import asdict
from pathlib import Path

import numpy as np

from benchmarks.make_network import RECIPES, columns, faces_and_targets
from ferembed import datasets
from ferembed.backbones import BACKBONES, LoadRequest, load_backbone
from ferembed.backbones.convert import save_quantized
from ferembed.backbones.network import openvino_forward
from ferembed.backbones.precision import RECORDS, Precision
from ferembed.backbones.spec import NETWORK
from ferembed.storage.folders import models_folder
from ferembed.storage.weights import sha256_of

CALIBRATION = 1000  # faces
LOST = 0.3  # points of accuracy that an INT8 network that ships may lose
FOLDER = models_folder() / "backbones"


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("data", help="FER2013 as a zip of class folders, or its CSV")
    parser.add_argument("votes", type=Path, help="ferplus.csv")
    parser.add_argument("networks", nargs="*", metavar="NETWORK", help=", ".join(RECIPES))
    options = parser.parse_args()
    data = datasets.open(options.data)
    training, _ = faces_and_targets(data.split("train"), options.votes, training=True)
    chosen = np.random.default_rng(0).choice(len(training), CALIBRATION, replace=False)
    validation = faces_and_targets(data.split("validation"), options.votes, training=False)
    path = FOLDER / RECORDS
    records = json.loads(path.read_text()) if path.exists() else {}
    for name in options.networks or RECIPES:
        record = measured(name, training[chosen], *validation)
        records[name] = asdict(record)
        path.write_text(json.dumps(records, indent=1) + "\n")
        print(name, record)


def measured(
    name: str, calibration: np.ndarray, faces: np.ndarray, targets: np.ndarray
) -> Precision:
    """The record of a network, whose INT8 version is written if it is accurate enough."""
    spec = BACKBONES[name]
    assert spec.onnx is not None
    assert spec.classifier is not None
    exact, batch = logits(name, "openvino", faces), spec.preprocess(colour(faces))
    found = {"openvino-bf16": logits(name, "openvino-bf16", faces)}
    unfinished = FOLDER / f"{name}-int8"
    inputs = [spec.preprocess([face]) for face in colour(calibration)]
    save_quantized(spec.onnx.path(), inputs, unfinished)
    quantized = openvino_forward(unfinished / NETWORK, spec.classifier, "openvino-int8")
    found["openvino-int8"] = np.concatenate(
        [quantized(batch[start : start + 256]) for start in range(0, len(batch), 256)]
    )
    compared = {engine: comparison(exact, some, targets) for engine, some in found.items()}
    int8 = {}
    for suffix in (".xml", ".bin"):
        kept = FOLDER / f"{name}-int8{suffix}"
        kept.unlink(missing_ok=True)
        if compared["openvino-int8"][1] <= LOST:
            (unfinished / NETWORK).with_suffix(suffix).rename(kept)
            int8[kept.name] = sha256_of(kept)
    shutil.rmtree(unfinished)
    return Precision(
        onnx=spec.onnx.sha256,
        agreement={engine: agreement for engine, (agreement, _) in compared.items()},
        points_lost={engine: lost for engine, (_, lost) in compared.items()},
        int8=int8,
    )


def logits(name: str, engine: str, faces: np.ndarray) -> np.ndarray:
    request = LoadRequest(name, BACKBONES[name].classifier, engine=engine)
    return load_backbone(request).embed(colour(faces))


def colour(faces: np.ndarray) -> list[np.ndarray]:
    return [np.repeat(face[:, :, None], 3, axis=2) for face in faces]


def comparison(exact: np.ndarray, other: np.ndarray, targets: np.ndarray) -> tuple[float, float]:
    """The lowest agreement of the label sets, and the most points of accuracy lost in one."""
    agreements, losses = [], []
    for part in columns():
        before, after = (some[:, part].argmax(axis=1) for some in (exact, other))
        agreements.append(float((before == after).mean()))
        labelled = targets[:, part].any(axis=1)
        truth = targets[labelled, part].argmax(axis=1)
        right = [(labels[labelled] == truth).mean() for labels in (before, after)]
        losses.append(100 * float(right[0] - right[1]))
    return min(agreements), max(losses)


if __name__ == "__main__":
    main()
