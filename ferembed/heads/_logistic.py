"""Multinomial logistic regression in a few passes over batches of rows."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ferembed.heads.batches import Batches, Summary

PASSES = 5
_BATCH = 64
_RATE = 0.01


def fit_logistic(
    batches: Batches,
    facts: Summary,
    C: float,
    class_weights: NDArray[np.float64],
    seed: int = 0,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Coefficients (classes, d) and intercepts, by Adam with a rate that falls to zero.

    The objective is that of scikit-learn's LogisticRegression: half the squared coefficients plus
    C times the sum of the losses. Features are scaled to one spread meanwhile.
    """
    scale = 1 / facts.spread
    decay = scale[:, None] ** 2 / np.float32(C * facts.rows)
    weights = class_weights.astype(np.float32)
    values = [np.zeros((len(scale), len(weights)), np.float32), np.zeros(len(weights), np.float32)]
    first = [np.zeros_like(value) for value in values]
    second = [np.zeros_like(value) for value in values]
    steps, step = PASSES * -(-facts.rows // _BATCH), 0
    for number in range(PASSES):
        for X, codes in batches(_BATCH, seed + number):
            rate = _RATE * (1 - step / steps)
            step += 1
            Z = (X - facts.mean) * scale
            errors = Z @ values[0] + values[1]
            errors -= errors.max(axis=1, keepdims=True)
            np.exp(errors, out=errors)
            errors /= errors.sum(axis=1, keepdims=True)
            errors[np.arange(len(Z)), codes] -= 1
            errors *= weights[codes, None] / len(Z)
            gradients = [Z.T @ errors + decay * values[0], errors.sum(axis=0)]
            for value, one, two, gradient in zip(values, first, second, gradients, strict=True):
                one += 0.1 * (gradient - one)
                two += 0.001 * (gradient**2 - two)
                change = one / (1 - 0.9**step) / (np.sqrt(two / (1 - 0.999**step)) + 1e-8)
                value -= np.float32(rate) * change
    coefficients = values[0].astype(np.float64) * scale[:, None]
    return coefficients.T, values[1] - facts.mean.astype(np.float64) @ coefficients
