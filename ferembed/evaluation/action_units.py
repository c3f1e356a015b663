"""Action units of the expressions, and the confusions that shared units explain.

The units are those of the Facial Action Coding System. Each expression has its prototypical units;
faces in the wild show some of them, and others.
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
    """The Jaccard index of the units of two expressions: common units by all units, 0 to 1.

    Neutral has no units, so its overlap is 0. The measure does not see that a faint expression has
    few of its units and looks neutral.

    >>> round(overlap("fear", "surprise"), 3), overlap("sad", "neutral")
    (0.571, 0.0)
    """
    both = ACTION_UNITS[one] | ACTION_UNITS[other]
    return len(ACTION_UNITS[one] & ACTION_UNITS[other]) / len(both) if both else 0.0


@dataclass(frozen=True)
class Pair:
    """Two expressions, their common units and how often one is predicted as the other."""

    labels: tuple[str, str]
    units: tuple[int, ...]  # in common
    overlap: float
    confusion: float  # the share of one predicted as the other, mean of both directions
    count: int  # of faces of the two that were confused


@dataclass(frozen=True)
class Correlation:
    """Spearman's rank correlation of overlap and confusion over n pairs.

    Pairs that share an expression are not independent, so `p` is from the exact two-sided Mantel
    test: the share of all permutations of the expressions that correlate as strongly.
    """

    rho: float
    n: int
    p: float


@dataclass(frozen=True)
class Confusability:
    """Measured confusions compared with the overlap of action units.

    `correlation` is over the pairs of expressions that have units, `with_neutral` includes
    the pairs with neutral; None if there are too few pairs or no confusions. `unexplained` are the
    pairs that are confused more than the median pair without sharing more units. `left_out` are
    labels without faces or without known units.
    """

    pairs: tuple[Pair, ...]
    correlation: Correlation | None
    with_neutral: Correlation | None
    unexplained: tuple[Pair, ...]
    left_out: tuple[str, ...]

    @classmethod
    def from_confusion(cls, labels: Sequence[str], confusion: ArrayLike) -> Confusability:
        """From a confusion matrix of counts: a row for each label, a column for each prediction."""
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
        unexplained = [pair for pair in pairs if pair.confusion > usual and pair.overlap <= typical]
        return cls(
            pairs=tuple(pairs),
            correlation=_correlation([pair for pair in pairs if "neutral" not in pair.labels]),
            with_neutral=_correlation(pairs) if "neutral" in [labels[i] for i in kept] else None,
            unexplained=tuple(sorted(unexplained, key=lambda pair: -pair.confusion)),
            left_out=tuple(label for i, label in enumerate(labels) if i not in kept),
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
    as_strong = np.abs(rhos) >= abs(rhos[0]) - 1e-9  # the first permutation is the identity
    return Correlation(float(rhos[0]), len(pairs), float(as_strong.mean()))


def _standard_ranks(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Ranks (ties get their mean), scaled so that a product of two is their correlation."""
    from scipy.stats import rankdata

    ranks = rankdata(values) - (len(values) + 1) / 2
    return np.asarray(ranks / np.sqrt((ranks**2).sum()))
