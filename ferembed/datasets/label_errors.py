"""Labels that are probably wrong: those that predictions for unseen faces contradict.

The method is confident learning (Northcutt, Jiang and Chuang, 2021). A head is fitted on folds and
predicts the faces that it has not seen. Each class has a threshold: the mean probability of the
class among the faces labelled so. A face whose most probable class above its threshold is not its
label has a doubtful label, and the wider the gap between the two probabilities, the more so.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ferembed.errors import DataError
from ferembed.heads.softmax import Softmax

_C = 300  # of the head, by the number of faces: it must not learn single faces by heart


def cross_validated(
    vectors: NDArray[Any],
    codes: NDArray[Any],
    groups: NDArray[np.int64],
    *,
    folds: int = 5,
    seed: int = 0,
) -> NDArray[np.float64]:
    """(n, k): the probabilities of each face by a head that was fitted without its group.

    Faces of one group, such as duplicates, are in one fold. Classes are 0 to k - 1.
    """
    from sklearn.model_selection import StratifiedGroupKFold

    classes = int(codes.max()) + 1
    counts = [len(np.unique(groups[codes == code])) for code in range(classes)]
    rarest = min(count for count in counts if count)
    if rarest < 2 or np.count_nonzero(counts) < 2:
        raise DataError(
            "Labels are checked by folds, for which there must be two classes or more, each with "
            f"two different faces or more; the rarest has {rarest}."
        )
    deal = StratifiedGroupKFold(min(folds, rarest), shuffle=True, random_state=seed)
    probabilities = np.zeros((len(codes), classes))
    for known, queries in deal.split(vectors, codes, groups):
        mean, spread = vectors[known].mean(axis=0), vectors[known].std(axis=0) + 1e-6
        head = Softmax(C=_C / len(known)).fit((vectors[known] - mean) / spread, codes[known])
        probabilities[np.ix_(queries, head.classes_)] = head.predict_proba(
            (vectors[queries] - mean) / spread
        )
    return probabilities


def doubtful_labels(
    codes: NDArray[Any], probabilities: NDArray[np.float64]
) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """The positions of doubtful labels, the most doubtful first, and the class of each instead.

    >>> labels = np.array([0, 0, 1, 1])
    >>> shares = np.array([[0.9, 0.1], [0.2, 0.8], [0.1, 0.9], [0.4, 0.6]])
    >>> places, instead = doubtful_labels(labels, shares)
    >>> places.tolist(), instead.tolist()
    ([1], [1])
    """
    known = np.unique(codes)
    thresholds = np.full(probabilities.shape[1], np.inf)
    thresholds[known] = [probabilities[codes == code, code].mean() for code in known]
    confident = np.where(probabilities >= thresholds, probabilities, -1.0)
    best = confident.argmax(axis=1)
    places = np.flatnonzero((confident.max(axis=1) >= 0) & (best != codes))
    gap = probabilities[places, best[places]] - probabilities[places, codes[places]]
    order = places[np.argsort(-gap, kind="stable")]
    return order, best[order]
