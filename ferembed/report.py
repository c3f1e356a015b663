"""Report: the scores of a classifier on labelled faces."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ferembed.errors import LabelError
from ferembed.labels import reading_order
from ferembed.translations import Translator

_BINS, _STEPS = 15, 20


@dataclass(frozen=True)
class ClassScore:
    """The precision, recall and F1 of one class, and its number of faces."""

    precision: float
    recall: float
    f1: float
    support: int


@dataclass(frozen=True)
class Mean:
    """Mean scores over classes (macro) or over faces (weighted)."""

    precision: float
    recall: float
    f1: float


@dataclass(frozen=True)
class Bin:
    """A bin of predictions of similar confidence: mean confidence, accuracy and count."""

    confidence: float
    accuracy: float
    count: int


@dataclass(frozen=True)
class CoveragePoint:
    """The accuracy of the most confident predictions, and the confidence where they start."""

    coverage: float
    accuracy: float
    confidence: float


@dataclass(frozen=True, kw_only=True)
class Report:
    """The scores of one classifier on one set of faces."""

    labels: tuple[str, ...]
    count: int
    accuracy: float
    macro_f1: float
    calibration_error: float  # expected, over 15 bins of confidence
    classes: dict[str, ClassScore]
    confusion: tuple[tuple[int, ...], ...]  # a row per true label, a column per prediction
    calibration: tuple[Bin, ...]  # the bins that are not empty, of 15
    coverage: tuple[CoveragePoint, ...]  # 20 steps up to all faces, or one step per face

    @classmethod
    def from_predictions(
        cls,
        targets: ArrayLike,
        probabilities: NDArray[np.float64],
        classes: ArrayLike,
        predicted: ArrayLike | None = None,
    ) -> Report:
        """The report on probabilities, with a column for each of `classes`, and on the true labels.

        `predicted` are labels; by default the most probable class of each row, the first of equals.
        """
        true, names = np.asarray(targets).astype(str), np.asarray(classes).astype(str)
        foreign = sorted(set(true.tolist()) - set(names.tolist()))
        if foreign:
            raise LabelError(
                f"The data set has the labels {', '.join(foreign)}, which the model does not know: "
                f"{', '.join(names)}. Choose the classes of the data set that it knows "
                "(classes=[...], on the command line --classes)."
            )
        if not len(true):
            raise LabelError("There is no face to report on: the data set is empty.")
        labels = reading_order(names.tolist())
        column = [names.tolist().index(label) for label in labels]
        scores = np.asarray(probabilities)[:, column]
        rank = {label: i for i, label in enumerate(labels)}
        expected = np.array([rank[label] for label in true])
        if predicted is None:
            predicted = names[np.asarray(probabilities).argmax(axis=1)]
        found = np.array([rank[label] for label in np.asarray(predicted).astype(str)])
        confusion = np.zeros((len(labels), len(labels)), int)
        np.add.at(confusion, (expected, found), 1)
        right = confusion.diagonal()
        with np.errstate(invalid="ignore", divide="ignore"):
            precision = np.nan_to_num(right / confusion.sum(axis=0))
            recall = np.nan_to_num(right / confusion.sum(axis=1))
            f1 = np.nan_to_num(2 * precision * recall / (precision + recall))
        support = confusion.sum(axis=1)
        confidence, hit = scores.max(axis=1), found == expected
        bins = _calibration(confidence, hit)
        return cls(
            labels=tuple(labels),
            count=len(true),
            accuracy=float(hit.mean()),
            macro_f1=float(f1[support > 0].mean()),
            calibration_error=sum(
                bin.count / len(true) * abs(bin.confidence - bin.accuracy) for bin in bins
            ),
            classes={
                label: ClassScore(
                    float(precision[i]), float(recall[i]), float(f1[i]), int(support[i])
                )
                for i, label in enumerate(labels)
            },
            confusion=tuple(tuple(map(int, row)) for row in confusion),
            calibration=bins,
            coverage=_coverage(confidence, hit),
        )

    @property
    def macro(self) -> Mean:
        """The mean over classes; rare and frequent classes have the same weight."""
        return self._mean([1 if score.support else 0 for score in self.classes.values()])

    @property
    def weighted(self) -> Mean:
        """The mean over classes, weighted by their number of faces."""
        return self._mean([score.support for score in self.classes.values()])

    def _mean(self, weights: list[int]) -> Mean:
        scores = [(score.precision, score.recall, score.f1) for score in self.classes.values()]
        return Mean(*map(float, np.average(scores, axis=0, weights=weights)))

    @property
    def normalised(self) -> tuple[tuple[float, ...], ...]:
        """The confusion matrix, each row divided by its sum; zeros for a label without faces."""
        return tuple(tuple(n / max(1, sum(row)) for n in row) for row in self.confusion)

    @property
    def predicted(self) -> dict[str, int]:
        """The number of predictions of each label."""
        columns = zip(*self.confusion, strict=True)
        return dict(zip(self.labels, map(sum, columns), strict=True))

    def to_dict(self) -> dict[str, Any]:
        return {
            **asdict(self),
            "macro": asdict(self.macro),
            "weighted": asdict(self.weighted),
            "normalised": self.normalised,
            "predicted": self.predicted,
        }

    def table(self, language: str = "en") -> str:
        """The scores as text for a terminal, in English or Spanish."""
        tr = Translator(language)
        occurring = sum(score.support > 0 for score in self.classes.values())
        key = "scores of occurring" if occurring < len(self.labels) else "scores"
        scores = tr(
            key,
            count=tr.count(self.count),
            accuracy=tr.percent(self.accuracy),
            macro_f1=f"{self.macro_f1:.3f}",
            classes=occurring,
            error=f"{self.calibration_error:.3f}",
        )
        rows = []
        for label, row in zip(self.labels, self.confusion, strict=True):
            score = self.classes[label]
            cells = [f"{score.precision:.3f}", f"{score.recall:.3f}", f"{score.f1:.3f}"]
            rows.append([tr.label(label), *cells, *map(tr.count, (score.support, *row))])
        head = [tr(key) for key in ("true", "precision", "recall", "f1", "support")]
        table = text_table([*head, *map(tr.label, self.labels)], rows)
        return f"{scores}\n\n{table}\n\n{tr('confusion columns')}"


def _calibration(confidence: NDArray[np.float64], right: NDArray[np.bool_]) -> tuple[Bin, ...]:
    places = np.minimum((confidence * _BINS).astype(int), _BINS - 1)
    return tuple(
        Bin(float(confidence[inside].mean()), float(right[inside].mean()), int(inside.sum()))
        for inside in (places == place for place in np.unique(places))
    )


def _coverage(
    confidence: NDArray[np.float64], right: NDArray[np.bool_]
) -> tuple[CoveragePoint, ...]:
    """The coverage curve. Predictions of equal confidence count with their mean accuracy."""
    values, tied = np.unique(-confidence, return_inverse=True)
    mean = np.bincount(tied, right) / np.bincount(tied)
    order = np.argsort(tied, kind="stable")
    found = np.cumsum(mean[tied[order]])
    counts = np.unique(-(np.arange(1, _STEPS + 1) * -len(right) // _STEPS))
    return tuple(
        CoveragePoint(
            float(count / len(right)),
            float(found[count - 1] / count),
            -float(values[tied[order[count - 1]]]),
        )
        for count in counts
    )


def text_table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table for a terminal: the first column is aligned to the left, the others to the right.

    >>> print(text_table(["", "faces"], [["train", "19"], ["test", "7"]]))
           faces
    train     19
    test       7
    """
    widths = [max(map(len, column)) for column in zip(head, *rows, strict=True)]
    return "\n".join(
        "  ".join(
            cell.rjust(width) if number else cell.ljust(width)
            for number, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        for row in (head, *rows)
    )


def markdown_table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table in Markdown.

    >>> print(markdown_table(["", "faces"], [["train", "9"]]))
    |  | faces |
    |---|---|
    | train | 9 |
    """
    lines = [f"| {' | '.join(row)} |" for row in (head, *rows)]
    return "\n".join([lines[0], "|---" * len(head) + "|", *lines[1:]])
