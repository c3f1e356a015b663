"""ApproximateNeighbors: k nearest neighbours among millions of rows, by an index of faiss."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, validate_data

from ferembed._estimator import MostProbable
from ferembed.errors import MissingExtra
from ferembed.heads._jobs import threads_of
from ferembed.heads.batches import Batches, batches_of, summarize
from ferembed.heads.neighbors import class_shares
from ferembed.inference.openvino import Floats

_PER_LIST = 64  # rows of the sample for each list, which place its center
_ADDED = 65_536  # rows put into the index at a time
_QUERIES = 512  # rows whose neighbours are also found exactly, for the recall


class ApproximateNeighbors(MostProbable, ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """k nearest neighbours, most of them: rows are dealt to lists, and few lists are searched.

    `recall_` is the share of the exact neighbours that are found, measured on rows drawn at random.
    Rows are kept as float16.

    >>> X = np.array([[-2.0], [-1.0], [1.0], [2.0]])
    >>> ApproximateNeighbors(1).fit(X, ["sad", "sad", "happy", "happy"]).predict([[1.5]]).item()
    'happy'

    Parameters
    ----------
    n_neighbors : how many neighbours vote
    weights : "uniform", or "distance" where nearer ones count more
    lists : of the index; fewer where there are few rows
    probes : lists that are searched for each row; more find more, and take longer
    """

    def __init__(
        self,
        n_neighbors: int = 30,
        *,
        weights: Literal["uniform", "distance"] = "distance",
        lists: int = 1024,
        probes: int = 32,
        n_jobs: int | None = None,
        random_state: int | None = 0,
    ) -> None:
        self.n_neighbors = n_neighbors
        self.weights = weights
        self.lists = lists
        self.probes = probes
        self.n_jobs = n_jobs
        self.random_state = random_state

    def fit(self, X: Any, y: Any) -> ApproximateNeighbors:
        X, y = validate_data(self, X, y, dtype=np.float32)
        check_classification_targets(y)
        classes, codes = np.unique(y, return_inverse=True)
        return self.fit_batches(batches_of(X, codes), classes)

    def fit_batches(self, batches: Batches, classes: Any) -> ApproximateNeighbors:
        """Fit on rows that come in batches, with the positions of their labels in `classes`."""
        if self.weights not in ("uniform", "distance"):
            raise ValueError(f"weights is {self.weights!r}; known: 'uniform', 'distance'.")
        if not isinstance(self.n_neighbors, (int, np.integer)) or self.n_neighbors < 1:
            raise ValueError(f"n_neighbors is {self.n_neighbors!r}; it is a whole number above 0.")
        faiss = _import_faiss()
        self.classes_ = np.asarray(classes)
        seed = int(np.random.default_rng(self.random_state).integers(2**31))
        facts = summarize(batches, len(self.classes_), self.lists * _PER_LIST, seed)
        self.n_features_in_ = facts.sample.shape[1]
        lists = max(1, min(self.lists, len(facts.sample) // _PER_LIST))
        clusters = faiss.Kmeans(
            self.n_features_in_, lists, niter=10, seed=seed % 2**30, min_points_per_centroid=1
        )
        clusters.train(np.ascontiguousarray(facts.sample))
        self.centers_ = np.asarray(clusters.centroids, np.float32)
        self._index = self._new_index()
        codes = []
        for X, numbers in batches(_ADDED, None):
            self._index.add(np.ascontiguousarray(X))
            codes.append(numbers.astype(np.min_scalar_type(len(self.classes_))))
        self.codes_ = np.concatenate(codes)
        self.recall_ = self._recall(facts.sample[:_QUERIES])
        return self

    def _new_index(self) -> Any:
        faiss = _import_faiss()
        lists, dim = self.centers_.shape
        index = faiss.IndexIVFScalarQuantizer(
            faiss.IndexFlatL2(dim), dim, lists, faiss.ScalarQuantizer.QT_fp16, faiss.METRIC_L2
        )
        index.quantizer.add(self.centers_)
        index.by_residual = False
        index.train(self.centers_)
        return index

    def _recall(self, queries: Floats) -> float:
        """The share of the exact neighbours that are found; a row itself does not count."""
        k = min(self.n_neighbors + 1, len(self.codes_))
        found, exact = (
            self._search(queries, k, probes)[1] for probes in (self.probes, len(self.centers_))
        )
        both = [len(np.intersect1d(*pair)) for pair in zip(found, exact, strict=True)]
        return float((np.sum(both) - len(queries)) / max(1, len(queries) * (k - 1)))

    def _search(self, X: Floats, k: int, probes: int) -> tuple[Floats, NDArray[np.int64]]:
        faiss = _import_faiss()
        faiss.omp_set_num_threads(threads_of(self.n_jobs))
        parameters = faiss.SearchParametersIVF(nprobe=min(probes, len(self.centers_)))
        squared, nearest = self._index.search(np.ascontiguousarray(X), k, params=parameters)
        return np.sqrt(np.maximum(squared, 0)), nearest

    def kneighbors(self, X: Any) -> tuple[Floats, NDArray[np.int64]]:
        """(n, k) and (n, k): distances and rows, the nearest first; row -1 where none was found."""
        check_is_fitted(self)
        X = validate_data(self, X, dtype=np.float32, reset=False)
        if self.n_neighbors > len(self.codes_):
            raise ValueError(
                f"n_neighbors is {self.n_neighbors} and there are {len(self.codes_)} rows. Ask for "
                "fewer."
            )
        return self._search(X, self.n_neighbors, self.probes)

    def predict_proba(self, X: Any) -> NDArray[np.float64]:
        distances, nearest = self.kneighbors(X)
        weights = np.ones(distances.shape)
        if self.weights == "distance":
            met = distances == 0
            with np.errstate(divide="ignore"):
                inverse = 1 / distances.astype(np.float64)
            weights = np.where(met.any(axis=1, keepdims=True), met, inverse)
        weights = np.where(nearest < 0, 0, weights)
        classes = len(self.classes_)
        return class_shares(self.codes_[nearest], weights, classes)

    def __getstate__(self) -> dict[str, Any]:
        """The rows as an array instead of the index, which is not read from files."""
        state = dict(super().__getstate__())
        index = state.pop("_index", None)
        if index is not None:
            index.make_direct_map()
            state["rows_"] = index.reconstruct_n(0, index.ntotal).astype(np.float16)
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        rows = state.pop("rows_", None)
        super().__setstate__(state)
        if rows is not None:
            if rows.shape != (len(self.codes_), self.centers_.shape[1]):
                raise ValueError("the neighbours and their classes do not belong together")
            self._index = self._new_index()
            for start in range(0, len(rows), _ADDED):
                self._index.add(rows[start : start + _ADDED].astype(np.float32))


def _import_faiss() -> Any:
    try:
        import faiss
    except ImportError:
        raise MissingExtra(
            "The head 'approximate-knn' needs faiss. Run: pip install 'ferembed[faiss]'"
        ) from None
    return faiss
