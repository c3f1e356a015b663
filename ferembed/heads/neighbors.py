"""The head "knn": k nearest neighbours, found by matrix products."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.neighbors import NearestNeighbors
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import _check_sample_weight, check_is_fitted, validate_data

from ferembed._estimator import MostProbable
from ferembed.heads._jobs import map_row_blocks, threads_of
from ferembed.heads.pairwise_svm import squared_lengths
from ferembed.heads.votes import face_numbers
from ferembed.inference.matmul import matmul_transposed
from ferembed.inference.openvino import Floats

_GROUP = 32  # neighbours in a group, of which the nearest is found first
_EUCLIDEAN = ("minkowski", "euclidean")
_QUERIES = 256  # rows whose distances to all neighbours are in memory at a time


class Neighbors(MostProbable, ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """k nearest neighbours by one matrix product, with the predictions of scikit-learn's.

    The rows are kept as float16 where `compact`, and so are the queries: half the size.
    With sample weights, equal rows that follow each other are one neighbour, which counts for each
    of their classes with its weight: a face as `fit_on_votes` gives it.

    >>> X = np.array([[-2.0], [-1.0], [1.0], [2.0]])
    >>> Neighbors(1).fit(X, ["sad", "sad", "happy", "happy"]).predict([[1.5]]).item()
    'happy'
    """

    def __init__(
        self,
        n_neighbors: int = 5,
        *,
        weights: Literal["uniform", "distance"] = "uniform",
        metric: str = "minkowski",
        compact: bool = False,
        n_jobs: int | None = None,
    ) -> None:
        self.n_neighbors = n_neighbors
        self.weights = weights
        self.metric = metric
        self.compact = compact
        self.n_jobs = n_jobs

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Neighbors:
        X, y = validate_data(self, X, y, dtype=np.float32)
        check_classification_targets(y)
        if self.weights not in ("uniform", "distance"):
            raise ValueError(f"weights is {self.weights!r}; known: 'uniform', 'distance'.")
        if not isinstance(self.n_neighbors, (int, np.integer)) or self.n_neighbors < 1:
            raise ValueError(f"n_neighbors is {self.n_neighbors!r}; it is a whole number above 0.")
        if self.metric not in _EUCLIDEAN:  # a wrong metric fails now, not at prediction
            search = NearestNeighbors(n_neighbors=1, metric=self.metric, algorithm="brute")
            search.fit(X[:2]).kneighbors(X[:1])
        self.classes_, codes = np.unique(y, return_inverse=True)
        self.codes_ = codes.astype(np.min_scalar_type(len(self.classes_)))
        self.__dict__.pop("shares_", None)  # of an earlier fit
        if sample_weight is not None:
            weights = _check_sample_weight(sample_weight, X, dtype=np.float64)
            faces = face_numbers(X)
            self.shares_ = np.zeros((faces[-1] + 1, len(self.classes_)), np.float32)
            np.add.at(self.shares_, (faces, codes), weights)
            first = np.searchsorted(faces, np.arange(faces[-1] + 1))
            voted = self.shares_.any(axis=1)
            self.shares_ = self.shares_[voted]
            self.codes_ = self.shares_.argmax(axis=1).astype(self.codes_.dtype)
            X = X[first[voted]]
        self.scale_ = float(2 ** np.ceil(np.log2(np.abs(X).max() or 1)))
        self.rows_ = self._scaled(X).astype(np.float16 if self.compact else np.float32)
        self._ready = self._prepared()
        return self

    def _scaled(self, X: Floats) -> Floats:
        """Rows scaled to the range of float16, so that their squares do not overflow."""
        return np.asarray(np.clip(X / np.float32(self.scale_), -6e4, 6e4))

    def _prepared(self) -> tuple[Floats, Floats]:
        """The center of the rows, and what gives distances when multiplied by (-2 * row, 1).

        Those are the rows less the center and their squared lengths, and then rows out of reach up
        to a number that can be dealt to groups.
        """
        n, d = self.rows_.shape
        if n != len(self.codes_) or self.codes_.max() >= len(self.classes_):
            raise ValueError("the neighbours and their classes do not belong together")
        if hasattr(self, "shares_") and self.shares_.shape != (n, len(self.classes_)):
            raise ValueError("the neighbours and their votes do not belong together")
        extended = np.zeros((-(-n // _GROUP) * _GROUP, d + 1), np.float32)
        extended[:n, :d] = self.rows_
        center = extended[:n, :d].mean(axis=0)
        extended[:n, :d] -= center
        extended[:n, d] = squared_lengths(extended[:n, :d])
        extended[n:, d] = np.finfo(np.float32).max  # not infinity: infinity times 0 is NaN
        return center, extended

    def __getstate__(self) -> dict[str, Any]:
        state = super().__getstate__()
        return {name: value for name, value in state.items() if name != "_ready"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        if "rows_" in state:
            self._ready = self._prepared()

    def kneighbors(self, X: Any) -> tuple[NDArray[np.float64], NDArray[np.intp]]:
        """(n, k) and (n, k): the distances of the nearest rows, not sorted, and their indices."""
        check_is_fitted(self)
        X = validate_data(self, X, dtype=np.float32, reset=False)
        center, extended = self._ready
        k, n = self.n_neighbors, len(self.rows_)
        if not 1 <= k <= n:
            raise ValueError(f"n_neighbors is {k} and there are {n} rows. Ask for 1 to {n}.")
        X = self._scaled(X).astype(self.rows_.dtype).astype(np.float32)
        if self.metric not in _EUCLIDEAN:  # some mean the rows as they are, not less the center
            search = NearestNeighbors(
                n_neighbors=k, metric=self.metric, algorithm="brute", n_jobs=threads_of(self.n_jobs)
            )
            scale = np.float32(self.scale_)
            search.fit(self.rows_.astype(np.float32) * scale)
            distances, nearest = search.kneighbors(X * scale)
            return distances, nearest
        X = X - center
        rows, lengths = extended[:n, :-1], extended[:n, -1]
        own = squared_lengths(X)[:, None]
        asked = np.concatenate([-2 * X, np.ones_like(own)], axis=1)

        def find(asked: Floats) -> tuple[Floats, NDArray[np.intp]]:
            apart = matmul_transposed(asked, extended)
            nearest = _lowest(apart, k)
            return np.take_along_axis(apart, nearest, axis=1), nearest

        found, nearest = map_row_blocks(find, asked, _QUERIES, self.n_jobs)
        distances = found + own.astype(np.float64)
        one, other = np.nonzero(distances < 1e-3 * (own + lengths[nearest]))
        if len(one):  # single precision is too inexact for these
            distances[one, other] = ((X[one] - rows[nearest[one, other]]) ** 2).sum(axis=1)
        return np.sqrt(distances) * self.scale_, nearest

    def predict_proba(self, X: Any) -> NDArray[np.float64]:
        distances, nearest = self.kneighbors(X)
        weights = np.ones_like(distances)
        if self.weights == "distance":
            met = distances == 0
            with np.errstate(divide="ignore"):
                weights = np.where(met.any(axis=1, keepdims=True), met, 1 / distances)
        classes = len(self.classes_)
        if hasattr(self, "shares_"):
            shares = np.einsum("nk,nkc->nc", weights, self.shares_[nearest], optimize=True)
            return np.asarray(shares / shares.sum(axis=1, keepdims=True))
        return class_shares(self.codes_[nearest], weights, classes)


def _lowest(values: Floats, k: int) -> NDArray[np.intp]:
    """(n, k): where the k lowest values of each row are.

    Columns are dealt to groups; the k lowest values are in the k groups with the lowest of all.
    """
    groups = values.shape[1] // _GROUP
    if groups <= k:
        return np.asarray(np.argpartition(values, k - 1, axis=1)[:, :k])
    lowest = values.reshape(len(values), _GROUP, groups).min(axis=1)
    best = np.argpartition(lowest, k - 1, axis=1)[:, :k]
    columns = (best[:, None] + groups * np.arange(_GROUP)[:, None]).reshape(len(values), -1)
    within = np.take_along_axis(values, columns, axis=1)
    chosen = np.argpartition(within, k - 1, axis=1)[:, :k]
    return np.take_along_axis(columns, chosen, axis=1)


def class_shares(
    codes: NDArray[np.intp], weights: NDArray[Any], classes: int
) -> NDArray[np.float64]:
    """(n, classes): the share of each class in the weighted codes of each row."""
    places = np.arange(len(codes))[:, None] * classes + codes
    sums = np.bincount(places.ravel(), weights.ravel(), len(codes) * classes)
    sums = sums.reshape(len(codes), classes)
    return np.asarray(sums / sums.sum(axis=1, keepdims=True))
