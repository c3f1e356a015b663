"""Contracts over every registered head: one API, honest probabilities."""

import os
import pickle
import re
import warnings
from importlib.metadata import version

import numpy as np
import pytest
from joblib import Parallel, delayed
from sklearn.base import clone
from sklearn.datasets import make_classification
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, train_test_split
from sklearn.neighbors import KNeighborsClassifier
from sklearn.svm import SVC
from sklearn.utils.estimator_checks import parametrize_with_checks
from threadpoolctl import threadpool_limits

from ferembed.heads import HEADS
from ferembed.heads._jobs import threads_of
from ferembed.heads.forest import Forest
from ferembed.heads.neighbors import Neighbors
from ferembed.heads.pairwise_svm import PairwiseSVM
from ferembed.heads.softmax import Softmax
from ferembed.heads.svm import CalibratedSVC

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
def test_a_head_has_a_summary(name):
    assert HEADS[name].summary


def test_a_head_is_searched_by_scikit_learn(data):
    X, _, y, _ = data
    search = GridSearchCV(HEADS["softmax"].make(), {"C": [0.001, 0.01, 0.1, 1, 10]}, cv=2)
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
    head = Softmax.from_layer(kernel, bias, ["sad", "angry", "happy"])
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


@pytest.fixture(scope="module")
def plain(data):
    """A forest of whole values, and scikit-learn's on the same rows."""
    X, unseen, y, _ = data
    X, unseen = (np.clip(np.round(rows), -2, 2) for rows in (X, unseen))
    settings = {"min_samples_leaf": 2, "max_features": "log2", "random_state": 0}
    ours = Forest(30, **settings).fit(X, y)
    theirs = RandomForestClassifier(30, **settings).fit(X, y)
    return ours, theirs, unseen


def test_a_forest_answers_as_scikit_learns_where_every_value_has_its_bin(plain):
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


def test_a_forest_without_bins_says_so(data):
    with pytest.raises(ValueError, match="bins is 300; it is a number from 2 to 256"):
        Forest(bins=300).fit(data[0], data[2])


@pytest.mark.parametrize("weights", ["uniform", "distance"])
@pytest.mark.parametrize("metric", ["minkowski", "manhattan", "cosine", "sqeuclidean"])
@pytest.mark.parametrize("k", [1, 7, 400])
def test_neighbours_answer_as_scikit_learns(data, weights, metric, k):
    X, unseen, y, _ = data
    y = np.unique(y, return_inverse=True)[1]  # scikit-learn 1.7 fails on words, by "manhattan"
    unseen = np.concatenate([unseen, X[:50]])  # of which some are rows themselves
    ours = Neighbors(k, weights=weights, metric=metric).fit(X, y)
    theirs = KNeighborsClassifier(k, weights=weights, metric=metric).fit(X, y)
    assert ours.predict_proba(unseen) == pytest.approx(theirs.predict_proba(unseen), abs=1e-5)
    distances, nearest = ours.kneighbors(unseen)
    expected, same = theirs.kneighbors(unseen)
    assert np.sort(distances) == pytest.approx(expected, abs=1e-5, rel=1e-5)
    assert (np.sort(nearest) == np.sort(same)).all()


def test_neighbours_far_from_the_origin_and_near_each_other_are_told_apart():
    rng = np.random.default_rng(0)
    X = (1000 + rng.normal(size=(2000, 8))).astype(np.float32)
    near = X + np.float32(1 / 1024)
    _, nearest = Neighbors(1).fit(X, np.arange(2000) % 7).kneighbors(near)
    assert (nearest[:, 0] == np.arange(2000)).all()


def test_compact_neighbours_know_their_own_rows_and_take_half_the_room(data):
    X, _, y, _ = data
    large = X * np.float32(1e25)  # more than a float16 holds, or a float32 when it is squared
    whole, half = (Neighbors(3, compact=compact).fit(large, y) for compact in (False, True))
    assert half.rows_.nbytes == whole.rows_.nbytes / 2
    distances, _ = half.kneighbors(large)
    assert (distances.min(axis=1) == 0).all()
    expected, _ = KNeighborsClassifier(3).fit(X, y).kneighbors(X)
    assert np.sort(distances) / 1e25 == pytest.approx(expected, abs=0.02)
    assert np.abs(half.predict_proba(large) - whole.predict_proba(large)).mean() < 0.01


