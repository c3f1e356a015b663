"""Class priors: the share of each class that probabilities expect, and how to change it.

A classifier's probabilities are right at the class shares that it was trained on. FER+ is a third
neutral; a classroom or a film is not. Where the shares are known or assumed to be others,
probabilities are changed by Bayes' rule, with a strength s from 0 to 1:

    p'(c)  is proportional to  p(c) * (new(c) / training(c)) ** s
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ferembed.errors import LabelError, ModelError

Prior: TypeAlias = "str | Mapping[str, float] | None"
"""None: that of the training data. "uniform", or the share of each class."""


def training_prior(
    labels: ArrayLike, class_weight: Any = None, sample_weight: ArrayLike | None = None
) -> dict[str, float]:
    """The share of each class that a classifier fitted on these labels expects.

    With a `class_weight` and a `sample_weight`, as scikit-learn means them, a face counts that
    often.

    >>> training_prior(["happy", "happy", "happy", "sad"])
    {'happy': 0.75, 'sad': 0.25}
    >>> training_prior(["happy", "happy", "happy", "sad"], {"sad": 3.0})
    {'happy': 0.5, 'sad': 0.5}
    """
    classes, codes = np.unique(np.asarray(labels), return_inverse=True)
    shares = dict(zip(classes.tolist(), np.bincount(codes, sample_weight).tolist(), strict=True))
    if isinstance(class_weight, Mapping):
        shares = {label: n * class_weight.get(label, 1.0) for label, n in shares.items()}
    elif class_weight is not None:  # "balanced": each class weighs the same
        shares = dict.fromkeys(shares, 1.0)
    total = sum(shares.values())
    return {str(label): share / total for label, share in shares.items()}


def parse_prior(text: str) -> Prior:
    """The prior that a text describes.

    >>> parse_prior("happy=0.6,sad=0.4")
    {'happy': 0.6, 'sad': 0.4}
    """
    if text in ("uniform", "none"):
        return text if text == "uniform" else None
    try:
        pairs = [part.split("=") for part in text.split(",")]
        shares = {label: float(share) for label, share in pairs}
        if len(shares) < len(pairs):
            raise ValueError("a class has two shares")
        return shares
    except ValueError:
        raise LabelError(
            f"{text!r} is not uniform, none, or one share for each class: happy=0.5,sad=0.5"
        ) from None


def prior_factors(
    prior: Prior, strength: float, classes: Sequence[str], trained: Mapping[str, float] | None
) -> NDArray[np.float64] | None:
    """The factor for the probability of each class; None if nothing changes."""
    if not 0 <= strength <= 1:
        raise LabelError(f"prior_strength is {strength!r}. It is a number from 0 to 1.")
    if prior is None:
        return None
    new = _shares(prior, classes)
    if trained is None:
        raise ModelError(
            "The class shares that this model was trained on are not known, so its prior cannot "
            "be changed: it was saved by an older version, or made from a head without them. Fit "
            "it again, or give them: Pipeline.from_head(head, training_prior={...})."
        )
    old = np.array([trained[label] for label in classes])
    return np.asarray((new / (old / old.sum())) ** strength)


def reweighted(
    probabilities: NDArray[np.float64], factors: NDArray[np.float64] | None
) -> NDArray[np.float64]:
    """Rows of probabilities times the factors, each row summing to 1 again.

    A row that nothing is left of becomes the factors' classes alike: it says nothing about them.
    """
    weights = np.ones(probabilities.shape[1]) if factors is None else factors
    rows = probabilities * weights
    rows[rows.sum(axis=1) <= 0] = weights > 0
    return np.asarray(rows / rows.sum(axis=1, keepdims=True))


def checked_training_prior(
    trained: Mapping[str, float] | None, classes: Sequence[str]
) -> dict[str, float] | None:
    """The training shares of exactly these classes, in their order, all above 0."""
    if trained is None:
        return None
    if {*trained} != {*classes} or not all(0 < trained[label] < np.inf for label in classes):
        raise LabelError(
            f"training_prior is {dict(trained)}. It has a share above 0 for each of "
            f"{', '.join(classes)}, and for no other class."
        )
    total = sum(trained.values())
    return {label: float(trained[label] / total) for label in classes}


def _shares(prior: Prior, classes: Sequence[str]) -> NDArray[np.float64]:
    if prior == "uniform":
        return np.full(len(classes), 1 / len(classes))
    if not isinstance(prior, Mapping):
        raise LabelError(
            f"prior is {prior!r}. It is None, 'uniform', or a mapping with the share of each class."
        )
    prior = {str(label): share for label, share in prior.items()}
    missing = [label for label in classes if label not in prior]
    unknown = [f"{label!r}" for label in prior if label not in classes]
    if missing or unknown:
        found = [f"lacks {', '.join(missing)}"] if missing else []
        found += [f"has {', '.join(unknown)}, not known to the model"] if unknown else []
        raise LabelError(
            f"The prior {' and '.join(found)}. Give a share for each of {', '.join(classes)}."
        )
    shares = np.array([float(prior[label]) for label in classes])
    if not (np.isfinite(shares).all() and (shares >= 0).all() and shares.sum() > 0):
        raise LabelError(
            f"The prior is {prior}. Shares are numbers from 0, and one of them is above 0."
        )
    return np.asarray(shares / shares.sum())
