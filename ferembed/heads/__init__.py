"""Heads: scikit-learn classifiers on vectors, by name, with defaults and grids that suit them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import combinations
from typing import Any, Literal

import numpy as np
from joblib import effective_n_jobs
from joblib.parallel import get_active_backend
from numpy.typing import NDArray
from scipy.special import softmax
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.dummy import DummyClassifier
from sklearn.ensemble import BaggingClassifier, RandomForestClassifier
from sklearn.model_selection import StratifiedKFold
from sklearn.neighbors import NearestNeighbors
from sklearn.svm import SVC
from sklearn.utils.class_weight import compute_class_weight
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import _check_sample_weight, check_is_fitted, validate_data
from threadpoolctl import threadpool_limits

from ferembed.engines import product
from ferembed.kernels import (
    KERNELS,
    Kernel,
    Machine,
    Matrix,
    fit_machines,
    in_parts,
    squared_lengths,
)
from ferembed.registry import Registry
from ferembed.softmax import Softmax

_WALKING = 256  # rows that go down the trees side by side
_GROUP = 32  # neighbours of which the nearest is found first
_EUCLIDEAN = ("minkowski", "euclidean")
_ASKED = 256  # rows whose distances from all neighbours are held at a time


class CalibratedSVC(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """A support vector machine whose probabilities are calibrated and agree with its answers.

    The machine is fitted on all rows. A logistic regression turns its decisions between each two
    classes into probabilities; it is fitted on the decisions of machines of `folds` folds on the
    rows that they have not seen. `predict` is the most probable class. With a class of a single row
    there is nothing to calibrate on: its probabilities are then a softmax of the decisions.

    >>> X = np.array([[-2.0], [-1.0], [1.0], [2.0]])
    >>> CalibratedSVC(folds=2).fit(X, ["sad", "sad", "happy", "happy"]).predict([[1.5]]).item()
    'happy'
    """

    def __init__(
        self,
        C: float = 1.0,
        *,
        kernel: str = "rbf",
        gamma: float | Literal["scale", "auto"] = "scale",
        class_weight: dict[Any, float] | Literal["balanced"] | None = None,
        folds: int = 3,
        cache_size: float = 1000,
        n_jobs: int | None = None,
        random_state: int | None = 0,
    ) -> None:
        self.C = C
        self.kernel = kernel
        self.gamma = gamma
        self.class_weight = class_weight
        self.folds = folds
        self.cache_size = cache_size
        self.n_jobs = n_jobs
        self.random_state = random_state

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> CalibratedSVC:
        if self.kernel not in KERNELS:
            raise ValueError(f"kernel is {self.kernel!r}; known: {', '.join(KERNELS)}.")
        X, y = validate_data(self, X, y, dtype=np.float32)
        check_classification_targets(y)
        self.__dict__.pop("calibration_", None)  # of an earlier fit
        weights = _check_sample_weight(sample_weight, X, dtype=np.float64)
        X, y, weights = X[weights > 0], y[weights > 0], weights[weights > 0]
        self.classes_, codes, counts = np.unique(y, return_inverse=True, return_counts=True)
        if len(self.classes_) < 2:  # as a bag of few rows may be
            self.machine_ = DummyClassifier().fit(X, y)
            return self
        folds = min(self.folds, int(counts.min()))
        splits = []
        if folds > 1:
            splitter = StratifiedKFold(folds, shuffle=True, random_state=self.random_state)
            splits = list(splitter.split(X, y))
        classes = compute_class_weight(self.class_weight, classes=self.classes_, y=y)
        jobs = _jobs(self.n_jobs)
        self.machine_, *machines = fit_machines(
            X,
            codes,
            [np.arange(len(X)), *(learned for learned, _ in splits)],
            weights * classes[codes],
            kernel=Kernel(self.kernel, self._gamma(X)),
            C=self.C,
            cache_size=self.cache_size,
            n_jobs=jobs,
        )
        if splits:
            unseen = np.empty((len(X), len(self.machine_.intercepts)))
            for machine, (_, others) in zip(machines, splits, strict=True):
                unseen[others] = machine.decisions(X[others], jobs)
            self.calibration_ = Softmax(class_weight=self.class_weight)
            with threadpool_limits(1):  # so small products lose more to threads than they win
                self.calibration_.fit(unseen, y, weights)
        return self

    def _gamma(self, X: Matrix) -> float:
        """As scikit-learn's SVC means it."""
        if isinstance(self.gamma, str):
            if self.gamma not in ("scale", "auto"):
                raise ValueError(f"gamma is {self.gamma!r}; it is a number, 'scale' or 'auto'.")
            spread = X.var(dtype=np.float64) if self.gamma == "scale" else 1.0
            return 1 / (X.shape[1] * spread) if spread else 1.0
        return self.gamma

    def predict_proba(self, X: Any) -> NDArray[np.float64]:
        check_is_fitted(self)
        X = validate_data(self, X, dtype=np.float32, reset=False)
        if isinstance(self.machine_, DummyClassifier):
            return np.asarray(self.machine_.predict_proba(X))
        machine = self.machine_
        if isinstance(machine, SVC):  # of a model that was saved when heads held one
            machine = Machine.of(machine)
        decisions = machine.decisions(X, _jobs(self.n_jobs))
        if hasattr(self, "calibration_"):
            return np.asarray(self.calibration_.predict_proba(decisions))
        return np.asarray(softmax(decisions @ _sides(len(self.classes_)), axis=1))

    def predict(self, X: Any) -> NDArray[Any]:
        probabilities = self.predict_proba(X)
        return np.asarray(self.classes_[probabilities.argmax(axis=1)])


