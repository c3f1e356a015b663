"""Make the models that ship from the trained networks, choose their priors, and score them.

    python -m benchmarks.make_models fer2013.zip ferplus.csv photos.zip WORK [MODEL ...]
    python -m benchmarks.make_models fer2013.zip ferplus.csv photos.zip WORK MODEL --heads HEAD ...

A model is a random forest on the vectors of one network or of several, fitted on one of the label
sets that they were trained on. It is trained on the training faces where a class has the majority.
Class priors are divided out of the probabilities, and a prior is multiplied in under which all
expressions are as frequent as each other, but neutral is rarer. PublicTest and the choosing half of
the photos select how much rarer, and the strength of the change: those with the highest mean of
accuracy and macro recall on FER+, and accuracy, macro F1 and 1 - calibration error on the photos,
which cost at most a point of accuracy on FER+. The other half of the photos selects nothing. The
mean of many trees is less confident than it is right, so the highest temperature of a list is taken
that brings the calibration error on PublicTest to at most 2.5 %, or else the one with the least
error. With `--heads`, other heads are fitted on the same vectors and labels, and scored beside the
last layers of the networks, without a change of priors.

WORK keeps vectors and the rows of heads: run again, what is there is not computed again.
"""

from __future__ import annotations

import argparse
import json
import time
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.metrics import f1_score

from benchmarks.faces import Photos
from benchmarks.machine import machine
from benchmarks.make_network import (
    LABEL_SETS,
    RECIPES,
    TEACHER,
    faces_and_targets,
    in_order,
)
from ferembed import EXPRESSIONS, Embedder, Pipeline, datasets
from ferembed.backbones import BACKBONES
from ferembed.datasets.audit import audit
from ferembed.faces import FaceRecipe
from ferembed.heads import HEADS
from ferembed.labels import EIGHT_EXPRESSIONS
from ferembed.priors import training_prior
from ferembed.report import Report, markdown_table
from ferembed.storage.folders import models_folder

RESULTS = Path(__file__).parent / "results"


@dataclass(frozen=True)
class Model:
    """The parts of a model."""

    networks: tuple[str, ...]
    label_set: str
    trees: int = 300
    bins: int = 128
    least_in_leaf: int = 2

    def new_head(self) -> Any:
        return (
            HEADS[HEAD]
            .make()
            .set_params(
                n_estimators=self.trees, bins=self.bins, min_samples_leaf=self.least_in_leaf
            )
        )


MODELS = {
    "fast": Model(("mini-vgg",), "ferplus"),
    "default": Model(("fer-mobilenet",), "ferplus"),
    "accurate": Model(("fer-mobilenet", "mini-vgg"), "ferplus"),
    # A third of the bytes of the defaults, and as accurate.
    "fer2013": Model(
        ("fer-mobilenet", "fer-mobilenet-192"), "fer2013", trees=120, bins=32, least_in_leaf=5
    ),
}
HEAD = "forest"
TEMPERATURES = (1.0, 0.95, 0.9, 0.85, 0.8, 0.75, 0.7, 0.65, 0.6)
GIVEN_UP = 0.01  # accuracy on FER+ that a change of priors may cost at most
CALIBRATED = 0.025  # calibration error on PublicTest that is low enough
STRENGTHS = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6)
NEUTRAL = (1.0, 0.5, 0.25, 0.1)  # how frequent neutral is beside another expression


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("data", help="FER2013 as a zip of class folders, or its CSV")
    parser.add_argument("votes", type=Path, help="ferplus.csv")
    parser.add_argument("photos", help="a zip of labelled photos, as faces.py takes it")
    parser.add_argument("work", type=Path, help="a folder for vectors and scores")
    parser.add_argument("models", nargs="*", metavar="MODEL", help=", ".join(MODELS))
    parser.add_argument("--heads", nargs="+", choices=list(HEADS), default=[])
    options = parser.parse_args()
    sets = Sets(options.data, options.votes, options.photos, options.work)
    for name in options.models or MODELS:
        if options.heads:
            score_heads(name, sets, options.heads)
        else:
            make(name, sets)


