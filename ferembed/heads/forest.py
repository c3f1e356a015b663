"""The head "forest": a random forest, stored compactly. It predicts without scikit-learn."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ferembed._estimator import Classifier, checked_rows, require_fitted
from ferembed.heads._jobs import map_row_blocks, threads_of
from ferembed.inference.openvino import Floats

_ROWS_AT_A_TIME = 256  # rows that walk down the trees together
_STILL_GOING = 7 / 8  # of them: when fewer still walk, those that arrived are left out


class Forest(Classifier):
    """A random forest stored as a few arrays, in megabytes instead of hundreds of them.

    It is scikit-learn's random forest on values that are dealt to `bins` bins with as many rows in
    each, which are sorted sooner. What the leaves say is kept to a 255th. scikit-learn's own trees
    cannot be opened by an older version of it.

    The probabilities are the mean of the trees, raised to 1 / `temperature` and divided by their
    sum: below 1 they become more confident, as the mean of many trees is less so than it is right.

    >>> X = np.array([[-2.0], [-1.0], [1.0], [2.0]])
    >>> Forest(random_state=0).fit(X, ["sad", "sad", "happy", "happy"]).predict([[1.5]]).item()
    'happy'
    """

    classes_: NDArray[Any]
    edges_: Floats
    features_: NDArray[Any]
    splits_: NDArray[np.uint8]
    shares_: NDArray[np.uint8]
    n_features_in_: int

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
        temperature: float = 1.0,
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
        self.temperature = temperature
        self.n_jobs = n_jobs
        self.random_state = random_state

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Forest:
        from sklearn.ensemble import RandomForestClassifier
        from sklearn.utils.multiclass import check_classification_targets
        from sklearn.utils.validation import validate_data

        X, y = validate_data(self, X, y, dtype=np.float32)
        check_classification_targets(y)
        if not isinstance(self.bins, (int, np.integer)) or not 2 <= self.bins <= 256:
            raise ValueError(f"bins is {self.bins!r}; it is a number from 2 to 256.")
        self.check_temperature()
        own = self.get_params()
        del own["bins"], own["temperature"]
        forest = RandomForestClassifier(**{**own, "n_jobs": threads_of(self.n_jobs)})
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
        kind = np.min_scalar_type(self.n_features_in_)  # this number marks a leaf
        self.features_ = np.where(leaf, self.n_features_in_, features[order]).astype(kind)
        self.splits_ = splits[order[~leaf]].astype(np.uint8)
        shares = shares[order[leaf], 0]
        shares /= shares.sum(axis=1, keepdims=True)
        self.shares_ = np.rint(shares * 255).astype(np.uint8)

    def _prepared(self) -> tuple[NDArray[Any], ...]:
        """The lookup arrays of a walk down the trees; the child of a leaf is the leaf."""
        leaf = self.features_ == self.n_features_in_
        count = len(leaf) - 2 * len(self.splits_)
        nodes = np.arange(len(leaf), dtype=np.int32)
        child = np.where(leaf, nodes, count + 2 * np.cumsum(~leaf, dtype=np.int32) - 2)
        child = child.astype(np.int32)
        if count < 1 or (child[~leaf] <= nodes[~leaf]).any() or leaf.sum() != len(self.shares_):
            raise ValueError("the nodes are no forest")
        features = np.where(leaf, 0, self.features_).astype(np.int32)
        thresholds = np.full(len(leaf), np.inf, np.float32)
        thresholds[~leaf] = self.edges_[features[~leaf], self.splits_]
        leaves = np.cumsum(leaf, dtype=np.int32) - 1
        return np.arange(count, dtype=np.int32), child, features, thresholds, leaves

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if name != "_walk"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update({"temperature": 1.0} | state)  # which a pickle of an older version lacks
        if "features_" in state:
            self._walk = self._prepared()

    def predict_proba(self, X: Any) -> NDArray[np.float64]:
        require_fitted(self, "features_")
        self.check_temperature()
        X = checked_rows(self, X, np.float32)
        (shares,) = map_row_blocks(self._found, X, _ROWS_AT_A_TIME, self.n_jobs)
        shares = (shares / shares.max(axis=1, keepdims=True)) ** (1 / self.temperature)
        return np.asarray(shares / shares.sum(axis=1, keepdims=True))

    def check_temperature(self) -> None:
        """Raise a ValueError unless it is in range."""
        number = isinstance(self.temperature, (int, float, np.number))
        if not number or not 0.1 <= self.temperature <= 10:
            raise ValueError(f"temperature is {self.temperature!r}; it is a number from 0.1 to 10.")

    def _found(self, rows: Floats) -> tuple[NDArray[np.uint32]]:
        """The sums of the class shares in the leaves that the rows reach."""
        roots, child, features, thresholds, leaves = self._walk
        values, at = rows.ravel(), np.tile(roots, len(rows))
        begins = np.repeat(np.arange(len(rows), dtype=np.int32) * rows.shape[1], len(roots))
        reached = np.empty(len(at), np.int32)
        places = np.arange(len(at), dtype=np.int32)
        while len(at):
            beyond = values.take(begins + features.take(at)) > thresholds.take(at)
            below = child.take(at) + beyond
            going = np.flatnonzero(below != at)
            if len(going) > _STILL_GOING * len(at):
                at = below
            else:  # the others have arrived and are not looked at again
                reached[places] = below
                at, begins, places = (some.take(going) for some in (below, begins, places))
        shares = self.shares_[leaves.take(reached).reshape(len(rows), -1)]
        return (shares.sum(axis=1, dtype=np.uint32),)


def _edges(X: Floats, bins: int) -> Floats:
    """(d, at most bins - 1): possible splits, halfway between two values, filled with infinity."""
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


def _binned(X: Floats, edges: Floats) -> Floats:
    """The bin number of each value, in column order."""
    numbers = np.empty(X.shape[::-1], np.float32)
    for number, column, ends in zip(numbers, X.T, edges, strict=True):
        number[:] = np.searchsorted(ends, column)
    return np.asarray(numbers.T)
