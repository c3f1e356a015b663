"""Heads: scikit-learn classifiers on vectors, by name, with their defaults."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from ferembed.heads.softmax import Softmax
from ferembed.registry import Registry


@dataclass(frozen=True)
class Head:
    """A kind of head: its name, a summary and a factory."""

    name: str
    summary: str
    make: Callable[[], Any]


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
    Head("svm", "support vector machine with an RBF kernel, calibrated", _svm),
    Head("forest", "random forest", _forest),
    Head(
        "bagged-svm",
        "support vector machines, each on a share of the rows, their probabilities averaged",
        _bagged_svm,
    ),
    Head("knn", "k nearest neighbours, weighted by distance", _neighbors),
    Head(
        "softmax",
        "multinomial logistic regression: a network's last layer, trained again",
        Softmax,
    ),
    Head(
        "fourier-svm",
        "support vector machine by random Fourier features, for more rows than memory",
        _fourier_svm,
    ),
    Head(
        "approximate-knn",
        "k nearest neighbours by an index, for millions of rows",
        _approximate_neighbors,
    ),
):
    HEADS.add(_head.name, _head)
