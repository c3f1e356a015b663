"""Softmax: multinomial logistic regression, as a network's last layer. Predicts without sklearn."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from ferembed._estimator import Classifier, checked_rows, require_fitted

if TYPE_CHECKING:
    from ferembed.heads.batches import Batches


class Softmax(Classifier):
    """Multinomial logistic regression, stored as two arrays.

    scikit-learn's own cannot be opened by an older version of it; what ships must open everywhere.

    >>> X = np.array([[-2.0], [-1.0], [1.0], [2.0]])
    >>> Softmax().fit(X, ["sad", "sad", "happy", "happy"]).predict([[1.5]]).item()
    'happy'
    """

    classes_: NDArray[Any]
    coef_: NDArray[np.float64]
    intercept_: NDArray[np.float64]
    n_features_in_: int

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
        from sklearn.linear_model import LogisticRegression
        from sklearn.utils.validation import validate_data

        X, y = validate_data(self, X, y)
        model = LogisticRegression(
            C=self.C, class_weight=self.class_weight, max_iter=self.max_iter
        ).fit(X, y, sample_weight)
        self.classes_, self.n_iter_ = model.classes_, model.n_iter_
        self.coef_, self.intercept_ = model.coef_, model.intercept_
        if (
            len(self.classes_) == 2
        ):  # scikit-learn has one row, of the second class against the first
            self.coef_ = np.concatenate([0 * self.coef_, self.coef_])
            self.intercept_ = np.concatenate([0 * self.intercept_, self.intercept_])
        return self

    def fit_batches(self, batches: Batches, classes: Any) -> Softmax:
        """Fit on rows that come in batches, with the positions of their labels in `classes`.

        A few passes in bounded memory end near to what `fit` finds; `max_iter` is not used.
        """
        from sklearn.utils.class_weight import compute_class_weight

        from ferembed.heads._logistic import fit_logistic
        from ferembed.heads.batches import summarize

        self.classes_ = np.asarray(classes)
        if len(self.classes_) < 2:
            raise ValueError(f"The labels have one class, {self.classes_.tolist()}; give two.")
        facts = summarize(batches, len(self.classes_), 1)
        given = np.repeat(self.classes_, facts.counts)
        weights = compute_class_weight(self.class_weight, classes=self.classes_, y=given)
        self.coef_, self.intercept_ = fit_logistic(batches, facts, self.C, weights)
        self.n_features_in_ = self.coef_.shape[1]
        return self

    @classmethod
    def from_layer(cls, kernel: NDArray[Any], bias: NDArray[Any], classes: list[str]) -> Softmax:
        """A fitted head that computes the same as a network's last layer (d, k)."""
        order = np.argsort(classes)
        head = cls()
        head.classes_ = np.array(classes)[order]
        head.coef_ = np.asarray(kernel, np.float64).T[order]
        head.intercept_ = np.asarray(bias, np.float64)[order]
        head.n_features_in_ = kernel.shape[0]
        return head

    def predict_proba(self, X: Any) -> NDArray[np.float64]:
        require_fitted(self, "coef_")
        X = checked_rows(self, X)
        values = X @ self.coef_.T + self.intercept_
        values = np.exp(values - values.max(axis=1, keepdims=True))
        return np.asarray(values / values.sum(axis=1, keepdims=True))
