"""Contracts over every registered head: one API, honest probabilities."""

import pickle
import re
import warnings
from importlib.metadata import version

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV
from sklearn.utils.estimator_checks import parametrize_with_checks
from threadpoolctl import threadpool_limits

from ferembed.heads import HEADS

QUICK = ("svm", "knn", "softmax")  # the tests of the others are slow


every_head = pytest.mark.parametrize(
    "name",
    [pytest.param(n, marks=[] if n in QUICK else [pytest.mark.slow]) for n in HEADS.names()],
)


# The checks fit on some twenty rows: neighbours, trees and bags are made to fit those.
SMALL = {
    "forest": {"n_estimators": 5, "n_jobs": 1},
    "bagged-svm": {"n_estimators": 5, "max_samples": 1.0},
    "knn": {"n_neighbors": 3},
    "fourier-svm": {"n_components": 64},
    "approximate-knn": {"n_neighbors": 3},
}


_DRAWN = "rows are drawn at random, so a weight of 2 is not the same as two copies"


_FOLDS = "the calibration deals rows to folds, and copies of a row to several"


_NEIGHBOURS = "a row of weight 2 is one neighbour, and its copy would be another"


EXPECTED = {
    "CalibratedSVC": {"check_sample_weight_equivalence_on_dense_data": _FOLDS},
    "Forest": {"check_sample_weight_equivalence_on_dense_data": _DRAWN},
    "Neighbors": {"check_sample_weight_equivalence_on_dense_data": _NEIGHBOURS},
    "BaggedSVC": {"check_sample_weight_equivalence_on_dense_data": _DRAWN},
}


if tuple(map(int, version("scikit-learn").split(".")[:2])) < (1, 9):
    EXPECTED["Forest"]["check_class_weight_classifiers"] = "rows were not drawn by their weights"


def make(name):
    return HEADS[name].make().set_params(**SMALL.get(name, {}))


def expected(head):
    return EXPECTED.get(type(head).__name__, {})


@parametrize_with_checks([make(name) for name in QUICK], expected_failed_checks=expected)
def test_scikit_learns_own_checks(estimator, check):
    check(estimator)


@pytest.mark.slow
@parametrize_with_checks(
    [make(name) for name in HEADS if name not in QUICK], expected_failed_checks=expected
)
@pytest.mark.filterwarnings("ignore:Using the fractional value:UserWarning")  # of so few rows
def test_scikit_learns_own_checks_of_the_other_heads(estimator, check):
    check(estimator)


@every_head
def test_probabilities_have_a_column_per_class_and_agree_with_the_label(name, data):
    X, unseen, y, truth = data
    head = HEADS[name].make().fit(X, y)
    shares = head.predict_proba(unseen)
    assert head.classes_.tolist() == ["angry", "fear", "happy", "sad"]
    assert shares.shape == (len(unseen), 4)
    assert shares.sum(axis=1) == pytest.approx(np.ones(len(unseen)))
    assert (head.classes_[shares.argmax(axis=1)] == head.predict(unseen)).all()
    assert head.score(unseen, truth) > 0.6


@every_head
def test_a_clone_and_a_pickled_head_are_equal(name, data):
    X, unseen, y, _ = data
    head = HEADS[name].make().fit(X, y)
    assert repr(clone(head)) == repr(head)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        again = clone(head).fit(X, y)
    for copy in (again, pickle.loads(pickle.dumps(head))):
        assert copy.predict_proba(unseen) == pytest.approx(head.predict_proba(unseen), abs=1e-12)


@every_head
def test_a_head_has_a_summary(name):
    assert HEADS[name].summary


def test_a_head_is_searched_by_scikit_learn(data):
    X, _, y, _ = data
    search = GridSearchCV(HEADS["softmax"].make(), {"C": [0.001, 0.01, 0.1, 1, 10]}, cv=2)
    scores = search.fit(X, y).cv_results_["mean_test_score"]
    assert len(scores) == 5
    assert scores.min() > 0.4


@every_head
def test_threads_do_not_change_predictions(name, data):
    X, unseen, y, _ = data
    many = np.tile(unseen, (3, 1))
    head = HEADS[name].make()
    alone = clone(head)
    with threadpool_limits(1):
        expected = alone.fit(X, y).predict_proba(many)
    for jobs in (1, 2):
        head.set_params(**{key: jobs for key in head.get_params() if key.endswith("n_jobs")})
        assert head.fit(X, y).predict_proba(many) == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize(
    ("head", "parameter", "value"),
    [
        ("svm", "gamma", [1]),
        ("svm", "folds", "abc"),
        ("svm", "n_jobs", "abc"),
        ("forest", "bins", "abc"),
    ],
)
def test_a_value_of_another_kind_is_named(head, parameter, value):
    made = HEADS[head].make().set_params(**{parameter: value})
    with pytest.raises(ValueError, match=re.escape(f"{parameter} is {value!r}; it is a")):
        made.fit(np.eye(6), list("aabbcc"))