class Forest(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """A random forest that is a few arrays once it is fitted, and megabytes instead of hundreds.

    It is scikit-learn's random forest on values that are dealt to `bins` bins with as many rows in
    each, which are sorted sooner. What the leaves say is kept to a 255th. scikit-learn's own trees
    cannot be opened by an older version of it.

    >>> X = np.array([[-2.0], [-1.0], [1.0], [2.0]])
    >>> Forest(random_state=0).fit(X, ["sad", "sad", "happy", "happy"]).predict([[1.5]]).item()
    'happy'
    """

    def __init__(
        self,
        n_estimators: int = 100,
        *,
        criterion: str = "gini",
        max_depth: int | None = None,
        min_samples_split: float = 2,
        min_samples_leaf: float = 1,
        max_features: float | str | None = "log2",
        max_leaf_nodes: int | None = None,
        bootstrap: bool = True,
        max_samples: float | None = None,
        class_weight: dict[Any, float] | str | None = None,
        bins: int = 128,
        n_jobs: int | None = None,
        random_state: int | None = None,
    ) -> None:
        self.n_estimators = n_estimators
        self.criterion = criterion
        self.max_depth = max_depth
        self.min_samples_split = min_samples_split
        self.min_samples_leaf = min_samples_leaf
        self.max_features = max_features
        self.max_leaf_nodes = max_leaf_nodes
        self.bootstrap = bootstrap
        self.max_samples = max_samples
        self.class_weight = class_weight
        self.bins = bins
        self.n_jobs = n_jobs
        self.random_state = random_state

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Forest:
        X, y = validate_data(self, X, y, dtype=np.float32)
        check_classification_targets(y)
        if not 2 <= self.bins <= 256:
            raise ValueError(f"bins is {self.bins!r}; it is a number from 2 to 256.")
        own = {name: value for name, value in self.get_params().items() if name != "bins"}
        forest = RandomForestClassifier(**{**own, "n_jobs": _jobs(self.n_jobs)})
        self.edges_ = _edges(X, self.bins)
        forest.fit(_binned(X, self.edges_), y, sample_weight)
        self.classes_ = forest.classes_
        self._keep([tree.tree_ for tree in forest.estimators_])
        self._walk = self._prepared()
        return self

    def _keep(self, trees: list[Any]) -> None:
        """All trees as one list of nodes, level by level.

        So the children of the k-th node that splits are the nodes 2k and 2k + 1 behind the roots,
        and nothing has to say so.
        """
        firsts = np.cumsum([0, *(tree.node_count for tree in trees)])
        left, right = (
            np.concatenate(
                [getattr(tree, side) + first for tree, first in zip(trees, firsts, strict=False)]
            )
            for side in ("children_left", "children_right")
        )
        features, splits, shares = (
            np.concatenate([getattr(tree, name) for tree in trees])
            for name in ("feature", "threshold", "value")
        )
        level, levels = firsts[:-1], []
        while len(level):
            levels.append(level)
            level = level[features[level] >= 0]
            level = np.stack([left[level], right[level]], axis=1).ravel()
        order = np.concatenate(levels)
        leaf = features[order] < 0
        kind = np.min_scalar_type(self.n_features_in_)  # which as a feature stands for a leaf
        self.features_ = np.where(leaf, self.n_features_in_, features[order]).astype(kind)
        self.splits_ = splits[order[~leaf]].astype(np.uint8)
        shares = shares[order[leaf], 0]
        shares /= shares.sum(axis=1, keepdims=True)
        self.shares_ = np.rint(shares * 255).astype(np.uint8)

    def _prepared(self) -> tuple[NDArray[Any], ...]:
        """What a walk down the trees looks up: a leaf leads back to itself."""
        leaf = self.features_ == self.n_features_in_
        count = len(leaf) - 2 * len(self.splits_)
        nodes = np.arange(len(leaf), dtype=np.int32)
        child = np.where(leaf, nodes, count + 2 * np.cumsum(~leaf, dtype=np.int32) - 2)
        if count < 1 or (child[~leaf] <= nodes[~leaf]).any() or leaf.sum() != len(self.shares_):
            raise ValueError("the nodes are no forest")
        features = np.where(leaf, 0, self.features_).astype(np.int32)
        thresholds = np.full(len(leaf), np.inf, np.float32)
        thresholds[~leaf] = self.edges_[features[~leaf], self.splits_]
        leaves = np.cumsum(leaf, dtype=np.int32) - 1
        return np.arange(count, dtype=np.int32), child, features, thresholds, leaves

    def __getstate__(self) -> dict[str, Any]:
        state = super().__getstate__()
        return {name: value for name, value in state.items() if name != "_walk"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        if "features_" in state:
            self._walk = self._prepared()

    def predict_proba(self, X: Any) -> NDArray[np.float64]:
        check_is_fitted(self)
        X = validate_data(self, X, dtype=np.float32, reset=False)
        roots, child, features, thresholds, leaves = self._walk
        shares = np.empty((len(X), len(self.classes_)))
        for start in range(0, len(X), _WALKING):
            rows = X[start : start + _WALKING]
            begins = np.repeat(np.arange(len(rows), dtype=np.int32) * X.shape[1], len(roots))
            values, at = rows.ravel(), np.tile(roots, len(rows))
            while True:
                beyond = values.take(begins + features.take(at)) > thresholds.take(at)
                below = child.take(at) + beyond
                if (below == at).all():
                    break
                at = below
            reached = leaves.take(at).reshape(len(rows), -1)
            found = self.shares_[reached].sum(axis=1, dtype=np.uint32)
            shares[start : start + _WALKING] = found
        return np.asarray(shares / shares.sum(axis=1, keepdims=True))

    def predict(self, X: Any) -> NDArray[Any]:
        probabilities = self.predict_proba(X)
        return np.asarray(self.classes_[probabilities.argmax(axis=1)])


def _edges(X: Matrix, bins: int) -> Matrix:
    """(d, bins - 1 or fewer): where trees may split, halfway between two values; then infinity."""
    step = max(1, len(X) // 10_000)
    ordered = np.sort(X[::step].T, axis=1)
    n = ordered.shape[1]
    places = np.unique(np.linspace(0, n - 1, bins + 1)[1:-1].astype(int))
    edges = np.full((len(ordered), len(places)), np.inf, np.float32)
    for row, column in zip(edges, ordered, strict=True):
        below = np.unique(column[places])
        next_ones = np.searchsorted(column, below, side="right")
        next_ones = next_ones[next_ones < n]
        row[: len(next_ones)] = (below[: len(next_ones)] + column[next_ones]) / 2
    return edges


def _binned(X: Matrix, edges: Matrix) -> Matrix:
    """The number of the bin of each value, column by column, as trees read it."""
    numbers = np.empty(X.shape[::-1], np.float32)
    for number, column, ends in zip(numbers, X.T, edges, strict=True):
        number[:] = np.searchsorted(ends, column)
    return np.asarray(numbers.T)


class Neighbors(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """k nearest neighbours, found by one matrix product, that answer as scikit-learn's do.

    The rows are kept as float16 where `compact`, and so are those asked about: half the size.

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

    def fit(self, X: Any, y: Any) -> Neighbors:
        X, y = validate_data(self, X, y, dtype=np.float32)
        check_classification_targets(y)
        if self.weights not in ("uniform", "distance"):
            raise ValueError(f"weights is {self.weights!r}; known: 'uniform', 'distance'.")
        if not isinstance(self.n_neighbors, (int, np.integer)) or self.n_neighbors < 1:
            raise ValueError(f"n_neighbors is {self.n_neighbors!r}; it is a whole number above 0.")
        if self.metric not in _EUCLIDEAN:  # one that fails does so now, not when it is asked
            search = NearestNeighbors(n_neighbors=1, metric=self.metric, algorithm="brute")
            search.fit(X[:2]).kneighbors(X[:1])
        self.classes_, codes = np.unique(y, return_inverse=True)
        self.codes_ = codes.astype(np.min_scalar_type(len(self.classes_)))
        self.scale_ = float(2 ** np.ceil(np.log2(np.abs(X).max() or 1)))
        self.rows_ = self._scaled(X).astype(np.float16 if self.compact else np.float32)
        self._ready = self._prepared()
        return self

    def _scaled(self, X: Matrix) -> Matrix:
        """Rows at a scale at which float16 holds them, and squares are no infinity."""
        return np.asarray(np.clip(X / np.float32(self.scale_), -6e4, 6e4))

    def _prepared(self) -> tuple[Matrix, Matrix]:
        """The center of the rows, and what gives distances when multiplied by (-2 * row, 1).

        Those are the rows less the center and their squared lengths, and then rows out of reach up
        to a number that can be dealt to groups.
        """
        n, d = self.rows_.shape
        if n != len(self.codes_) or self.codes_.max() >= len(self.classes_):
            raise ValueError("the neighbours and their classes do not belong together")
        extended = np.zeros((-(-n // _GROUP) * _GROUP, d + 1), np.float32)
        extended[:n, :d] = self.rows_
        center = extended[:n, :d].mean(axis=0)
        extended[:n, :d] -= center
        extended[:n, d] = squared_lengths(extended[:n, :d])
        extended[n:, d] = np.finfo(np.float32).max  # infinity times nothing is no number
        return center, extended

    def __getstate__(self) -> dict[str, Any]:
        state = super().__getstate__()
        return {name: value for name, value in state.items() if name != "_ready"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        if "rows_" in state:
            self._ready = self._prepared()

    def kneighbors(self, X: Any) -> tuple[NDArray[np.float64], NDArray[np.intp]]:
        """(n, k) and (n, k): how far the nearest rows are, in no order, and which they are."""
        check_is_fitted(self)
        X = validate_data(self, X, dtype=np.float32, reset=False)
        center, extended = self._ready
        k, n = self.n_neighbors, len(self.rows_)
        if not 1 <= k <= n:
            raise ValueError(f"n_neighbors is {k} and there are {n} rows. Ask for 1 to {n}.")
        X = self._scaled(X).astype(self.rows_.dtype).astype(np.float32)
        if self.metric not in _EUCLIDEAN:  # some mean the rows as they are, not less the center
            search = NearestNeighbors(
                n_neighbors=k, metric=self.metric, algorithm="brute", n_jobs=_jobs(self.n_jobs)
            )
            scale = np.float32(self.scale_)
            search.fit(self.rows_.astype(np.float32) * scale)
            distances, nearest = search.kneighbors(X * scale)
            return distances, nearest
        X = X - center
        rows, lengths = extended[:n, :-1], extended[:n, -1]
        own = squared_lengths(X)[:, None]
        asked = np.concatenate([-2 * X, np.ones_like(own)], axis=1)

        def find(asked: Matrix) -> tuple[Matrix, NDArray[np.intp]]:
            apart = product(asked, extended)
            nearest = _lowest(apart, k)
            return np.take_along_axis(apart, nearest, axis=1), nearest

        found, nearest = in_parts(find, asked, _ASKED, _jobs(self.n_jobs))
        distances = found + own.astype(np.float64)
        one, other = np.nonzero(distances < 1e-3 * (own + lengths[nearest]))
        if len(one):  # there single precision cancels out
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
        places = np.arange(len(nearest))[:, None] * classes + self.codes_[nearest]
        shares = np.bincount(places.ravel(), weights.ravel(), len(nearest) * classes)
        shares = shares.reshape(len(nearest), classes)
        return np.asarray(shares / shares.sum(axis=1, keepdims=True))

    def predict(self, X: Any) -> NDArray[Any]:
        probabilities = self.predict_proba(X)
        return np.asarray(self.classes_[probabilities.argmax(axis=1)])


def _lowest(values: Matrix, k: int) -> NDArray[np.intp]:
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


def _jobs(n_jobs: int | None) -> int:
    """How many threads to start: one in a worker of joblib, whose siblings have other cores."""
    backend, _ = get_active_backend()
    if n_jobs is not None and n_jobs < 0 and backend.nesting_level:
        return 1
    return int(effective_n_jobs(n_jobs))


def _sides(classes: int) -> NDArray[np.float64]:
    """(pairs, classes): for which class a decision between two speaks, and against which."""
    if classes == 2:
        return np.array([[-1.0, 1.0]])
    sides = np.zeros((classes * (classes - 1) // 2, classes))
    for row, (first, second) in zip(sides, combinations(range(classes), 2), strict=True):
        row[first], row[second] = 1, -1
    return sides


@dataclass(frozen=True)
class Head:
    """A kind of head: how to make one, what to search, and what it is good for."""

    name: str
    summary: str
    make: Callable[[], Any]
    grid: dict[str, list[Any]] = field(default_factory=dict)


HEADS: Registry[Head] = Registry("head")

for _head in (
    Head(
        "svm",
        "support vector machine with an RBF kernel, calibrated",
        lambda: CalibratedSVC(n_jobs=-1),
        {"C": [0.1, 1, 10, 100, 1000], "gamma": ["scale", 0.001, 0.01, 0.1]},
    ),
    Head(
        "forest",
        "random forest",
        lambda: Forest(300, min_samples_leaf=2, n_jobs=-1, random_state=0),
        {
            "n_estimators": [300, 1000, 2000],
            "criterion": ["gini", "entropy"],
            "max_depth": [None, 10, 20],
            "min_samples_split": [2, 5, 10],
            "min_samples_leaf": [1, 2, 4],
            "bootstrap": [True, False],
        },
    ),
    Head(
        "bagged-svm",
        "support vector machines, each on a share of the rows, their probabilities averaged",
        lambda: BaggingClassifier(
            CalibratedSVC(), n_estimators=10, max_samples=0.3, random_state=0
        ),
        {
            "n_estimators": [5, 10, 20, 50, 100],
            "max_samples": [0.1, 0.2, 0.3, 0.5],
            "estimator__C": [0.1, 1, 10, 100],
        },
    ),
    Head(
        "knn",
        "k nearest neighbours, weighted by distance",
        lambda: Neighbors(30, weights="distance", compact=True, n_jobs=-1),
        {
            "n_neighbors": [1, 5, 10, 20, 30, 50, 100],
            "weights": ["uniform", "distance"],
            "metric": ["minkowski", "euclidean", "manhattan"],
        },
    ),
    Head(
        "softmax",
        "multinomial logistic regression: a network's last layer, learned again",
        Softmax,
        {"C": [0.001, 0.01, 0.1, 1, 10]},
    ),
):
    HEADS.add(_head.name, _head)
