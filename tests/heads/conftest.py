"""The rows that heads are fitted on."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from sklearn.datasets import make_classification
from sklearn.model_selection import train_test_split


@pytest.fixture(scope="module")
def data():
    X, y = make_classification(
        700, 20, n_informative=10, n_classes=4, n_clusters_per_class=1, flip_y=0.2, random_state=0
    )
    names = np.array(["angry", "fear", "happy", "sad"])
    return train_test_split(X.astype(np.float32), names[y], random_state=0)


@pytest.fixture(scope="module")
def rows() -> tuple[Any, ...]:
    """4,000 rows of 3 classes that overlap, in the order of their classes, and 4,000 to ask."""
    rng = np.random.default_rng(0)
    centers = rng.normal(0, 0.45, (3, 16))
    codes = np.repeat([0, 1, 2], [2500, 1400, 100])
    X, queries = (
        (centers[codes] + rng.normal(0, 1, (4000, 16))).astype(np.float32) for _ in range(2)
    )
    classes = np.array(["angry", "happy", "sad"])
    return X, codes, queries, classes
