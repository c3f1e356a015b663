"""Contracts over every registered head: one API, honest probabilities."""

import pickle
import warnings

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.datasets import make_classification
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, ParameterGrid, train_test_split
from sklearn.utils.estimator_checks import parametrize_with_checks

from ferembed.heads import HEADS, CalibratedSVC, Softmax, network_head

every_head = pytest.mark.parametrize("name", HEADS.names())

# The checks fit on some twenty rows: neighbours, trees and bags are made to fit those.
SMALL = {
    "forest": {"n_estimators": 5, "n_jobs": 1},
    "bagged-svm": {"n_estimators": 5, "max_samples": 1.0},
    "knn": {"n_neighbors": 3},
}
_DRAWN = "rows are drawn at random, so a weight of 2 is not the same as two copies"
_FOLDS = "the calibration deals rows to folds, and copies of a row to several"
EXPECTED = {
    "CalibratedSVC": {"check_sample_weight_equivalence_on_dense_data": _FOLDS},
    "RandomForestClassifier": {
        "check_sample_weight_equivalence_on_dense_data": _DRAWN,
        "check_sample_weight_equivalence_on_sparse_data": _DRAWN,
    },
    "BaggingClassifier": {"check_sample_weight_equivalence_on_dense_data": _DRAWN},
}


def make(name):
    return HEADS[name].make().set_params(**SMALL.get(name, {}))


@parametrize_with_checks(
    [make(name) for name in HEADS],
    expected_failed_checks=lambda head: EXPECTED.get(type(head).__name__, {}),
)
@pytest.mark.filterwarnings("ignore:Using the fractional value:UserWarning")  # of so few rows
def test_scikit_learns_own_checks(estimator, check):
    check(estimator)


@pytest.fixture(scope="module")
def data():
    X, y = make_classification(
        700, 20, n_informative=10, n_classes=4, n_clusters_per_class=1, flip_y=0.2, random_state=0
    )
    names = np.array(["angry", "fear", "happy", "sad"])
    return train_test_split(X.astype(np.float32), names[y], random_state=0)


@every_head
def test_probabilities_have_a_column_per_class_and_agree_with_the_answer(name, data):
    X, unseen, y, truth = data
    head = HEADS[name].make().fit(X, y)
    shares = head.predict_proba(unseen)
    assert head.classes_.tolist() == ["angry", "fear", "happy", "sad"]
    assert shares.shape == (len(unseen), 4)
    assert shares.sum(axis=1) == pytest.approx(np.ones(len(unseen)))
    assert (head.classes_[shares.argmax(axis=1)] == head.predict(unseen)).all()
    assert head.score(unseen, truth) > 0.6


@every_head
def test_a_copy_is_equal_by_clone_and_by_pickle(name, data):
    X, unseen, y, _ = data
    head = HEADS[name].make().fit(X, y)
    assert repr(clone(head)) == repr(head)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        again = clone(head).fit(X, y)
    for copy in (again, pickle.loads(pickle.dumps(head))):
        assert copy.predict_proba(unseen) == pytest.approx(head.predict_proba(unseen), abs=1e-12)


@every_head
def test_the_grid_names_real_parameters(name, data):
    tiny = data[0][:200], data[2][:200]
    head, grid = HEADS[name].make(), HEADS[name].grid
    corners = list(ParameterGrid(grid))
    for values in (corners[0], corners[-1]):
        head.set_params(**{**values, **SMALL.get(name, {})}).fit(*tiny)
    assert HEADS[name].summary


def test_a_grid_is_searched_as_it_stands(data):
    X, _, y, _ = data
    search = GridSearchCV(HEADS["softmax"].make(), {"C": HEADS["softmax"].grid["C"]}, cv=2)
    scores = search.fit(X, y).cv_results_["mean_test_score"]
    assert len(scores) == 5
    assert scores.min() > 0.4


def test_the_svm_is_calibrated(data):
    """On rows it has not seen its confidence is near its accuracy, and higher where it is right."""
    X, unseen, y, truth = data
    head = CalibratedSVC(C=100).fit(X, y)
    confidence, right = head.predict_proba(unseen).max(axis=1), head.predict(unseen) == truth
    assert abs(confidence.mean() - right.mean()) < 0.1
    assert confidence[right].mean() > confidence[~right].mean() + 0.1


def test_class_weights_favour_the_rare(data):
    rng = np.random.default_rng(0)
    X = np.concatenate([rng.normal(0, 1, (300, 2)), rng.normal(1, 1, (15, 2))])
    y = np.array(["happy"] * 300 + ["disgust"] * 15)
    plain, balanced = (
        CalibratedSVC(class_weight=weight).fit(X, y).predict(X) for weight in (None, "balanced")
    )
    assert (balanced == "disgust").sum() > (plain == "disgust").sum() + 15


def test_classes_of_one_or_two_rows_can_be_learned():
    X = np.array([[0.0], [0.1], [5.0], [5.1], [9.0]])
    y = ["sad", "sad", "happy", "happy", "angry"]
    head = CalibratedSVC(C=100).fit(X, y)
    assert head.predict(X).tolist() == y
    assert head.predict_proba(X).sum(axis=1) == pytest.approx(np.ones(5))
    two = CalibratedSVC().fit(X[:4], y[:4])
    assert two.predict_proba(X).shape == (5, 2)
    one = CalibratedSVC().fit(X[:2], y[:2])
    assert one.predict(X).tolist() == ["sad"] * 5


def test_a_networks_last_layer_is_a_head_that_computes_the_same():
    from scipy.special import softmax

    rng = np.random.default_rng(0)
    kernel, bias = rng.normal(size=(6, 3)), rng.normal(size=3)
    vectors = rng.normal(size=(10, 6))
    head = network_head(kernel, bias, ["sad", "angry", "happy"])
    expected = softmax(vectors @ kernel + bias, axis=1)[:, [1, 2, 0]]
    assert head.classes_.tolist() == ["angry", "happy", "sad"]
    assert head.predict_proba(vectors) == pytest.approx(expected)


@pytest.mark.parametrize("classes", [["angry", "sad"], ["angry", "fear", "happy", "sad"]])
def test_softmax_answers_as_scikit_learns_logistic_regression(data, classes):
    X, unseen, y, _ = data
    X, y = X[np.isin(y, classes)], y[np.isin(y, classes)]
    ours, theirs = Softmax(C=0.1).fit(X, y), LogisticRegression(C=0.1, max_iter=1000).fit(X, y)
    assert ours.predict_proba(unseen) == pytest.approx(theirs.predict_proba(unseen), abs=1e-6)
    assert (ours.predict(unseen) == theirs.predict(unseen)).all()