class Sets:
    """The labelled faces that models are scored on, and their vectors."""

    def __init__(self, data: str, votes: Path, photos: str, work: Path) -> None:
        self.work = work
        self.data = datasets.open(data)
        self.splits = {
            "train": faces_and_targets(self.data.split("train"), votes, training=True),
            "validation": faces_and_targets(self.data.split("validation"), votes, training=False),
        }
        self.photos = Photos.read(photos)
        self.alone = self._without_duplicates()

    @cached_property
    def crops(self) -> list[np.ndarray | None]:
        """The most confident face of each photo, None where none is found."""
        recipe = FaceRecipe.resolve("mtcnn")
        found = [recipe(photo) for photo in self.photos.pixels]
        return [faces[0][1] if faces else None for faces in found]

    @property
    def found(self) -> np.ndarray:
        """In which photos a face is found."""
        kept = self.work / "photos-with-faces.npy"
        if not kept.exists():
            np.save(kept, np.array([crop is not None for crop in self.crops]))
        return np.load(kept)

    def _without_duplicates(self) -> np.ndarray:
        """Which validation faces have no exact or near-duplicate in the training split."""
        kept = self.work / "without_duplicates.npy"
        if not kept.exists():
            groups = audit(self.data).groups
            trained = groups[self.data.mask("train")]
            alone = ~np.isin(groups[self.data.mask("validation")], trained)
            np.save(kept, alone[in_order(self.data.split("validation"))])
        return np.load(kept)

    def labels(self, split: str, label_set: str) -> np.ndarray:
        """The class of each face in a label set, "" where it has none."""
        columns = slice(0, LABEL_SETS[0]) if label_set == "ferplus" else slice(LABEL_SETS[0], None)
        targets = self.splits[split][1][:, columns]
        names = np.array(EIGHT_EXPRESSIONS[: targets.shape[1]])
        return np.where(targets.any(axis=1), names[targets.argmax(axis=1)], "")

    def training(self, model: Model) -> tuple[np.ndarray, np.ndarray]:
        """The vectors and labels of the training faces where a class has the majority."""
        targets = self.splits["train"][1]
        count = LABEL_SETS[0]
        targets = targets[:, :count] if model.label_set == "ferplus" else targets[:, count:]
        agreed = targets.max(axis=1) > 0.5 * targets.sum(axis=1)
        labels = self.labels("train", model.label_set)
        return self.vectors(model.networks, "train")[agreed], labels[agreed]

    def vectors(self, networks: tuple[str, ...], of: str) -> np.ndarray:
        """The vectors of a split, or of the faces found in the photos."""
        parts = []
        for name in networks:
            kept = self.work / f"{name}-{_digest(name)}-{of}.npy"
            if not kept.exists():
                if of == "photos":
                    faces: Any = [crop for crop in self.crops if crop is not None]
                else:
                    faces = self.splits[of][0]
                np.save(kept, Embedder(name, store="none", engine="exact").transform(faces))
            parts.append(np.load(kept))
        return np.concatenate(parts, axis=1)


def _digest(name: str) -> str:
    weights = BACKBONES[name].weights
    assert weights is not None
    return weights.sha256[:8]


def make(name: str, sets: Sets) -> None:
    """Fit a model, choose its prior and temperature, save it, and write its results and card."""
    model = MODELS[name]
    vectors, labels = sets.training(model)
    pipeline = as_pipeline(model.new_head().fit(vectors, labels), model, labels)
    chosen, cells = choose(pipeline, model, sets)
    settle(pipeline, chosen)
    pipeline.save(models_folder() / name)
    result = result_of(pipeline, model, sets, chosen, len(labels)) | {"strengths": cells}
    (RESULTS / f"{name}.json").write_text(json.dumps(result, indent=1) + "\n")
    (models_folder() / f"{name}.md").write_text(card(name, result))
    print(name, json.dumps(chosen, indent=1), flush=True)


def as_pipeline(head: Any, model: Model, labels: np.ndarray) -> Pipeline:
    backbone: Any = list(model.networks) if len(model.networks) > 1 else model.networks[0]
    prior = training_prior(labels)
    return Pipeline.from_head(head, backbone=backbone, training_prior=prior, expressions=7)


