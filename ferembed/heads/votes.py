"""Heads fitted on votes: each face is a row per class, weighted with the class's share of votes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ferembed.errors import LabelError


def fit_on_votes(head: Any, X: NDArray[Any], votes: ArrayLike, classes: Sequence[str]) -> Any:
    """The head, fitted on vectors and the votes on each: a row per face, a column per class.

    >>> from ferembed.heads.softmax import Softmax
    >>> votes = [[1, 0], [0.8, 0.2], [0, 1], [0.3, 0.7]]
    >>> head = fit_on_votes(Softmax(), np.array([[-2.0], [-1.0], [2.0], [1.0]]), votes, ["a", "b"])
    >>> head.predict([[1.5]]).item()
    'b'
    """
    from sklearn.utils.validation import has_fit_parameter

    if not has_fit_parameter(head, "sample_weight"):
        raise LabelError(
            f"The head {type(head).__name__} takes no sample weights, which votes need. Choose "
            "svm, forest, bagged-svm, knn or softmax, or fit it on one label per face."
        )
    rows, labels, weights = weighted_rows(votes, classes)
    return head.fit(X[rows], labels, sample_weight=weights)


def weighted_rows(
    votes: ArrayLike, classes: Sequence[str]
) -> tuple[NDArray[np.intp], NDArray[np.str_], NDArray[np.float64]]:
    """For each class with votes for a face: the face, the class, its share of the votes.

    The rows of a face follow each other; a face without votes has none.

    >>> rows, labels, shares = weighted_rows([[0, 3, 1], [0, 0, 0], [2, 0, 0]], ["a", "b", "c"])
    >>> rows.tolist(), labels.tolist(), shares.tolist()
    ([0, 0, 2], ['b', 'c', 'a'], [0.75, 0.25, 1.0])
    """
    counts = np.asarray(votes, np.float64)
    if counts.ndim != 2 or counts.shape[1] != len(classes):
        raise LabelError(
            f"Votes are a row per face and a column per class, ({len(classes)} classes), not "
            f"{counts.shape}."
        )
    if not np.isfinite(counts).all() or (counts < 0).any():
        raise LabelError("Votes are numbers from 0; some of these are negative or no number.")
    rows, columns = np.nonzero(counts)
    if len(np.unique(columns)) < 2:
        raise LabelError("The votes are for fewer than two classes. Give faces of two or more.")
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1e-12)
    return rows, np.array(classes, np.str_)[columns], shares[rows, columns]


def face_numbers(X: NDArray[Any]) -> NDArray[np.intp]:
    """The number of each row's face: rows of one face are equal and follow each other.

    >>> face_numbers(np.array([[1.0], [1.0], [2.0], [1.0]])).tolist()
    [0, 0, 1, 2]
    """
    return np.cumsum(np.r_[0, (X[1:] != X[:-1]).any(axis=1)])