def test_more_neighbours_than_rows_are_refused(data):
    few = Neighbors(6).fit(data[0][:5], data[2][:5])
    with pytest.raises(ValueError, match="n_neighbors is 6 and there are 5 rows. Ask for 1 to 5."):
        few.predict(data[1])


@pytest.mark.parametrize("kernel", ["linear", "poly", "rbf", "sigmoid"])
@pytest.mark.parametrize("classes", [["angry", "sad"], ["angry", "fear", "happy", "sad"]])
def test_the_svm_decides_as_scikit_learns(data, kernel, classes):
    X, unseen, y, _ = data
    X, y = X[np.isin(y, classes)] / 8, y[np.isin(y, classes)]
    unseen = unseen / 8
    theirs = SVC(C=2, kernel=kernel, decision_function_shape="ovo", tol=1e-6).fit(X, y)
    expected = theirs.decision_function(unseen).reshape(len(unseen), -1)
    assert PairwiseSVM.from_svc(theirs).decisions(unseen) == pytest.approx(
        expected, rel=2e-5, abs=2e-5
    )
    ours = CalibratedSVC(2, kernel=kernel).fit(X, y)
    assert ours.machine_.decisions(unseen) == pytest.approx(expected, abs=0.02)  # libsvm stops


def test_a_kernel_that_is_too_large_for_the_memory_changes_no_answer(data, monkeypatch):
    X, unseen, y, _ = data
    expected = CalibratedSVC().fit(X, y).predict_proba(unseen)
    monkeypatch.setattr("ferembed.heads.pairwise_svm._HELD", 40_000)
    assert CalibratedSVC().fit(X, y).predict_proba(unseen) == pytest.approx(expected, abs=1e-3)


def test_weights_of_rows_count_as_in_scikit_learn(data):
    X, unseen, y, _ = data
    weights = np.random.default_rng(0).integers(0, 3, len(X))
    ours = CalibratedSVC(class_weight={"sad": 3}).fit(X, y, weights)
    theirs = SVC(class_weight={"sad": 3}, decision_function_shape="ovo", gamma=1 / X.shape[1])
    ours.set_params(gamma="auto").fit(X, y, weights)
    theirs.fit(X, y, weights)
    assert ours.machine_.decisions(unseen) == pytest.approx(
        theirs.decision_function(unseen), abs=5e-3
    )


@pytest.mark.parametrize(
    "parameters",
    [{"n_neighbors": 0}, {"n_neighbors": 1.5}, {"metric": "foo"}, {"metric": "precomputed"}],
)
def test_neighbours_that_could_never_be_asked_are_not_fitted(parameters, data):
    with pytest.raises(ValueError, match="n_neighbors|metric|Negative"):
        Neighbors(**parameters).fit(data[0], data[2])


def test_an_svm_without_a_kernel_names_those_that_are_known(data):
    with pytest.raises(ValueError, match="kernel is 'rfb'; known: linear, poly, rbf, sigmoid"):
        CalibratedSVC(kernel="rfb").fit(data[0], data[2])


def test_a_head_that_was_saved_with_scikit_learns_svc_answers_as_it_did(data):
    X, unseen, y, _ = data
    head = CalibratedSVC().fit(X, y)
    expected = head.predict_proba(unseen)
    head.machine_ = SVC(decision_function_shape="ovo").fit(X, y)
    assert head.predict_proba(unseen) == pytest.approx(expected, abs=2e-3)


@every_head
def test_threads_change_no_answer(name, data):
    X, unseen, y, _ = data
    many = np.tile(unseen, (3, 1))
    head = HEADS[name].make()
    alone = clone(head)
    with threadpool_limits(1):
        expected = alone.fit(X, y).predict_proba(many)
    for jobs in (1, 2):
        head.set_params(**{key: jobs for key in head.get_params() if key.endswith("n_jobs")})
        assert head.fit(X, y).predict_proba(many) == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("backend", ["loky", "threading"])
def test_a_head_in_a_worker_starts_no_threads_of_its_own(backend):
    assert threads_of(-1) == os.cpu_count()
    assert threads_of(None) == 1
    with Parallel(2, backend=backend) as workers:
        assert workers(delayed(threads_of)(-1) for _ in range(2)) == [1, 1]


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