def choose(pipeline: Pipeline, model: Model, sets: Sets) -> tuple[dict[str, Any], list[Any]]:
    """The chosen prior and temperature with their scores, and all that were compared."""

    def calibration_error(cell: dict[str, Any]) -> float:
        return float(cell[model.label_set]["calibration_error"])

    cells = []
    changes = [(0.0, 1.0)]
    if model.label_set == "ferplus":
        changes += [(strength, neutral) for strength in STRENGTHS[1:] for neutral in NEUTRAL]
    for strength, neutral in changes:
        tried: list[dict[str, Any]] = []
        for temperature in TEMPERATURES:
            cell: dict[str, Any] = {
                "prior_strength": strength,
                "neutral": neutral,
                "temperature": temperature,
            }
            settle(pipeline, cell)
            tried.append(cell | scores(pipeline, model, sets))
            if calibration_error(tried[-1]) <= CALIBRATED:
                break
        cells.append(min(tried, key=calibration_error))
    least = cells[0]["ferplus"]["accuracy"] - GIVEN_UP
    return max((c for c in cells if c["ferplus"]["accuracy"] >= least), key=criterion), cells


def settle(pipeline: Pipeline, cell: dict[str, Any]) -> None:
    """Give a pipeline the prior and the temperature of a cell."""
    pipeline.head_.set_params(temperature=cell["temperature"])
    strength, neutral = cell["prior_strength"], cell["neutral"]
    weights = dict.fromkeys(EXPRESSIONS, 1.0) | {"neutral": neutral}
    shares = {name: round(one / sum(weights.values()), 6) for name, one in weights.items()}
    prior = (shares if neutral < 1 else "uniform") if strength else None
    pipeline.set_params(prior=prior, prior_strength=strength or 1.0)


def result_of(
    pipeline: Pipeline, model: Model, sets: Sets, chosen: dict[str, Any], trained: int
) -> dict[str, Any]:
    """The scores of a model, and how it was made, as results and cards have them."""
    report = {key: cell for key, cell in chosen.items() if isinstance(cell, dict)}
    own = sets.labels("validation", "fer2013")
    probabilities = pipeline.probabilities(sets.vectors(model.networks, "validation"))
    return {
        "made_by": "benchmarks/make_network.py, then benchmarks/make_models.py",
        "networks": list(model.networks),
        "label_set": model.label_set,
        "parameters": sum(BACKBONES[one].parameters for one in model.networks),
        "head": HEAD,
        "trees": model.trees,
        "trained_on": f"FER2013 training split: the networks on {len(sets.splits['train'][0]):,} "
        f"faces with the votes of FER+ and FER2013's own classes, the {HEAD} on the {trained:,} "
        "of which a class has the majority",
        "scored_on": "PublicTest, one run, no test-time augmentation; photos: one half chooses "
        "the strength of the prior, the other half reports",
        "duplicates": f"{int((~sets.alone).sum()):,} of {len(sets.alone):,} PublicTest faces have "
        "an exact or near-duplicate in the training split",
        "training_prior": pipeline.training_prior_,
        "prior_strength": chosen["prior_strength"],
        "neutral": chosen["neutral"],
        "temperature": chosen["temperature"],
        "scores": report,
        "report": Report.from_predictions(own, probabilities, pipeline.classes_).to_dict(),
        "machine": machine(),
    }


def criterion(cell: dict[str, Any]) -> float:
    """The score that the strength of the prior is chosen by."""
    ferplus, photos = cell["ferplus"], cell["photos_choosing"]
    parts = [ferplus["accuracy"], ferplus["macro_recall"], photos["accuracy"], photos["macro_f1"]]
    return float(np.mean([*parts, 1 - photos["calibration_error"]]))


