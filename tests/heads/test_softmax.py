"""The softmax head equals a last layer, and logistic regression."""

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from ferembed.heads import HEADS
from ferembed.heads.softmax import Softmax
from ferembed.heads.votes import fit_on_votes
from tests.helpers.votes import CLASSES, drawn


def test_a_networks_last_layer_is_a_head_that_computes_the_same():
    from scipy.special import softmax

    rng = np.random.default_rng(0)
    kernel, bias = rng.normal(size=(6, 3)), rng.normal(size=3)
    vectors = rng.normal(size=(10, 6))
    head = Softmax.from_layer(kernel, bias, ["sad", "angry", "happy"])
    expected = softmax(vectors @ kernel + bias, axis=1)[:, [1, 2, 0]]
    assert head.classes_.tolist() == ["angry", "happy", "sad"]
    assert head.predict_proba(vectors) == pytest.approx(expected)


@pytest.mark.parametrize("classes", [["angry", "sad"], ["angry", "fear", "happy", "sad"]])
def test_softmax_predicts_as_scikit_learns_logistic_regression(data, classes):
    X, unseen, y, _ = data
    X, y = X[np.isin(y, classes)], y[np.isin(y, classes)]
    ours, theirs = Softmax(C=0.1).fit(X, y), LogisticRegression(C=0.1, max_iter=1000).fit(X, y)
    assert ours.predict_proba(unseen) == pytest.approx(theirs.predict_proba(unseen), abs=1e-6)
    assert (ours.predict(unseen) == theirs.predict(unseen)).all()


def test_the_softmax_minimises_the_cross_entropy_with_the_votes():
    X, votes, _ = drawn(200)
    head = fit_on_votes(HEADS["softmax"].make().set_params(C=1e6), X, votes, CLASSES)
    shares = votes / votes.sum(axis=1, keepdims=True)
    slope = (head.predict_proba(X) - shares).T @ np.c_[X, np.ones(len(X))]
    assert np.abs(slope).max() < 0.05  # of 200 faces
