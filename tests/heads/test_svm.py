"""The SVM decides as scikit-learn's, and its probabilities are calibrated."""

import numpy as np
import pytest
from sklearn.svm import SVC

from ferembed.heads.pairwise_svm import PairwiseSVM
from ferembed.heads.svm import CalibratedSVC
from tests.helpers.votes import drawn


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


def test_classes_of_one_or_two_rows_can_be_fitted():
    X = np.array([[0.0], [0.1], [5.0], [5.1], [9.0]])
    y = ["sad", "sad", "happy", "happy", "angry"]
    head = CalibratedSVC(C=100).fit(X, y)
    assert head.predict(X).tolist() == y
    assert head.predict_proba(X).sum(axis=1) == pytest.approx(np.ones(5))
    two = CalibratedSVC().fit(X[:4], y[:4])
    assert two.predict_proba(X).shape == (5, 2)
    one = CalibratedSVC().fit(X[:2], y[:2])
    assert one.predict(X).tolist() == ["sad"] * 5


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


def test_an_svm_without_a_kernel_names_those_that_are_known(data):
    with pytest.raises(ValueError, match="kernel is 'rfb'; known: linear, poly, rbf, sigmoid"):
        CalibratedSVC(kernel="rfb").fit(data[0], data[2])


def test_a_head_saved_with_scikit_learns_svc_predicts_as_before(data):
    X, unseen, y, _ = data
    head = CalibratedSVC().fit(X, y)
    expected = head.predict_proba(unseen)
    head.machine_ = SVC(decision_function_shape="ovo").fit(X, y)
    assert head.predict_proba(unseen) == pytest.approx(expected, abs=2e-3)


def test_rows_of_one_face_stay_in_one_fold_of_the_calibration():
    X, votes, _ = drawn(60)
    made = CalibratedSVC(folds=3)
    faces = np.repeat(np.arange(60), (votes > 0).sum(axis=1))
    codes = np.nonzero(votes)[1]
    counts = np.bincount(codes)
    splits = made._splits(X[faces], codes, counts)
    assert len(splits) == 3
    assert sorted(np.concatenate([held for _, held in splits])) == list(range(len(faces)))
    for learned, held in splits:
        assert not set(faces[learned]) & set(faces[held])
        assert len(held) == pytest.approx(len(faces) / 3, rel=0.2)
        assert set(codes[held]) == {0, 1, 2}