def scores(pipeline: Pipeline, model: Model, sets: Sets) -> dict[str, Any]:
    """The scores of a model on FER2013's labels, on FER+ and on each half of the photos."""
    faces = pipeline.probabilities(sets.vectors(model.networks, "validation"))
    rows = {}
    for label_set in ("ferplus", "fer2013"):
        labels = sets.labels("validation", label_set)
        rows[label_set] = row(labels, faces, pipeline.classes_)
        alone = row(labels[sets.alone], faces[sets.alone], pipeline.classes_)
        rows[label_set]["accuracy_without_duplicates"] = alone["accuracy"]
    photos = np.full((len(sets.found), len(pipeline.classes_)), 1 / len(pipeline.classes_))
    photos[sets.found] = pipeline.probabilities(sets.vectors(model.networks, "photos"))
    for half, which in (("choosing", sets.photos.choosing), ("reporting", ~sets.photos.choosing)):
        labels = np.where(sets.found, sets.photos.labels, "no face")[which]
        rows[f"photos_{half}"] = row(labels, photos[which], pipeline.classes_)
        rows[f"photos_{half}"]["no_face"] = int((labels == "no face").sum())
    return rows


def row(labels: np.ndarray, probabilities: np.ndarray, classes: np.ndarray) -> dict[str, Any]:
    """Scores over the labelled faces; a label that the model does not know counts as an error."""
    labelled = labels != ""
    labels, probabilities = labels[labelled], probabilities[labelled]
    predicted = classes[probabilities.argmax(axis=1)]
    known = np.isin(labels, classes)
    report = Report.from_predictions(labels[known], probabilities[known], classes)
    recalls = [score.recall for score in report.classes.values() if score.support]
    return {
        "faces": len(labels),
        "accuracy": float((predicted == labels).mean()),
        "macro_f1": float(
            f1_score(labels[known], predicted[known], labels=EXPRESSIONS, average="macro")
        ),
        "macro_recall": float(np.mean(recalls)),
        "calibration_error": report.calibration_error,
    }


def score_heads(name: str, sets: Sets, heads: list[str]) -> None:
    """Score heads on the vectors of the training split, and the networks' own last layers."""
    model = MODELS[name]
    file = RESULTS / f"{name}-heads.json"
    rows = json.loads(file.read_text()) if file.exists() else {}
    vectors, labels = sets.training(model)
    own = Pipeline.from_networks(*model.networks, label_set=model.label_set, expressions=7)
    rows = {"last layer": scores(own, model, sets)} | rows
    for head in heads:
        started = time.perf_counter()
        fitted = HEADS[head].make().fit(vectors, labels)
        rows[head] = {
            "seconds": time.perf_counter() - started,
            "training_faces": len(labels),
            **scores(as_pipeline(fitted, model, labels), model, sets),
        }
        file.write_text(json.dumps(rows, indent=1) + "\n")
        print(head, json.dumps(rows[head]), flush=True)


def _probabilities(result: dict[str, Any]) -> str:
    """The sentences of a card on the priors and the calibration of the probabilities."""
    strength = result["prior_strength"]
    if result["label_set"] != "ferplus":
        prior = "The probabilities are those of the classes of FER2013's training split."
    elif strength:
        prior = (
            "The class priors of training are exchanged for others, under which neutral is "
            f"{result['neutral']:g} times as frequent as each other expression: a probability is "
            f"multiplied by (share / training share) ** {strength}. `prior=None` undoes it, "
            "`prior={...}` gives the shares that you expect."
        )
    else:
        prior = "The class priors of training stay in the probabilities; `prior=` changes them."
    temperature = result["temperature"]
    if temperature != 1:
        prior += (
            f" The mean of the trees is raised to 1 / {temperature:g}, which calibrates the "
            "probabilities on PublicTest; how they are calibrated on photos stands below."
        )
    return prior


