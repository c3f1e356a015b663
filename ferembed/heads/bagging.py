"""BaggedSVC: support vector machines, each fitted on a part of the rows, and averaged."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.ensemble import BaggingClassifier
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, validate_data

from ferembed._estimator import MostProbable
from ferembed.heads.svm import CalibratedSVC


class BaggedSVC(MostProbable, ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """Bagging of calibrated support vector machines, as in scikit-learn.

    >>> X = np.array([[-2.0], [-1.0], [1.0], [2.0]] * 5)
    >>> y = ["sad", "sad", "happy", "happy"] * 5
    >>> BaggedSVC(n_estimators=2).fit(X, y).predict([[1.5]]).item()
    'happy'

    Parameters
    ----------
    estimator : the classifier that each member copies; None for CalibratedSVC()
    n_estimators : the number of members
    max_samples : the share of the rows, or if it is an int the number of rows, of each member
    n_jobs : how many members are fitted at a time
    random_state : the seed of the draws
    """

    def __init__(
        self,
        estimator: CalibratedSVC | None = None,
        *,
        n_estimators: int = 10,
        max_samples: float = 0.3,
        n_jobs: int | None = None,
        random_state: int | None = 0,
    ) -> None:
        self.estimator = estimator
        self.n_estimators = n_estimators
        self.max_samples = max_samples
        self.n_jobs = n_jobs
        self.random_state = random_state

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> BaggedSVC:
        X, y = validate_data(self, X, y, dtype=np.float32)
        check_classification_targets(y)
        rows = self.max_samples
        if isinstance(rows, float):  # newer versions of scikit-learn warn of a small share
            rows = max(1, int(rows * len(X)))
        bag = BaggingClassifier(
            CalibratedSVC() if self.estimator is None else self.estimator,
            n_estimators=self.n_estimators,
            max_samples=rows,
            n_jobs=self.n_jobs,
            random_state=self.random_state,
        ).fit(X, y, sample_weight=sample_weight)
        self.classes_ = bag.classes_
        self.members_ = list(bag.estimators_)  # whose classes are positions in `classes_`
        return self

    def predict_proba(self, X: Any) -> NDArray[np.float64]:
        check_is_fitted(self)
        X = validate_data(self, X, dtype=np.float32, reset=False)
        total = np.zeros((len(X), len(self.classes_)))
        for member in self.members_:
            total[:, member.classes_] += member.predict_proba(X)
        return np.asarray(total / len(self.members_))
