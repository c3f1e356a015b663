"""Action units: which muscles make an expression, and which confusions that leads one to expect.

The units are those of the Facial Action Coding System. An expression here is its prototype, the
units that it is usually said to consist of; faces in the wild show some of them, and others.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations, permutations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ferembed.labels import EIGHT_EXPRESSIONS

ACTION_UNITS: dict[str, frozenset[int]] = {
    "angry": frozenset({4, 5, 7, 29}),
    "disgust": frozenset({9, 15, 16}),
    "fear": frozenset({1, 2, 4, 5, 7, 20, 26}),
    "happy": frozenset({6, 12}),
    "sad": frozenset({1, 4, 15, 17}),
    "surprise": frozenset({1, 2, 5, 26}),
    "neutral": frozenset(),
    "contempt": frozenset({12, 14}),  # on one side of the face
}


def overlap(one: str, other: str) -> float:
    """How much two expressions share: common units by all units of the two (Jaccard), 0 to 1.

    Neutral has no unit, so it shares nothing with any other. That is what the measure cannot see:
    a faint expression has few of its units and looks neutral.

    >>> round(overlap("fear", "surprise"), 3), overlap("sad", "neutral")
    (0.571, 0.0)
    """
    both = ACTION_UNITS[one] | ACTION_UNITS[other]
    return len(ACTION_UNITS[one] & ACTION_UNITS[other]) / len(both) if both else 0.0


@dataclass(frozen=True)
class Pair:
    """Two expressions: what they share, and how often they are taken for each other."""

    labels: tuple[str, str]
    units: tuple[int, ...]  # in common
    overlap: float
    confusion: float  # the mean of the share of the one taken for the other, and the reverse
    count: int  # faces of the two that were


@dataclass(frozen=True)
class Correlation:
    """Spearman's rank correlation of overlap and confusion over n pairs.

    Pairs that share an expression are not independent, so `p` is not that of a table: it is the
    share of all ways to exchange the expressions' names that give as strong a correlation
    (the Mantel test, two-sided, exact).
    """

    rho: float
    n: int
    p: float


@dataclass(frozen=True)
class Confusability:
    """The confusions that action units lead one to expect, beside those that were measured.

    `correlation` is over the pairs of expressions that have units, `with_neutral` over
    those with neutral, too; None where there are too few pairs, or nothing was confused.
    `unexplained` are confused more than the typical pair (the median) and share no more units than
    it. `left_out` are labels that have no faces, or of which no units are known.
    """

    pairs: tuple[Pair, ...]
    correlation: Correlation | None
    with_neutral: Correlation | None
    unexplained: tuple[Pair, ...]
    left_out: tuple[str, ...]

    @classmethod
    def of(cls, labels: Sequence[str], confusion: ArrayLike) -> Confusability:
        """From counts: a row for each true label, a column for each answer."""
        counts = np.asarray(confusion)
        faces = counts.sum(axis=1)
        kept = [i for i, label in enumerate(labels) if label in ACTION_UNITS and faces[i]]
        pairs = []
        for i, j in combinations(kept, 2):
            one, other = labels[i], labels[j]
            shared = tuple(sorted(ACTION_UNITS[one] & ACTION_UNITS[other]))
            share = (counts[i, j] / faces[i] + counts[j, i] / faces[j]) / 2
            number = int(counts[i, j] + counts[j, i])
            pairs.append(Pair((one, other), shared, overlap(one, other), float(share), number))
        usual = float(np.median([pair.confusion for pair in pairs])) if pairs else 0.0
        typical = float(np.median([pair.overlap for pair in pairs])) if pairs else 0.0
        return cls(
            tuple(pairs),
            _correlation([pair for pair in pairs if "neutral" not in pair.labels]),
            _correlation(pairs) if "neutral" in [labels[i] for i in kept] else None,
            tuple(
                sorted(
                    (p for p in pairs if p.confusion > usual and p.overlap <= typical),
                    key=lambda pair: -pair.confusion,
                )
            ),
            tuple(label for i, label in enumerate(labels) if i not in kept),
        )


def _correlation(pairs: Sequence[Pair]) -> Correlation | None:
    labels = [label for label in EIGHT_EXPRESSIONS if any(label in pair.labels for pair in pairs)]
    expected, measured = np.zeros((2, len(labels), len(labels)))
    upper = np.triu_indices(len(labels), 1)
    place = {label: i for i, label in enumerate(labels)}
    for matrix, name in ((expected, "overlap"), (measured, "confusion")):
        for pair in pairs:
            i, j = (place[label] for label in pair.labels)
            matrix[i, j] = matrix[j, i] = getattr(pair, name)
    for matrix in (expected, measured):
        if len(labels) < 3 or np.ptp(matrix[upper]) == 0:
            return None
        matrix[upper] = _standard_ranks(matrix[upper])
        matrix.T[upper] = matrix[upper]
    orders = np.array(list(permutations(range(len(labels)))))
    exchanged = measured[orders[:, upper[0]], orders[:, upper[1]]]
    rhos = exchanged @ expected[upper]
    as_strong = np.abs(rhos) >= abs(rhos[0]) - 1e-9  # the first order is the one that was measured
    return Correlation(float(rhos[0]), len(pairs), float(as_strong.mean()))


def _standard_ranks(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Ranks, the mean of them where values are equal, whose products sum to a correlation."""
    from scipy.stats import rankdata

    ranks = rankdata(values) - (len(values) + 1) / 2
    return np.asarray(ranks / np.sqrt((ranks**2).sum()))
