"""Heads: scikit-learn classifiers on vectors, by name, with defaults and search spaces."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from ferembed.heads.softmax import Softmax
from ferembed.registry import Registry


@dataclass(frozen=True)
class Head:
    """A kind of head: its name, a summary, a factory and a search space."""

    name: str
    summary: str
    make: Callable[[], Any]
    grid: dict[str, list[Any]] = field(default_factory=dict)


HEADS: Registry[Head] = Registry("head")


def _svm() -> Any:
    from ferembed.heads.svm import CalibratedSVC

    return CalibratedSVC(n_jobs=-1)


def _forest() -> Any:
    from ferembed.heads.forest import Forest

    return Forest(300, min_samples_leaf=2, n_jobs=-1, random_state=0)


def _bagged_svm() -> Any:
    from ferembed.heads.bagging import BaggedSVC
    from ferembed.heads.svm import CalibratedSVC

    return BaggedSVC(CalibratedSVC())


def _neighbors() -> Any:
    from ferembed.heads.neighbors import Neighbors

    return Neighbors(30, weights="distance", compact=True, n_jobs=-1)


def _fourier_svm() -> Any:
    from ferembed.heads.fourier_svm import FourierSVM

    return FourierSVM()


def _approximate_neighbors() -> Any:
    from ferembed.heads.approximate_neighbors import ApproximateNeighbors

    return ApproximateNeighbors(n_jobs=-1)


for _head in (
    Head(
        "svm",
        "support vector machine with an RBF kernel, calibrated",
        _svm,
        {"C": [0.1, 1, 10, 100, 1000], "gamma": ["scale", 0.001, 0.01, 0.1]},
    ),
    Head(
        "forest",
        "random forest",
        _forest,
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
        _bagged_svm,
        {
            "n_estimators": [5, 10, 20, 50, 100],
            "max_samples": [0.1, 0.2, 0.3, 0.5],
            "estimator__C": [0.1, 1, 10, 100],
        },
    ),
    Head(
        "knn",
        "k nearest neighbours, weighted by distance",
        _neighbors,
        {
            "n_neighbors": [1, 5, 10, 20, 30, 50, 100],
            "weights": ["uniform", "distance"],
            "metric": ["minkowski", "euclidean", "manhattan"],
        },
    ),
    Head(
        "softmax",
        "multinomial logistic regression: a network's last layer, trained again",
        Softmax,
        {"C": [0.001, 0.01, 0.1, 1, 10]},
    ),
    Head(
        "fourier-svm",
        "support vector machine by random Fourier features, for more rows than memory",
        _fourier_svm,
        {"n_components": [1024, 2048, 4096], "gamma": ["scale", 0.001, 0.01, 0.1]},
    ),
    Head(
        "approximate-knn",
        "k nearest neighbours by an index, for millions of rows",
        _approximate_neighbors,
        {"n_neighbors": [10, 30, 100], "probes": [16, 32, 64]},
    ),
):
    HEADS.add(_head.name, _head)
