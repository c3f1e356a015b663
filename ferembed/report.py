"""Report: how well a classifier does on labelled faces."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ferembed.errors import LabelError
from ferembed.labels import in_order

_BINS = 15


@dataclass(frozen=True)
class ClassScore:
    """One class: the share of its answers that are right, the share of it that is found."""

    precision: float
    recall: float
    f1: float
    support: int


@dataclass(frozen=True)
class Report:
    """Scores of one classifier on one set of faces."""

    labels: tuple[str, ...]
    count: int
    accuracy: float
    macro_f1: float
    calibration_error: float  # expected, over 15 bins of confidence
    classes: dict[str, ClassScore]
    confusion: tuple[tuple[int, ...], ...]  # a row per true label, a column per answer

    @classmethod
    def of(cls, truth: ArrayLike, probabilities: NDArray[np.float64], classes: ArrayLike) -> Report:
        """The report on probabilities, whose columns are `classes`, against the true labels."""
        true, names = np.asarray(truth).astype(str), np.asarray(classes).astype(str)
        foreign = sorted(set(true.tolist()) - set(names.tolist()))
        if foreign:
            raise LabelError(
                f"The data set has the labels {', '.join(foreign)}, which the model does not know: "
                f"{', '.join(names)}. Choose the classes of the data set that it knows."
            )
        if not len(true):
            raise LabelError("There is no face to report on: the data set is empty.")
        labels = in_order(names.tolist())
        column = [names.tolist().index(label) for label in labels]
        scores = np.asarray(probabilities)[:, column]
        rank = {label: i for i, label in enumerate(labels)}
        expected = np.array([rank[label] for label in true])
        answers = scores.argmax(axis=1)
        confusion = np.zeros((len(labels), len(labels)), int)
        np.add.at(confusion, (expected, answers), 1)
        right = confusion.diagonal()
        with np.errstate(invalid="ignore", divide="ignore"):
            precision = np.nan_to_num(right / confusion.sum(axis=0))
            recall = np.nan_to_num(right / confusion.sum(axis=1))
            f1 = np.nan_to_num(2 * precision * recall / (precision + recall))
        support = confusion.sum(axis=1)
        return cls(
            tuple(labels),
            len(true),
            float((answers == expected).mean()),
            float(f1[support > 0].mean()),
            _calibration_error(scores.max(axis=1), answers == expected),
            {
                label: ClassScore(
                    float(precision[i]), float(recall[i]), float(f1[i]), int(support[i])
                )
                for i, label in enumerate(labels)
            },
            tuple(tuple(map(int, row)) for row in confusion),
        )

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    def table(self) -> str:
        """The scores as text, for a terminal or a Markdown file."""
        lines = [
            f"{self.count} faces: accuracy {self.accuracy:.2%}, macro F1 {self.macro_f1:.3f}, "
            f"calibration error {self.calibration_error:.3f}",
            "",
            "| true | precision | recall | F1 | faces | " + " | ".join(self.labels) + " |",
            "|---" * (5 + len(self.labels)) + "|",
        ]
        for label, row in zip(self.labels, self.confusion, strict=True):
            score = self.classes[label]
            cells = [f"{score.precision:.3f}", f"{score.recall:.3f}", f"{score.f1:.3f}"]
            counts = map(str, (score.support, *row))
            lines.append(f"| {label} | " + " | ".join([*cells, *counts]) + " |")
        return "\n".join(lines)


def _calibration_error(confidence: NDArray[np.float64], right: NDArray[np.bool_]) -> float:
    """The mean distance between confidence and accuracy, bin by bin."""
    bins = np.minimum((confidence * _BINS).astype(int), _BINS - 1)
    error = 0.0
    for bin in range(_BINS):
        inside = bins == bin
        if inside.any():
            error += inside.mean() * abs(confidence[inside].mean() - right[inside].mean())
    return float(error)
