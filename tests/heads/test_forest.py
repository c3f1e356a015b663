"""The forest predicts as scikit-learn's, from few bytes."""

import pickle

import numpy as np
import pytest
from sklearn.ensemble import RandomForestClassifier

from ferembed.heads.forest import Forest


@pytest.fixture(scope="module")
def plain(data):
    """A forest of whole values, and scikit-learn's on the same rows."""
    X, unseen, y, _ = data
    X, unseen = (np.clip(np.round(rows), -2, 2) for rows in (X, unseen))
    settings = {"min_samples_leaf": 2, "max_features": "log2", "random_state": 0}
    ours = Forest(30, **settings).fit(X, y)
    theirs = RandomForestClassifier(30, **settings).fit(X, y)
    return ours, theirs, unseen


def test_a_forest_predicts_as_scikit_learn_if_every_value_has_its_bin(plain):
    ours, theirs, unseen = plain
    assert ours.predict_proba(unseen) == pytest.approx(theirs.predict_proba(unseen), abs=1 / 255)


def test_a_forest_is_arrays_of_few_bytes(plain):
    ours, theirs, _ = plain
    assert len(ours.features_) == sum(tree.tree_.node_count for tree in theirs.estimators_)
    assert ours.features_.dtype == ours.splits_.dtype == ours.shares_.dtype == np.uint8
    assert len(pickle.dumps(ours)) < len(pickle.dumps(theirs)) / 5


def test_a_temperature_makes_a_forest_more_confident_and_changes_no_label(data):
    X, _, y, _ = data
    plain = Forest(20, random_state=0).fit(X, y)
    sharp = Forest(20, temperature=0.5, random_state=0).fit(X, y)
    expected = plain.predict_proba(X) ** 2
    expected /= expected.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(sharp.predict_proba(X), expected, atol=1e-12)
    assert (sharp.predict(X) == plain.predict(X)).all()
    for wrong in (0, -1, np.nan, "hot", None):
        with pytest.raises(ValueError, match="temperature is .*; it is a number from 0.1 to 10"):
            Forest(2, temperature=wrong).fit(X, y)


def test_an_invalid_number_of_bins_is_an_error(data):
    with pytest.raises(ValueError, match="bins is 300; it is a number from 2 to 256"):
        Forest(bins=300).fit(data[0], data[2])
