"""Heads: scikit-learn classifiers on vectors, by name, with defaults and grids that suit them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from scipy.special import softmax
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.dummy import DummyClassifier
from sklearn.ensemble import BaggingClassifier, RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold, cross_val_predict
from sklearn.neighbors import KNeighborsClassifier
from sklearn.svm import SVC
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import _check_sample_weight, check_is_fitted, validate_data

from ferembed.registry import Registry


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
        random_state: int | None = 0,
    ) -> None:
        self.C = C
        self.kernel = kernel
        self.gamma = gamma
        self.class_weight = class_weight
        self.folds = folds
        self.cache_size = cache_size
        self.random_state = random_state

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> CalibratedSVC:
        X, y = validate_data(self, X, y)
        check_classification_targets(y)
        weights = _check_sample_weight(sample_weight, X)
        X, y, weights = X[weights > 0], y[weights > 0], weights[weights > 0]
        self.classes_, counts = np.unique(y, return_counts=True)
        if len(self.classes_) < 2:  # as a bag of few rows may be
            self.machine_ = DummyClassifier().fit(X, y)
            return self
        folds = min(self.folds, int(counts.min()))
        self.machine_ = SVC(
            C=self.C,
            kernel=self.kernel,
            gamma=self.gamma,
            class_weight=self.class_weight,
            cache_size=self.cache_size,
            decision_function_shape="ovo" if folds > 1 else "ovr",
        )
        if folds > 1:
            splitter = StratifiedKFold(folds, shuffle=True, random_state=self.random_state)
            unseen = cross_val_predict(
                self.machine_,
                X,
                y,
                cv=splitter,
                method="decision_function",
                params={"sample_weight": weights},
            )
            self.calibration_ = Softmax(class_weight=self.class_weight)
            self.calibration_.fit(unseen.reshape(len(X), -1), y, weights)
        self.machine_.fit(X, y, weights)
        return self

    def predict_proba(self, X: Any) -> NDArray[np.float64]:
        check_is_fitted(self)
        X = validate_data(self, X, reset=False)
        if isinstance(self.machine_, DummyClassifier):
            return np.asarray(self.machine_.predict_proba(X))
        decisions = self.machine_.decision_function(X)
        if hasattr(self, "calibration_"):
            return np.asarray(self.calibration_.predict_proba(decisions.reshape(len(X), -1)))
        if decisions.ndim == 1:
            decisions = np.stack([-decisions, decisions], axis=1)
        return np.asarray(softmax(decisions, axis=1))

    def predict(self, X: Any) -> NDArray[Any]:
        probabilities = self.predict_proba(X)
        return np.asarray(self.classes_[probabilities.argmax(axis=1)])


class Softmax(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """Multinomial logistic regression that is two arrays once it is fitted.

    scikit-learn's own cannot be opened by an older version of it; what ships must open everywhere.

    >>> X = np.array([[-2.0], [-1.0], [1.0], [2.0]])
    >>> Softmax().fit(X, ["sad", "sad", "happy", "happy"]).predict([[1.5]]).item()
    'happy'
    """

    def __init__(
        self,
        C: float = 1.0,
        *,
        class_weight: dict[Any, float] | Literal["balanced"] | None = None,
        max_iter: int = 1000,
    ) -> None:
        self.C = C
        self.class_weight = class_weight
        self.max_iter = max_iter

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Softmax:
        X, y = validate_data(self, X, y)
        model = LogisticRegression(
            C=self.C, class_weight=self.class_weight, max_iter=self.max_iter
        ).fit(X, y, sample_weight)
        self.classes_, self.n_iter_ = model.classes_, model.n_iter_
        self.coef_, self.intercept_ = model.coef_, model.intercept_
        if len(self.classes_) == 2:  # which have one row, of the second class against the first
            self.coef_ = np.concatenate([0 * self.coef_, self.coef_])
            self.intercept_ = np.concatenate([0 * self.intercept_, self.intercept_])
        return self

    def predict_proba(self, X: Any) -> NDArray[np.float64]:
        check_is_fitted(self)
        X = validate_data(self, X, reset=False)
        return np.asarray(softmax(X @ self.coef_.T + self.intercept_, axis=1))

    def predict(self, X: Any) -> NDArray[Any]:
        probabilities = self.predict_proba(X)
        return np.asarray(self.classes_[probabilities.argmax(axis=1)])


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
        CalibratedSVC,
        {"C": [0.1, 1, 10, 100, 1000], "gamma": ["scale", 0.001, 0.01, 0.1]},
    ),
    Head(
        "forest",
        "random forest",
        lambda: RandomForestClassifier(
            n_estimators=300, min_samples_leaf=2, n_jobs=-1, random_state=0
        ),
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
        lambda: KNeighborsClassifier(n_neighbors=30, weights="distance"),
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


def network_head(kernel: NDArray[Any], bias: NDArray[Any], classes: list[str]) -> Softmax:
    """A network's own last layer (d, k), as the fitted "softmax" head that computes the same."""
    order = np.argsort(classes)
    head = Softmax()
    head.classes_ = np.array(classes)[order]
    head.coef_ = np.asarray(kernel, np.float64).T[order]
    head.intercept_ = np.asarray(bias, np.float64)[order]
    head.n_features_in_ = kernel.shape[0]
    return head
