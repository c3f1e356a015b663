"""Measure the gain of votes, and the audit of labels: benchmarks/results/votes.json.

    python -m benchmarks.votes fer2013.zip STORE

ferplus.csv lies beside fer2013.zip. Everything is measured within the training split, on the
vectors of one backbone; STORE is the file that keeps them.

Heads are fitted on folds, once on the class that has the majority of a face's votes, and once on
the votes themselves, and each predicts the faces of the fold that it has not seen. Both are scored
on the same faces: those where FER+ has a majority. Faces without one have votes, and only the
second can use them; "votes of the same faces" leaves these out, so that both learn from the same.
Duplicates are in one fold.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.model_selection import StratifiedGroupKFold

from benchmarks.machine import machine_text
from ferembed import Embedder, ProgressBar, datasets
from ferembed.datasets.audit import Audit, audit
from ferembed.datasets.dataset import Dataset
from ferembed.heads import HEADS
from ferembed.heads.votes import fit_on_votes
from ferembed.report import Report

RESULTS = Path(__file__).parent / "results" / "votes.json"
KNOWN = ("svm", "forest", "knn", "softmax")
FIRST = 500  # of the most doubtful labels


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("data", type=Path, help="FER2013 as a zip of class folders, FER+ beside it")
    parser.add_argument("store", help="a file for the vectors")
    parser.add_argument("--backbone", default="mini-vgg")
    parser.add_argument("--faces", type=int, default=6000, help="how many faces the heads see")
    parser.add_argument("--folds", type=int, default=3)
    options = parser.parse_args()
    embedder = Embedder(options.backbone, store=options.store, progress=ProgressBar())
    own = datasets.open(options.data).split("train")
    vectors = embedder.transform(own.images)
    found = audit(own, vectors=vectors)
    voted, agreed = (
        datasets.open(options.data, votes=mode, expressions=8).split("train")
        for mode in ("probability", "majority")
    )
    result: dict[str, Any] = {
        "made_by": "benchmarks/votes.py",
        "machine": machine_text(),
        "backbone": options.backbone,
        "faces": "FER2013 training split and its FER+ votes; nothing else is looked at",
        "labels": labels_found(found, voted, agreed),
    }
    print(json.dumps(result["labels"], indent=1), flush=True)
    places = named(own)
    rows = np.array([places[name] for name in named(voted)])
    chosen = np.sort(np.random.default_rng(0).choice(len(rows), options.faces, replace=False))
    rows = rows[chosen]
    voted = voted.select(chosen)
    result["votes"] = compared(
        vectors[rows], voted, np.isin([*named(voted)], [*named(agreed)]), found.groups[rows],
        options.folds,
    )  # fmt: skip
    RESULTS.write_text(json.dumps(result, indent=1) + "\n")


def named(data: Dataset) -> dict[str, int]:
    """The position of each picture, by the name of its file."""
    return {data.images.name(i).rpartition("/")[2]: i for i in range(len(data))}


def labels_found(found: Audit, voted: Dataset, agreed: Dataset) -> dict[str, Any]:
    """Of the labels that the audit doubts most, how many FER+ says are wrong, and of all labels.

    Wrong is a label where another expression has the majority, or where no expression leads.
    """
    own = found.dataset
    places, clear = named(own), named(agreed)
    labels, leading = own.labels, voted.labels
    said = ["no votes, or none of the eight expressions leads (unknown, not a face)"] * len(own)
    for name, index in named(voted).items():
        same = leading[index] == labels[places[name]]
        strength = "has the majority" if name in clear else "leads without a majority"
        said[places[name]] = f"{'the same' if same else 'another'} expression {strength}"
    doubted = [one.pictures[0].index for one in found.findings if one.kind == "doubtful label"]
    return {
        "doubted": len(doubted),
        f"of_the_first_{FIRST}": counted([said[index] for index in doubted[:FIRST]]),
        "of_all_doubted": counted([said[index] for index in doubted]),
        "of_all_faces": counted(said),
    }


def counted(said: list[str]) -> dict[str, Any]:
    kinds = {kind: said.count(kind) for kind in sorted(set(said))}
    wrong = sum(n for kind, n in kinds.items() if kind.startswith(("another expression has", "no")))
    return {"faces": len(said), "wrong": wrong, "share_wrong": wrong / len(said), "kinds": kinds}


def compared(
    X: NDArray[np.float32],
    voted: Dataset,
    clear: NDArray[np.bool_],
    groups: NDArray[np.int64],
    count: int,
) -> dict[str, Any]:
    """Each head on majorities and on votes, scored on the faces of folds that are `clear`."""
    assert voted.votes is not None
    Y, leading = voted.votes, voted.labels
    deal = StratifiedGroupKFold(count, shuffle=True, random_state=0)
    folds = list(deal.split(X, leading, groups))
    found: dict[str, Any] = {
        "folds": count,
        "faces": len(X),
        "with_a_majority": int(clear.sum()),
        "heads": {},
    }
    for name in KNOWN:
        found["heads"][name] = {}
        for kind in ("majority", "votes of the same faces", "votes"):
            started = time.perf_counter()
            probabilities = np.zeros(Y.shape)
            for known, asked in folds:
                if kind != "votes":
                    known = known[clear[known]]
                head = HEADS[name].make()
                if kind == "majority":
                    head.fit(X[known], leading[known])
                else:
                    fit_on_votes(head, X[known], Y[known], voted.classes)
                columns = [voted.classes.index(label) for label in head.classes_]
                probabilities[np.ix_(asked, columns)] = head.predict_proba(X[asked])
            report = Report.from_predictions(leading[clear], probabilities[clear], voted.classes)
            likely = np.clip(probabilities, 1e-6, 1)
            found["heads"][name][kind] = {
                "accuracy": report.accuracy,
                "macro_f1": report.macro_f1,
                "calibration_error": report.calibration_error,
                "cross_entropy_with_votes": float(-(Y * np.log(likely)).sum(axis=1).mean()),
                "seconds": round(time.perf_counter() - started, 1),
            }
            print(name, kind, found["heads"][name][kind], flush=True)
    return found


if __name__ == "__main__":
    main()
