"""Fit and score every head on the vectors of a network, and save a model with its own last layer.

    python benchmarks/make_models.py fer2013.zip WORK --model fast | default | accurate

The heads learn from the training split alone; cross-validation within it sets their parameters, and
the validation split (PublicTest) scores them. A network is surer of faces that it has learned from
than of others, and a head learns that, too: each is fitted both on the vectors of the faces as they
are ("plain") and on those of an augmented copy of each ("augmented"). With photos of other people
(those that report in faces.py) it says how often each head agrees with their labels, too. WORK
keeps vectors and scores: run again, what was scored is not fitted again.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import time
from collections.abc import Callable
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import skops.io
from faces import Photos, score
from make_network import RECIPES, START, STRONG, TEACHERS, gray, in_order, stages_of
from sklearn.model_selection import GridSearchCV

from ferembed import EXPRESSIONS, Embedder, Pipeline, datasets
from ferembed.backbones import BACKBONES
from ferembed.datasets.audit import audit
from ferembed.faces import FaceRecipe
from ferembed.heads import HEADS
from ferembed.report import Report
from ferembed.storage.weights import models_folder

RESULTS = Path(__file__).parent / "results"
NETWORKS = {
    "fast": ["mini-vgg"],
    "default": ["fer-mobilenet"],
    "accurate": ["twin-vgg", "fer-mobilenet"],
}
SYMMETRIC = ("accurate",)  # by the mean of a face and its mirror image
SEARCHED = 6_000  # faces on which cross-validation sets the parameters
GRIDS: dict[str, dict[str, list[Any]]] = {
    "softmax": {"C": [0.001, 0.01, 0.1, 1.0]},
    "svm": {"C": [0.3, 1.0, 3.0, 10.0]},
    "forest": {"min_samples_leaf": [2, 5, 20]},
    "knn": {"n_neighbors": [10, 30, 100]},
    "bagged-svm": {"estimator__C": [0.3, 1.0, 3.0]},
}
SMALL_FOREST = {"n_estimators": 100, "max_leaf_nodes": 500}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("data", help="FER2013 as a zip of class folders, or its CSV")
    parser.add_argument("work", type=Path, help="the folder of make_network.py")
    parser.add_argument("--model", choices=list(NETWORKS), required=True)
    parser.add_argument("--heads", nargs="*", default=list(HEADS), metavar="HEAD")
    parser.add_argument("--photos", help="a zip of labelled photos, as faces.py takes it")
    options = parser.parse_args()
    Making(options.data, options.work, options.model, options.photos).run(options.heads)


class Making:
    """One model in the making."""

    def __init__(self, data: str, work: Path, model: str, photos: str | None) -> None:
        self.work, self.model = work, model
        self.photos = Photos.read(photos) if photos else None
        self.backbones, self.stages = NETWORKS[model], stages_of(*NETWORKS[model])
        self.marks = [f"{name}-{BACKBONES[name].weights.sha256[:8]}" for name in self.backbones]
        self.data = datasets.open(data)
        self.rows_file = work / f"{'-'.join(self.marks)}-heads.json"
        self.rows: list[dict[str, Any]] = (
            json.loads(self.rows_file.read_text()) if self.rows_file.exists() else []
        )

    def run(self, heads: list[str]) -> None:
        faces, targets = gray(self.data.split("train"))
        self.labels = np.array(EXPRESSIONS)[targets.argmax(axis=1)]
        learned = {"plain": self.vectors("plain", faces)}
        if heads:
            changed = STRONG.apply(faces, np.random.default_rng(7))
            learned["augmented"] = self.vectors("augmented", changed)
        mirrored = faces[:, :, ::-1]
        faces, targets = gray(self.data.split("validation"))
        self.truth = np.array(EXPRESSIONS)[targets.argmax(axis=1)]
        self.unseen = self.vectors("validation", faces)
        self.alone = self.without_copies()
        if self.photos:
            self.cutting = FaceRecipe.resolve("mtcnn")
            found = map(self.cutting, self.photos.pixels)
            self.found = [[face for face, _ in faces] for faces in found]

        def network() -> Any:
            return Pipeline.from_networks(*self.backbones).head_

        self.score("network", "-", learned["plain"], network)
        if self.model in SYMMETRIC:
            symmetric = (learned["plain"] + self.vectors("mirrored", mirrored)) / 2
            unseen = self.vectors("mirrored validation", faces[:, :, ::-1])
            unseen = (self.unseen + unseen) / 2
            self.score("symmetric network", "-", symmetric, network, unseen)
        for name in heads:
            for kind, vectors in learned.items():
                self.score(name, kind, vectors, partial(self.fitted, name, vectors))
        if "forest" in heads:
            plain = learned["plain"]
            self.score("small forest", "plain", plain, partial(self.small_forest, plain))
        self.ship()

    def vectors(self, kind: str, faces: np.ndarray) -> np.ndarray:
        parts = []
        for name, mark in zip(self.backbones, self.marks, strict=True):
            kept = self.work / f"{mark}-{kind}.npy"
            if not kept.exists():
                np.save(kept, Embedder(name, store="none").transform(faces))
            parts.append(np.load(kept))
        return np.concatenate(parts, axis=1)

    def agrees(self, head: Any) -> float:
        """The share of the photos whose label the head gives to the surest face."""
        pipeline = Pipeline.from_head(head, backbone=self.backbones, store="memory")
        which = ~self.photos.choosing
        return score(pipeline, self.cutting, self.photos, self.found, which)["accuracy"]

    def without_copies(self) -> np.ndarray:
        """Which validation faces have no exact or near copy in the training split."""
        kept = self.work / "without_copies.npy"
        if not kept.exists():
            groups = audit(self.data).copies
            learned = groups[self.data.mask("train")]
            alone = ~np.isin(groups[self.data.mask("validation")], learned)
            np.save(kept, alone[in_order(self.data.split("validation"))])
        return np.load(kept)

    def fitted(self, name: str, vectors: np.ndarray) -> Any:
        """The head with the parameters that cross-validation finds within the training split."""
        rows = np.random.default_rng(0).choice(len(vectors), SEARCHED, replace=False)
        search = GridSearchCV(HEADS[name].make(), GRIDS[name], cv=3)
        best = search.fit(vectors[rows], self.labels[rows]).best_params_
        return HEADS[name].make().set_params(**best).fit(vectors, self.labels)

    def small_forest(self, vectors: np.ndarray) -> Any:
        return HEADS["forest"].make().set_params(**SMALL_FOREST).fit(vectors, self.labels)

    def score(
        self,
        name: str,
        kind: str,
        learned: np.ndarray,
        make: Callable[[], Any],
        unseen: np.ndarray | None = None,
    ) -> None:
        if (name, kind) in [(row["head"], row["learned_from"]) for row in self.rows]:
            return
        started = time.perf_counter()
        head = make()
        seconds = time.perf_counter() - started
        truth, alone = self.truth, self.alone
        shares = head.predict_proba(self.unseen if unseen is None else unseen)
        report = Report.from_predictions(truth, shares, head.classes_)
        row = {
            "head": name,
            "learned_from": kind,
            "parameters": {
                key: head.get_params()[key]
                for key in (SMALL_FOREST if name == "small forest" else GRIDS.get(name, {}))
            },
            "accuracy": report.accuracy,
            "accuracy_without_copies": Report.from_predictions(
                truth[alone], shares[alone], head.classes_
            ).accuracy,
            "macro_f1": report.macro_f1,
            "calibration_error": report.calibration_error,
            "training_accuracy": float((head.predict(learned) == self.labels).mean()),
            "search_and_fit_seconds": seconds,
            "megabytes": len(skops.io.dumps(head, compression=8)) / 1e6,
        }
        if self.photos and unseen is None:
            row["agrees_with_photos"] = self.agrees(head)
        print({k: round(v, 4) if isinstance(v, float) else v for k, v in row.items()}, flush=True)
        self.rows.append(row)
        self.rows_file.write_text(json.dumps(self.rows, indent=1))

    def ship(self) -> None:
        """Save the network's own last layer, which every scikit-learn opens, and all scores."""
        symmetric = self.model in SYMMETRIC
        pipeline = Pipeline.from_networks(*self.backbones, symmetric=symmetric)
        pipeline.save(models_folder() / self.model)
        part = self.data.split("validation")
        report, _ = pipeline.set_params(store="none").evaluate(part.images, part.labels)
        print(report.table())
        histories = {
            stage: json.loads((self.work / stage / "history.json").read_text())
            for stage in self.stages
            if (self.work / stage / "history.json").exists()
        }
        result = {
            "made_by": "benchmarks/make_network.py, then benchmarks/make_models.py",
            "backbone": " and ".join(self.backbones),
            "parameters": sum(BACKBONES[name].parameters for name in self.backbones),
            "trained_on": f"FER2013 training split, {len(self.data.split('train')):,} faces",
            "scored_on": f"FER2013 PublicTest, {len(self.truth):,} faces, one run, no test-time "
            "augmentation but for the mirror image where it says symmetric",
            "copies": f"{int((~self.alone).sum())} of {len(self.truth):,} validation faces "
            "have an exact or near copy in the training split",
            "stages": {
                stage: {
                    "recipe": asdict(RECIPES[stage]),
                    "starts_from": " and ".join(START.get(stage, {}).values()) or "random weights",
                    "teachers": TEACHERS[stage][0],
                    "share_of_the_labels": TEACHERS[stage][1],
                    "epochs": histories.get(stage, {}).get("epochs", []),
                }
                for stage in self.stages
            },
            "machine": f"{platform.machine()}, {os.cpu_count()} cores",
            "heads": self.rows,
            "report": report.to_dict(),
        }
        (RESULTS / f"{self.model}.json").write_text(json.dumps(result, indent=1) + "\n")
        (models_folder() / f"{self.model}.md").write_text(card(self.model, result, report))