def card(name: str, result: dict[str, Any]) -> str:
    """The model card: data, scores, limits and licences of a model."""
    report, strength = result["report"], result["prior_strength"]
    labels = list(report["labels"])
    networks = result["networks"]
    ferplus = result["label_set"] == "ferplus"
    rows = [
        [
            title,
            f"{scores['faces']:,}",
            f"{scores['accuracy']:.2%}",
            f"{scores['accuracy_without_duplicates']:.2%}" if key in ("ferplus", "fer2013") else "",
            f"{scores['macro_f1']:.3f}",
            f"{scores['calibration_error']:.3f}",
        ]
        for key, title in SCORED.items()
        for scores in [result["scores"][key]]
    ]
    head = ["scored on", "faces", "accuracy", "without duplicates", "macro F1", "calibration error"]
    classes = [
        [label, *(f"{one[key]:.1%}" for key in ("precision", "recall")), str(one["support"])]
        for label, one in report["classes"].items()
    ]
    confusion = [
        [f"**{label}**", *map(str, row)]
        for label, row in zip(labels, report["confusion"], strict=True)
    ]
    plain = result["strengths"][0]["ferplus"]["accuracy"]
    return CARD.format(
        model=name,
        networks=" and ".join(f"`{one}`" for one in networks),
        make="makes" if len(networks) == 1 else "make",
        n=result["trees"],
        parameters=result["parameters"],
        labels="the majority of FER+'s votes (ten people a face)"
        if ferplus
        else "FER2013's own labels",
        training=" ".join(TRAINING[one] for one in networks),
        prior=_probabilities(result),
        scores=markdown_table(head, rows),
        plain=f"Without the change of priors, {plain:.2%} on FER+.\n" if strength else "",
        duplicates=result["duplicates"],
        classes=markdown_table(["expression", "precision", "recall", "faces"], classes),
        confusion=markdown_table(["", *labels], confusion),
    )


SCORED = {
    "ferplus": "FER+ majority (contempt, which is never predicted, counts as an error)",
    "fer2013": "FER2013's own labels",
    "photos_choosing": "photos of other people, the half that chose the priors",
    "photos_reporting": "photos of other people, the other half",
}
TRAINING = {
    name: f"`{name}`: {recipe.epochs} epochs from the weights of an earlier version, batches of "
    f"{recipe.batch_size}, rate {recipe.rate} with a cosine schedule, weights averaged. Half of "
    f"its targets are predictions of an earlier `{TEACHER}`."
    for name, recipe in RECIPES.items()
} | {
    "fer-mobilenet-192": "`fer-mobilenet-192` is the earlier version of that network, for faces of "
    "192x192, trained on FER2013's own classes alone in sharpened and clipped copies of the "
    "training pictures."
}
CARD = """# {model}

Predicts one of seven expressions of a face. {networks} ({parameters:,} parameters) {make} a vector,
and a random forest of {n} trees predicts the probabilities. MIT licence; the data set that it was
trained on is for research.

## Data and recipe

Trained on the training split of FER2013 alone, with two label sets at once: the vote distributions
of FER+ and FER2013's own classes. The forest is fitted on their vectors of the same faces. This
model predicts {labels}.

{training} The recipe stands in
[make_network.py](../benchmarks/make_network.py). Training continued from the weights of an earlier
version, which were trained on a sharpened and clipped copy of the same training pictures;
`fer-mobilenet` goes back to a MobileNet that HSE-FaceRes trained on VGGFace2 (3.3 million pictures
of 9,131 people found on the web by name; [its licence](backbones/fer-mobilenet.LICENSE)).

{prior}

## Scores

One run, no test-time augmentation. FER+ majority: faces where one of eight classes has more than
half of all votes, after single votes are dropped. {duplicates}.

{scores}

{plain}
PublicTest is the validation split: it was scored after each epoch of training, and it chose the
strength of the prior, so its scores are optimistically biased. The test split (PrivateTest) was not
used. The labels of the photos are noisy: each photo has one student's label.

On FER2013's own labels:

{classes}

Confusion: a row for each label, a column for each prediction.

{confusion}

## Limits

- FER2013 was collected by searching the web for words of emotion. Its faces are posed or picked for
  a strong expression. People agree with its labels about two times in three.
- Age, sex and skin colour were never recorded: how the model differs between groups is not known.
- Disgust is rare (436 training faces), and disgust and fear are often missed: read the table above
  before you rely on one of them.
- The training faces are small, gray and cut tight. Scores on photos are lower.

## Uses that are excluded

A probability says how a face *looks to people who labelled such a data set*. It does not say what
somebody feels, intends or is. Do not use it to judge, select, grade, police or diagnose people, nor
to infer emotions at work or in education, which the law of the European Union forbids.
"""


if __name__ == "__main__":
    main()
