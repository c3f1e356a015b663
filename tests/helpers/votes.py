"""Vectors with votes of several people."""

import numpy as np

CLASSES = ["angry", "happy", "sad"]


def drawn(count=240, seed=0):
    """Vectors of three clouds, and ten votes on each that follow where it lies."""
    rng = np.random.default_rng(seed)
    middle = np.array([[0.0, 2.0], [2.0, -1.0], [-2.0, -1.0]])
    truth = rng.integers(0, 3, count)
    X = (middle[truth] + rng.normal(0, 1, (count, 2))).astype(np.float32)
    shares = np.exp(-((X[:, None] - middle) ** 2).sum(axis=2) / 2)
    shares /= shares.sum(axis=1, keepdims=True)
    votes = np.array([rng.multinomial(10, row) for row in shares])
    return X, np.where(votes > 1, votes, 0), shares
