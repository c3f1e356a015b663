"""Minimal scikit-learn estimator base.

It avoids importing scikit-learn, which takes about half of a cold `ferembed predict`. Methods that
only scikit-learn calls delegate to scikit-learn's own classes; `_sklearn_mixin` names the class of
sklearn.base whose tags a subclass has.
"""

from __future__ import annotations

import inspect
from typing import Any

import numpy as np
from numpy.typing import NDArray


class Estimator:
    """An estimator: its parameters are those of `__init__`, which stores them unchanged.

    >>> class Scale(Estimator):
    ...     def __init__(self, factor=1, shift=0):
    ...         self.factor = factor
    ...         self.shift = shift
    >>> Scale(factor=3)
    Scale(factor=3)
    >>> Scale().set_params(shift=2).get_params()
    {'factor': 1, 'shift': 2}
    """

    _sklearn_mixin: str

    @classmethod
    def _get_param_names(cls) -> list[str]:
        return sorted(set(inspect.signature(cls.__init__).parameters) - {"self"})

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """The parameters by name, with those of nested estimators, such as head__C."""
        params = {}
        for name in self._get_param_names():
            value = params[name] = getattr(self, name)
            if deep and hasattr(value, "get_params") and not isinstance(value, type):
                params |= {f"{name}__{key}": own for key, own in value.get_params().items()}
        return params

    def set_params(self, **params: Any) -> Any:
        """Set parameters, also nested ones such as head__C, and return the estimator."""
        from sklearn.base import BaseEstimator

        own = {**self.get_params(deep=False), **params}
        for name in params:
            part, nested, _ = name.partition("__")
            if nested and part in own and not hasattr(own[part], "set_params"):
                raise ValueError(f"{name} cannot be set: {part} has no parameters of its own.")
        return BaseEstimator.set_params(self, **params)

    def __repr__(self) -> str:
        usual = inspect.signature(type(self).__init__).parameters
        given = [
            f"{name}={value!r}"
            for name, value in self.get_params(deep=False).items()
            if repr(value) != repr(usual[name].default)
        ]
        return f"{type(self).__name__}({', '.join(given)})"

    def _repr_html_(self) -> str:
        from sklearn.utils import estimator_html_repr

        return str(estimator_html_repr(self))

    def __sklearn_tags__(self) -> Any:
        from sklearn import base

        kind = type(
            type(self).__name__, (getattr(base, self._sklearn_mixin), base.BaseEstimator), {}
        )
        return kind().__sklearn_tags__()


class MostProbable:
    """The `predict` of classifiers that have `classes_` and `predict_proba`."""

    def predict(self: Any, X: Any) -> Any:
        """The most probable class of each row."""
        probabilities = self.predict_proba(X)  # first: it says if the classifier is not fitted
        return self.classes_[probabilities.argmax(axis=1)]


class Classifier(MostProbable, Estimator):
    """The base class of classifiers."""

    _sklearn_mixin = "ClassifierMixin"

    def score(self, X: Any, y: Any, sample_weight: Any = None) -> float:
        """The accuracy on X."""
        from sklearn.base import ClassifierMixin

        return float(ClassifierMixin.score(self, X, y, sample_weight))


def require_fitted(estimator: Any, attribute: str) -> None:
    """Raise scikit-learn's NotFittedError unless the estimator has the attribute."""
    if not hasattr(estimator, attribute):
        from sklearn.utils.validation import check_is_fitted

        check_is_fitted(estimator, attribute)


def checked_rows(estimator: Any, X: Any, dtype: type | None = None) -> NDArray[Any]:
    """The rows as a fitted estimator takes them, or scikit-learn's error.

    scikit-learn validates them, unless it would neither change nor refuse them.
    """
    in_order = (
        type(X) is np.ndarray
        and X.dtype in ((np.float32, np.float64) if dtype is None else (dtype,))
        and X.ndim == 2
        and len(X) > 0
        and X.shape[1] == estimator.n_features_in_
        and not hasattr(estimator, "feature_names_in_")
        and bool(np.isfinite(X).all())
    )
    if in_order:
        return np.asarray(X)
    from sklearn.utils.validation import validate_data

    kind: Any = "numeric" if dtype is None else dtype
    return np.asarray(validate_data(estimator, X, dtype=kind, reset=False))
