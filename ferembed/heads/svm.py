"""The head "svm": a support vector machine with calibrated probabilities."""

from __future__ import annotations

from itertools import combinations
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from scipy.special import softmax
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.model_selection import StratifiedKFold
from sklearn.svm import SVC
from sklearn.utils.class_weight import compute_class_weight
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import _check_sample_weight, check_is_fitted, validate_data
from threadpoolctl import threadpool_limits

from ferembed._estimator import MostProbable
from ferembed.heads._jobs import threads_of
from ferembed.heads.pairwise_svm import KERNELS, Kernel, PairwiseSVM, fit_pairwise_svms
from ferembed.heads.softmax import Softmax
from ferembed.heads.votes import face_numbers
from ferembed.inference.openvino import Floats


class CalibratedSVC(MostProbable, ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """A support vector machine with calibrated probabilities that agree with its predictions.

    The machine is fitted on all rows. A logistic regression turns its decisions between each two
    classes into probabilities; it is fitted on the decisions of machines of `folds` folds on the
    rows that they have not seen. Equal rows that follow each other are one face, as `fit_on_votes`
    gives it, and go to one fold. `predict` is the most probable class. With a class of a single row
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
        if not isinstance(self.folds, (int, np.integer)):
            raise ValueError(f"folds is {self.folds!r}; it is a whole number.")
        X, y = validate_data(self, X, y, dtype=np.float32)
        check_classification_targets(y)
        self.__dict__.pop("calibration_", None)  # of an earlier fit
        weights = _check_sample_weight(sample_weight, X, dtype=np.float64)
        X, y, weights = X[weights > 0], y[weights > 0], weights[weights > 0]
        self.classes_, codes, counts = np.unique(y, return_inverse=True, return_counts=True)
        if len(self.classes_) < 2:  # as a bag of few rows may be
            self.machine_ = None
            return self
        splits = self._splits(X, codes, counts)
        classes = compute_class_weight(self.class_weight, classes=self.classes_, y=y)
        jobs = threads_of(self.n_jobs)
        self.machine_, *machines = fit_pairwise_svms(
            X,
            codes,
            [np.arange(len(X)), *(learned for learned, _ in splits)],
            weights * classes[codes],
            kernel=Kernel(self.kernel, float(self._gamma(X))),
            C=self.C,
            cache_size=self.cache_size,
            n_jobs=jobs,
        )
        if splits:
            unseen = np.empty((len(X), len(self.machine_.intercepts)))
            for machine, (_, others) in zip(machines, splits, strict=True):
                unseen[others] = machine.decisions(X[others], jobs)
            self.calibration_ = Softmax(class_weight=self.class_weight)
            with threadpool_limits(1):  # threads are slower for products this small
                self.calibration_.fit(unseen, y, weights)
        return self

    def _splits(
        self, X: Floats, codes: NDArray[np.intp], counts: NDArray[np.intp]
    ) -> list[tuple[NDArray[np.intp], NDArray[np.intp]]]:
        """The rows to train on and those to calibrate on, for each fold; [] if there are none."""
        folds = min(self.folds, int(counts.min()))
        if folds < 2:
            return []
        faces = face_numbers(X)
        if faces[-1] == len(X) - 1:
            splitter = StratifiedKFold(folds, shuffle=True, random_state=self.random_state)
            return list(splitter.split(X, codes))
        first = np.searchsorted(faces, np.arange(faces[-1] + 1))
        rarest = np.lexsort((counts[codes], faces))[first]  # of each face's classes
        order = np.random.RandomState(self.random_state).permutation(len(rarest))
        order = order[np.argsort(codes[rarest][order], kind="stable")]
        fold = np.empty(len(order), np.intp)
        fold[order] = np.arange(len(order)) % folds
        inside = [fold[faces] == number for number in range(folds)]
        if any(len(np.unique(codes[~one])) < len(counts) for one in inside):
            return []  # a class whose few faces are all in one fold
        return [(np.flatnonzero(~one), np.flatnonzero(one)) for one in inside]

    def _gamma(self, X: Floats) -> float:
        """The value of gamma, as in scikit-learn's SVC."""
        if isinstance(self.gamma, (int, float, np.number)):
            return float(self.gamma)
        if self.gamma not in ("scale", "auto"):
            raise ValueError(f"gamma is {self.gamma!r}; it is a number, 'scale' or 'auto'.")
        spread = X.var(dtype=np.float64) if self.gamma == "scale" else 1.0
        return 1 / (X.shape[1] * spread) if spread else 1.0

    def predict_proba(self, X: Any) -> NDArray[np.float64]:
        check_is_fitted(self)
        X = validate_data(self, X, dtype=np.float32, reset=False)
        if self.machine_ is None:
            return np.ones((len(X), 1))
        machine = self.machine_
        if isinstance(machine, SVC):  # of a model saved by format 1
            machine = PairwiseSVM.from_svc(machine)
        decisions = machine.decisions(X, threads_of(self.n_jobs))
        if hasattr(self, "calibration_"):
            return np.asarray(self.calibration_.predict_proba(decisions))
        return np.asarray(softmax(decisions @ _pair_signs(len(self.classes_)), axis=1))


def _pair_signs(classes: int) -> NDArray[np.float64]:
    """(pairs, classes): the sign of each class in the decision between two."""
    if classes == 2:
        return np.array([[-1.0, 1.0]])
    sides = np.zeros((classes * (classes - 1) // 2, classes))
    for row, (first, second) in zip(sides, combinations(range(classes), 2), strict=True):
        row[first], row[second] = 1, -1
    return sides
