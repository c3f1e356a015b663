"""Logistic regression in passes over batches, against scikit-learn's on all rows at once."""

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from ferembed.heads._logistic import fit_logistic
from ferembed.heads.batches import batches_of, summarize


@pytest.mark.parametrize("rare", [1.0, 4.0])
def test_batches_give_nearly_the_model_of_all_rows(rows, rare):
    X, codes, queries, _ = rows
    weights = np.array([1.0, 1.0, rare])
    batches = batches_of(X * np.linspace(0.1, 10, 16, dtype=np.float32), codes)
    coefficients, intercepts = fit_logistic(batches, summarize(batches, 3, 0), 1.0, weights)
    assert coefficients.shape == (3, 16)
    scores = queries * np.linspace(0.1, 10, 16) @ coefficients.T + intercepts
    theirs = LogisticRegression(class_weight=dict(enumerate(weights)), max_iter=2000).fit(X, codes)
    assert (scores.argmax(axis=1) == theirs.predict(queries)).mean() > 0.97


def test_the_same_seed_gives_the_same_model(rows):
    X, codes, _, _ = rows
    batches = batches_of(X, codes)
    facts, weights = summarize(batches, 3, 0), np.ones(3)
    first, again = (fit_logistic(batches, facts, 1.0, weights, seed=2)[0] for _ in range(2))
    assert (first == again).all()
    assert (first != fit_logistic(batches, facts, 1.0, weights, seed=3)[0]).any()
