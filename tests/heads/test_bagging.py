"""Bags of support vector machines, against scikit-learn's own."""

import numpy as np
import pytest
from sklearn.ensemble import BaggingClassifier

from ferembed.heads.bagging import BaggedSVC
from ferembed.heads.svm import CalibratedSVC


def test_a_bag_predicts_the_mean_of_its_members_as_scikit_learn_does(data):
    X, unseen, y, _ = data
    ours = BaggedSVC(n_estimators=3, max_samples=100, random_state=4).fit(X, y)
    theirs = BaggingClassifier(CalibratedSVC(), 3, max_samples=100, random_state=4).fit(X, y)
    assert ours.predict_proba(unseen) == pytest.approx(theirs.predict_proba(unseen), abs=1e-6)
    members = [member.predict_proba(unseen) for member in ours.members_]
    assert ours.predict_proba(unseen) == pytest.approx(np.mean(members, axis=0))


def test_a_class_that_a_member_did_not_draw_keeps_its_column():
    X = np.array([[-1.0], [0.0], [1.0], [9.0]] * 6 + [[99.0]])
    y = np.array(["fear", "happy", "sad", "happy"] * 6 + ["angry"])
    bag = BaggedSVC(n_estimators=4, max_samples=12, random_state=0).fit(X, y)
    assert bag.classes_.tolist() == ["angry", "fear", "happy", "sad"]
    assert min(len(member.classes_) for member in bag.members_) < 4
    assert bag.predict_proba(X).sum(axis=1) == pytest.approx(np.ones(25))


def test_a_share_of_the_rows_is_rounded_down_to_at_least_one():
    X, y = np.arange(9.0)[:, None], np.array(["happy", "sad", "sad"] * 3)
    for share, rows in ((0.5, 4), (0.01, 1), (1.0, 9)):
        bag = BaggedSVC(n_estimators=2, max_samples=share, random_state=0)
        expected = BaggingClassifier(CalibratedSVC(), 2, max_samples=rows, random_state=0)
        found = bag.fit(X, y).predict_proba(X)
        assert found == pytest.approx(expected.fit(X, y).predict_proba(X))
