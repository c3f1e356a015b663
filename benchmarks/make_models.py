"""Fit every head on the vectors of a network that ships, score all, and save the best as a model.

    python benchmarks/make_models.py fer2013.zip WORK --model fast | default

The heads learn from the training split alone; cross-validation within it sets their parameters. The
validation split (PublicTest) chooses between the finished heads. A network is surer of faces that
it has learned from than of others, and a head learns that, too: each is fitted both on the vectors
of the faces as they are ("plain") and on those of an augmented copy of each ("augmented"). WORK
keeps vectors and scores: run again, what was scored is not fitted again.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import skops.io
from make_network import PREPROCESS, RECIPES, START, STRONG, TEACHERS, gray
from sklearn.model_selection import GridSearchCV

from ferembed import EXPRESSIONS, Pipeline, datasets
from ferembed.audit import audit
from ferembed.backbones import BACKBONES, LoadRequest, load_backbone
from ferembed.heads import HEADS, network_head
from ferembed.report import Report
from ferembed.weights import models_folder, read_weights

RESULTS = Path(__file__).parent / "results"
NETWORKS = {"fast": ("mini-vgg", ["first", "second"]), "default": ("twin-vgg", list(RECIPES))}
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
    options = parser.parse_args()
    Making(options.data, options.work, options.model).run()


class Making:
    """One model in the making."""

    def __init__(self, data: str, work: Path, model: str) -> None:
        self.work, self.model = work, model
        self.backbone, self.stages = NETWORKS[model]
        self.spec = BACKBONES[self.backbone]
        self.mark = f"{self.backbone}-{self.spec.weights.sha256[:8]}"
        self.data = datasets.open(data)
        self.rows_file = work / f"{self.mark}-heads.json"
        self.rows: list[dict[str, Any]] = (
            json.loads(self.rows_file.read_text()) if self.rows_file.exists() else []
        )

    def run(self) -> None:
        faces, targets = gray(self.data.split("train"))
        labels = np.array(EXPRESSIONS)[targets.argmax(axis=1)]
        unseen, truth = gray(self.data.split("validation"))
        truth = np.array(EXPRESSIONS)[truth.argmax(axis=1)]
        vectors = {
            "plain": self.vectors("plain", faces),
            "augmented": self.vectors("augmented", STRONG.apply(faces, np.random.default_rng(7))),
        }
        unseen = self.vectors("validation", unseen)
        alone = self.without_copies()
        self.score("network", "-", self.network(), vectors["plain"], labels, unseen, truth, alone)
        for name in HEADS:
            for kind, learned in vectors.items():
                if self.is_scored(name, kind):
                    continue
                head = HEADS[name].make().set_params(**self.parameters(name, learned, labels))
                started = time.perf_counter()
                head.fit(learned, labels)
                seconds = time.perf_counter() - started
                self.score(name, kind, head, learned, labels, unseen, truth, alone, seconds)
        if not self.is_scored("small forest", "plain"):
            head = HEADS["forest"].make().set_params(**SMALL_FOREST)
            head.fit(vectors["plain"], labels)
            self.score(
                "small forest", "plain", head, vectors["plain"], labels, unseen, truth, alone
            )
        self.ship(truth)

    def vectors(self, kind: str, faces: np.ndarray) -> np.ndarray:
        kept = self.work / f"{self.mark}-{kind}.npy"
        if not kept.exists():
            backbone = load_backbone(LoadRequest(self.backbone))
            np.save(kept, backbone.embed(np.repeat(face[:, :, None], 3, axis=2) for face in faces))
        return np.load(kept)

    def without_copies(self) -> np.ndarray:
        """Which validation faces have no exact or near copy in the training split."""
        kept = self.work / "without_copies.npy"
        if not kept.exists():
            found = audit(self.data).copies
            learned = set(found[self.data.mask("train")].tolist())
            part = self.data.split("validation")
            numbers = [int("".join(filter(str.isdigit, Path(str(part.images.name(i))).stem)))
                       for i in range(len(part))]  # fmt: skip
            alone = np.array([g not in learned for g in found[self.data.mask("validation")].tolist()])
            np.save(kept, alone[np.argsort(numbers)])
        return np.load(kept)

    def network(self) -> Any:
        weights = read_weights(self.spec.weights.path())
        return network_head(weights["logits/kernel"], weights["logits/bias"], list(EXPRESSIONS))

    def parameters(self, name: str, vectors: np.ndarray, labels: np.ndarray) -> dict[str, Any]:
        rows = np.random.default_rng(0).choice(len(labels), SEARCHED, replace=False)
        search = GridSearchCV(HEADS[name].make(), GRIDS[name], cv=3, n_jobs=1)
        return dict(search.fit(vectors[rows], labels[rows]).best_params_)

    def is_scored(self, name: str, kind: str) -> bool:
        return (name, kind) in [(row["head"], row["learned_from"]) for row in self.rows]

    def score(
        self,
        name: str,
        kind: str,
        head: Any,
        learned: np.ndarray,
        labels: np.ndarray,
        unseen: np.ndarray,
        truth: np.ndarray,
        alone: np.ndarray,
        seconds: float = 0.0,
    ) -> None:
        if self.is_scored(name, kind):
            return
        shares = head.predict_proba(unseen)
        report = Report.of(truth, shares, head.classes_)
        row = {
            "head": name,
            "learned_from": kind,
            "parameters": {
                key: head.get_params()[key]
                for key in (SMALL_FOREST if name == "small forest" else GRIDS.get(name, {}))
            },
            "accuracy": report.accuracy,
            "accuracy_without_copies": Report.of(
                truth[alone], shares[alone], head.classes_
            ).accuracy,
            "macro_f1": report.macro_f1,
            "calibration_error": report.calibration_error,
            "training_accuracy": float((head.predict(learned) == labels).mean()),
            "fit_seconds": seconds,
            "megabytes": len(skops.io.dumps(head, compression=8)) / 1e6,
        }
        print({k: round(v, 4) if isinstance(v, float) else v for k, v in row.items()}, flush=True)
        self.rows.append(row)
        self.rows_file.write_text(json.dumps(self.rows, indent=1))

    def ship(self, truth: np.ndarray) -> None:
        """The network's own last layer, which every scikit-learn opens, unless another is better."""
        highest = max(row["accuracy_without_copies"] for row in self.rows)
        network = self.rows[0]
        pipeline = Pipeline.of(self.network(), backbone=self.backbone)
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
            "backbone": self.backbone,
            "parameters": self.spec.parameters,
            "trained_on": f"FER2013 training split, {len(self.data.split('train')):,} faces",
            "scored_on": f"FER2013 PublicTest, {len(truth):,} faces, one run, no test-time "
            "augmentation",
            "copies": f"{int((~self.without_copies()).sum())} of {len(truth):,} validation faces "
            "have an exact or near copy in the training split",
            "stages": {
                stage: {
                    "recipe": asdict(RECIPES[stage]),
                    "starts_from": START.get(stage, "random weights"),
                    "half_of_the_labels_from": TEACHERS[stage],
                    "epochs": histories.get(stage, {}).get("epochs", []),
                }
                for stage in self.stages
            },
            "machine": f"{platform.machine()}, {os.cpu_count()} cores",
            "heads": self.rows,
            "lead_of_the_best_head": highest - network["accuracy_without_copies"],
            "report": report.to_dict(),
        }
        (RESULTS / f"{self.model}.json").write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
