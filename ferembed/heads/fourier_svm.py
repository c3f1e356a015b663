"""FourierSVM: a support vector machine for more rows than memory, by random Fourier features."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import cho_factor, cho_solve
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.kernel_approximation import RBFSampler
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, validate_data
from threadpoolctl import threadpool_limits

from ferembed._estimator import MostProbable
from ferembed.heads.batches import Batches, Codes, batches_of, summarize
from ferembed.heads.softmax import Softmax
from ferembed.inference.openvino import Floats

_BLOCK = 4096  # rows whose features are held at a time
_HELD_OUT = 16_384  # rows that choose the penalty and calibrate; at most half of all
_PENALTIES = (1e-6, 1e-5, 1e-4, 1e-3)


class FourierSVM(MostProbable, ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """A least-squares support vector machine with an RBF kernel, in two passes over the rows.

    The kernel is replaced by `n_components` random features, whose products the second pass adds
    up: time grows with the rows, and memory does not. Rows that are drawn at random choose the
    penalty and calibrate the probabilities. They are unseen by the machine that they do this with,
    and not by the one that is kept.

    >>> X = np.array([[-2.0], [-1.0], [1.0], [2.0]])
    >>> FourierSVM().fit(X, ["sad", "sad", "happy", "happy"]).predict([[1.5]]).item()
    'happy'

    Parameters
    ----------
    n_components : random features; more come nearer to the exact kernel
    gamma : of the kernel, "scale" as scikit-learn's SVC means it
    penalty : on the squared coefficients, for each row; "auto" takes the best of some
    """

    def __init__(
        self,
        n_components: int = 2048,
        *,
        gamma: float | Literal["scale"] = "scale",
        penalty: float | Literal["auto"] = "auto",
        random_state: int | None = 0,
    ) -> None:
        self.n_components = n_components
        self.gamma = gamma
        self.penalty = penalty
        self.random_state = random_state

    def fit(self, X: Any, y: Any) -> FourierSVM:
        X, y = validate_data(self, X, y, dtype=np.float32)
        check_classification_targets(y)
        classes, codes = np.unique(y, return_inverse=True)
        return self.fit_batches(batches_of(X, codes), classes)

    def fit_batches(self, batches: Batches, classes: Any) -> FourierSVM:
        """Fit on rows that come in batches, with the positions of their labels in `classes`."""
        self.classes_ = np.asarray(classes)
        if len(self.classes_) < 2:
            raise ValueError(f"The labels have one class, {self.classes_.tolist()}; give two.")
        seed = int(np.random.default_rng(self.random_state).integers(2**31))
        facts = summarize(batches, len(self.classes_), _HELD_OUT, seed)
        self.n_features_in_ = facts.sample.shape[1]
        variance = float(np.mean(facts.spread**2) + np.var(facts.mean))
        gamma = 1 / (self.n_features_in_ * variance) if self.gamma == "scale" else self.gamma
        sampler = RBFSampler(
            gamma=gamma, n_components=self.n_components, random_state=self.random_state
        ).fit(facts.sample[:1])
        self.waves_ = sampler.random_weights_.astype(np.float32)
        self.phases_ = sampler.random_offset_.astype(np.float32)

        sums = _Sums(self.n_components, len(self.classes_))
        for X, codes in batches(_BLOCK, None):
            sums.add(self._features(X), codes)
        some, codes = facts.sample, facts.codes
        if 2 * len(some) > facts.rows:
            half = [np.flatnonzero(codes == code)[::2] for code in range(len(self.classes_))]
            some, codes = some[np.concatenate(half)], codes[np.concatenate(half)]
        features = self._features(some)
        unseen = sums.without(features, codes)
        decisions = {
            penalty: _decide(features, *unseen.solve(penalty))
            for penalty in (_PENALTIES if self.penalty == "auto" else (self.penalty,))
        }
        self.penalty_ = max(
            decisions, key=lambda penalty: (decisions[penalty].argmax(axis=1) == codes).mean()
        )
        self.coef_, self.intercept_ = sums.solve(self.penalty_)
        self.calibration_ = Softmax().fit(decisions[self.penalty_], self.classes_[codes])
        return self

    def _features(self, X: NDArray[Any]) -> NDArray[Any]:
        waves = X @ self.waves_
        waves += self.phases_
        np.cos(waves, out=waves)
        waves *= np.sqrt(2 / len(self.phases_))
        return np.asarray(waves)

    def predict_proba(self, X: Any) -> NDArray[np.float64]:
        check_is_fitted(self)
        X = validate_data(self, X, dtype=np.float32, reset=False)
        # In double precision, so that a row alone has the probabilities that it has among others.
        blocks = (X[i : i + _BLOCK].astype(np.float64) for i in range(0, len(X), _BLOCK))
        parts = [_decide(self._features(block), self.coef_, self.intercept_) for block in blocks]
        return np.asarray(self.calibration_.predict_proba(np.concatenate(parts)))


def _decide(
    features: NDArray[Any], coefficients: NDArray[np.float64], intercepts: NDArray[np.float64]
) -> NDArray[np.float64]:
    return np.asarray(features @ coefficients.astype(features.dtype) + intercepts)


class _Sums:
    """The sums over all rows that least squares needs: products of features and classes."""

    def __init__(self, components: int, classes: int) -> None:
        self.counts = np.zeros(classes)
        self.features = np.zeros(components)
        self.products = np.zeros((components, components))
        self.targets = np.zeros((components, classes))

    def add(self, features: Floats, codes: Codes, sign: int = 1) -> None:
        classes = len(self.counts)
        self.counts += sign * np.bincount(codes, minlength=classes)
        self.features += sign * features.sum(axis=0, dtype=np.float64)
        self.products += sign * (features.T @ features)
        self.targets += sign * (features.T @ np.eye(classes, dtype=np.float32)[codes])

    def without(self, features: Floats, codes: Codes) -> _Sums:
        rest = _Sums(len(self.features), len(self.counts))
        for name, value in vars(self).items():
            setattr(rest, name, value.copy())
        rest.add(features, codes, sign=-1)
        return rest

    def solve(self, penalty: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Coefficients (components, classes) and intercepts."""
        count = self.counts.sum()
        mean, shares = self.features / count, self.counts / count
        products = self.products - count * np.outer(mean, mean)
        products[np.diag_indices_from(products)] += penalty * count
        targets = self.targets - count * np.outer(mean, shares)
        with threadpool_limits(1, "blas"):  # threads of a busy machine wait long for each other
            coefficients = cho_solve(cho_factor(products, overwrite_a=True), targets)
        return coefficients, shares - mean @ coefficients
