"""compare: tests whether one classifier is better than another, or whether it may be chance.

print(compare(Predictions.read("a/report.json"), Predictions.read("b/report.json")).table())
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ferembed.errors import DataError
from ferembed.evaluation.predictions import Predictions
from ferembed.labels import reading_order
from ferembed.report import markdown_table

_ALPHA = 0.05
_MOST_COUNTS = 2_000_000  # held at once by the bootstrap


@dataclass(frozen=True)
class Difference:
    """A score of A and of B, and the difference B - A with its 95 % confidence interval."""

    a: float
    b: float
    difference: float
    low: float
    high: float


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """Two classifiers on the same faces, A and B.

    The intervals are from a paired bootstrap over the faces. `only_a` and `only_b` count the faces
    that only one of the two predicts right, and `p` is the p-value of McNemar's exact test.

    >>> truth = ["happy", "sad"] * 50
    >>> faces = [str(i) for i in range(100)]
    >>> make = lambda words: Predictions.from_labels(truth, words, truth[:2], faces)
    >>> compare(make(["happy"] * 100), make(truth)).significant
    True
    """

    names: tuple[str, str]
    count: int
    accuracy: Difference
    macro_f1: Difference
    only_a: int
    only_b: int
    p: float
    recall: dict[str, Difference]  # of each class that has faces
    f1: dict[str, Difference]

    @property
    def significant(self) -> bool:
        """True where the difference is significant at the level of 5 %."""
        return self.p < _ALPHA

    @property
    def verdict(self) -> str:
        """One sentence about the difference and its significance."""
        if not self.only_a + self.only_b:
            return "A and B are right on the same faces."
        edges = 100 * self.accuracy.low, 100 * self.accuracy.high
        points = 100 * self.accuracy.difference
        p = f"p = {self.p:.3f}" if self.p >= 0.001 else "p < 0.001"
        if not self.significant:
            return (
                f"B - A is {points:+.2f} points (95 % interval {edges[0]:+.2f} to "
                f"{edges[1]:+.2f}). This may be chance (McNemar's test, {p})."
            )
        better, worse = "BA" if points > 0 else "AB"
        low, high = edges if points > 0 else (-edges[1], -edges[0])
        return (
            f"{better} is more accurate than {worse} by {abs(points):.2f} points (95 % interval "
            f"{low:.2f} to {high:.2f}). The difference is significant (McNemar's test, {p})."
        )

    def to_dict(self) -> dict[str, Any]:
        extra = {"significant": self.significant, "verdict": self.verdict}
        return {**asdict(self), **extra}

    def table(self) -> str:
        """The comparison as text, for a terminal or a Markdown file."""
        rows = {"accuracy": self.accuracy, "macro F1": self.macro_f1}
        rows |= {f"{label}, recall": one for label, one in self.recall.items()}
        rows |= {f"{label}, F1": one for label, one in self.f1.items()}
        head = [f"{self.count:,} faces", "A", "B", "B - A", "95 % interval"]
        cells = [
            [
                name,
                f"{one.a:.4f}",
                f"{one.b:.4f}",
                f"{one.difference:+.4f}",
                f"{one.low:+.4f} to {one.high:+.4f}",
            ]
            for name, one in rows.items()
        ]
        return "\n".join(
            [
                *(f"{letter}: {name}" for letter, name in zip("AB", self.names, strict=True)),
                "",
                markdown_table(head, cells),
                "",
                f"Only A is right on {self.only_a:,} faces, only B on {self.only_b:,}. "
                + self.verdict,
            ]
        )


def compare(
    a: Predictions,
    b: Predictions,
    *,
    deduplicated: bool = False,
    draws: int = 10_000,
    seed: int = 0,
) -> Comparison:
    """A and B compared on the same faces; the same seed gives the same intervals.

    `deduplicated` excludes the faces with a duplicate in the training data of either result: a
    classifier may remember them.
    """
    names = a.name or "A", b.name or "B"
    _check_same_faces(a, b, names)
    kept = _without_duplicates(a, b) if deduplicated else np.ones(len(a.targets), np.bool_)
    labels = reading_order([*a.labels, *b.labels])
    targets, of_a, of_b = (
        np.array([labels.index(label) for label in one.labels], np.int64)[codes[kept]]
        for one, codes in ((a, a.targets), (a, a.predicted), (b, b.predicted))
    )
    kinds, counts = np.unique(np.stack([targets, of_a, of_b]), axis=1, return_counts=True)
    present = np.unique(targets)
    measured = _scores(counts[None], kinds, present)[0]
    low, high = _intervals(counts, kinds, present, draws, seed)
    differences = [
        Difference(float(one), float(two), float(two - one), float(least), float(most))
        for (one, two), least, most in zip(measured, low, high, strict=True)
    ]
    classes = [labels[code] for code in present]
    only_a = int(((of_a == targets) & (of_b != targets)).sum())
    only_b = int(((of_a != targets) & (of_b == targets)).sum())
    return Comparison(
        names=names,
        count=len(targets),
        accuracy=differences[0],
        macro_f1=differences[1],
        only_a=only_a,
        only_b=only_b,
        p=_mcnemar(only_a, only_b),
        recall=dict(zip(classes, differences[2 : 2 + len(classes)], strict=True)),
        f1=dict(zip(classes, differences[2 + len(classes) :], strict=True)),
    )


def _intervals(
    counts: NDArray[np.int64],
    kinds: NDArray[np.int64],
    classes: NDArray[np.int64],
    draws: int,
    seed: int,
) -> NDArray[np.float64]:
    """The 95 % intervals of B - A, from a bootstrap of the faces: (2, scores)."""
    rng = np.random.default_rng(seed)
    faces = counts.sum()
    parts = []
    left = draws
    while left:
        now = min(left, max(1, _MOST_COUNTS // len(counts)))
        parts.append(_scores(rng.multinomial(faces, counts / faces, now), kinds, classes))
        left -= now
    drawn = np.concatenate(parts)
    return np.asarray(np.nanpercentile(drawn[..., 1] - drawn[..., 0], [2.5, 97.5], axis=0))


def _scores(
    counts: NDArray[Any], kinds: NDArray[np.int64], classes: NDArray[np.int64]
) -> NDArray[np.float64]:
    """Accuracy, macro F1, each recall and each F1 of A and of B: (draws, 2 + 2 classes, 2).

    A kind of face is one target and two predictions; a row of counts has the number of each kind.
    """
    counts = counts.astype(np.float64)  # for a fast matrix product
    targets = kinds[0]
    is_class = targets[:, None] == classes
    support = counts @ is_class
    scores = []
    for codes in kinds[1:]:
        right = counts @ (is_class & (codes == targets)[:, None])
        predicted = counts @ (codes[:, None] == classes)
        with np.errstate(invalid="ignore"):
            recall = right / support
            f1 = np.where(support > 0, 2 * right / (support + predicted), np.nan)
        means = right.sum(axis=1) / support.sum(axis=1), np.nanmean(f1, axis=1)
        scores.append(np.concatenate([np.stack(means, axis=1), recall, f1], axis=1))
    return np.stack(scores, axis=-1)


def _mcnemar(only_a: int, only_b: int) -> float:
    from scipy.stats import binomtest

    return float(binomtest(only_a, only_a + only_b).pvalue) if only_a + only_b else 1.0


def _without_duplicates(a: Predictions, b: Predictions) -> NDArray[np.bool_]:
    known = [one.duplicates for one in (a, b) if one.duplicates is not None]
    if not known:
        raise DataError(
            "Neither result knows which faces have duplicates in the training data. Evaluate one "
            "with its training data: ferembed evaluate --training DATA --output FOLDER."
        )
    kept = ~np.logical_or.reduce(known)
    if not kept.any():
        raise DataError(f"All {len(kept):,} faces have a duplicate in the training data.")
    return np.asarray(kept)


def _check_same_faces(a: Predictions, b: Predictions, names: tuple[str, str]) -> None:
    if a.faces != b.faces or len(a.targets) != len(b.targets):
        both = (
            f"{name} has {len(one.targets):,} ({one.faces[:8]}…)"
            for name, one in zip(names, (a, b), strict=True)
        )
        raise DataError(
            f"The two results are of different faces: {', '.join(both)}. Evaluate both on the same "
            "split of the same data set."
        )
    one, two = (np.array(result.labels, np.str_)[result.targets] for result in (a, b))
    odd = np.flatnonzero(one != two)
    if len(odd):
        raise DataError(
            f"{len(odd):,} of the {len(one):,} faces have different labels in the two results, "
            f"for example face {odd[0] + 1}: {one[odd[0]]} in {names[0]}, {two[odd[0]]} in "
            f"{names[1]}. Evaluate both on the data set with the same labels."
        )