def card(model: str, result: dict[str, Any], report: Report) -> str:
    """What a user should know of a model before relying on it."""
    stages = [
        f"- {name}: {stage['recipe']['epochs']} epochs from {stage['starts_from']}; targets are "
        + (
            f"{stage['share_of_the_labels']:.0%} the labels, the rest what "
            f"{' and '.join(stage['teachers'])} answer"
            if stage["teachers"]
            else "the labels"
        )
        for name, stage in result["stages"].items()
    ]
    names = list(report.labels)
    classes = [
        f"| {name} | {one.precision:.1%} | {one.recall:.1%} | {one.f1:.3f} | {one.support} |"
        for name, one in report.classes.items()
    ]
    confusion = [
        f"| **{name}** | " + " | ".join(map(str, row)) + " |"
        for name, row in zip(names, report.confusion, strict=True)
    ]
    rows = {row["head"]: row for row in result["heads"]}
    plain, ships = rows["network"], rows.get("symmetric network", rows["network"])
    mirrored = (
        "It answers by the mean of the vectors of a face and of its mirror image; by the face "
        f"alone the accuracy is {plain['accuracy']:.2%}."
    )
    tuned = "fer-mobilenet" in result["backbone"]
    return CARD.format(
        model=model,
        made_by="The network" if " and " not in result["backbone"] else "Each of the networks",
        backbone=result["backbone"].replace(" and ", "` and `"),
        parameters=result["parameters"],
        trained_on=result["trained_on"],
        scored_on=result["scored_on"],
        stages="\n".join(stages),
        accuracy=report.accuracy,
        without_copies=ships["accuracy_without_copies"],
        mirrored=f"\n{mirrored}\n" if ships is not plain else "",
        origin=ORIGIN if tuned else "",
        alone="" if tuned else ", no other pictures",
        copies=result["copies"],
        macro_f1=report.macro_f1,
        calibration_error=report.calibration_error,
        classes="\n".join(classes),
        header="| | " + " | ".join(names) + " |\n|" + "---|" * (len(names) + 1),
        confusion="\n".join(confusion),
    )


ORIGIN = """
`fer-mobilenet` starts from `vggface2-mobilenet` itself, which HSE-FaceRes trained on 3.3 million
pictures of 9,131 people, found on the web by their names (MIT, upstream Apache-2.0: see
[its licence](backbones/fer-mobilenet.LICENSE)). Its first four blocks are those weights; the later
ones learned from FER2013 what else stands here, and the last of the thirteen is left out. It is the
mean of the weights after the last two stages, and sees the face at 192x192.
"""
CARD = """# {model}

Reads one of seven expressions off a face. {made_by} `{backbone}`
({parameters:,} parameters) makes a vector of it, and its own last layer answers with a
probability for each expression. MIT licence; the data it learned from is for research.

## Data and recipe

{trained_on}: no face of its validation or test split{alone}. Networks learned in
stages, the recipes and epochs of which stand in [the results](../benchmarks/results/{model}.json):

{stages}

The teachers `mobilenet` and `mobilenet-views` are classifiers on the vectors of
`vggface2-mobilenet`, a network that others trained on VGGFace2 to tell people apart (MIT, upstream
Apache-2.0). They learned expressions from the same training split, and answered for faces of it
that they had not learned from.
{origin}
The validation split was watched while the networks learned, so its scores below are a little kind.
The test split (PrivateTest) was not seen.

## Scores

{scored_on}.

- accuracy {accuracy:.2%}; {without_copies:.2%} without copies ({copies})
- macro F1 {macro_f1:.3f}, expected calibration error {calibration_error:.3f} (15 bins)
{mirrored}
| expression | precision | recall | F1 | faces |
|---|---|---|---|---|
{classes}

Confusion: a row for each true label, a column for each answer.

{header}
{confusion}

## Known biases

- FER2013 was collected by searching the web for words of emotion. Its faces are posed or picked for
  a strong expression, and its labels are noisy: people themselves often disagree about them.
- Who is in it by age, sex and skin was never recorded: how the model differs between groups is not
  known.
- Disgust is rare (436 of 28,709 faces), fear and sadness are often taken for each other and for
  neutral: read the table above before you rely on one of them.
- The faces are small, gray and cut tight. Photographs from elsewhere are cut by a detector, which
  frames them differently, and scores on them are lower.

## What it must not be used for

A probability says how a face *looks to people who labelled such a data set*. It does not say what
somebody feels, intends or is. Do not use it to judge, select, grade, police or diagnose people, nor
to infer emotions at work or in education, which the law of the European Union forbids.
"""


if __name__ == "__main__":
    main()
