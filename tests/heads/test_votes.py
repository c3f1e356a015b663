"""Heads on votes: weighted rows, and that a face stays one face."""

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.linear_model import RidgeClassifier as Ridge
from sklearn.neighbors import KNeighborsClassifier

from ferembed import Pipeline
from ferembed.errors import LabelError
from ferembed.heads import HEADS
from ferembed.heads.votes import fit_on_votes
from tests.helpers.votes import CLASSES, drawn

SMALL = {
    "forest": {"n_estimators": 20, "n_jobs": 1},
    "bagged-svm": {"n_estimators": 4, "max_samples": 0.6},
    "knn": {"n_neighbors": 7},
    "svm": {"n_jobs": 1},
}


@pytest.mark.parametrize("name", ["svm", "forest", "bagged-svm", "knn", "softmax"])
def test_heads_take_votes_and_predict_their_distribution(name):
    X, votes, _ = drawn()
    asked, _, shares = drawn(100, 1)
    head = fit_on_votes(HEADS[name].make().set_params(**SMALL.get(name, {})), X, votes, CLASSES)
    assert head.classes_.tolist() == CLASSES
    found = head.predict_proba(asked)
    assert found.sum(axis=1) == pytest.approx(np.ones(100))
    assert np.abs(found - shares).mean() < 0.1
    assert (head.predict(asked) == np.array(CLASSES)[shares.argmax(axis=1)]).mean() > 0.85


@pytest.mark.parametrize("name", ["svm", "knn", "softmax"])
def test_votes_of_one_class_each_are_labels(name):
    X, votes, _ = drawn(120)
    leading = votes.argmax(axis=1)
    make = HEADS[name].make().set_params(**SMALL.get(name, {}))
    by_votes = fit_on_votes(make, X, np.eye(3)[leading] * 7, CLASSES).predict_proba(X[:20])
    make = HEADS[name].make().set_params(**SMALL.get(name, {}))
    by_labels = make.fit(X, np.array(CLASSES)[leading]).predict_proba(X[:20])
    assert by_votes == pytest.approx(by_labels, abs=1e-6)


def test_a_face_without_votes_is_left_out():
    X, votes, _ = drawn(60)
    zeros = np.vstack([votes, np.zeros((1, 3))])
    more = np.vstack([X, [[90.0, 90.0]]]).astype(np.float32)
    with_it = fit_on_votes(HEADS["softmax"].make(), more, zeros, CLASSES)
    without = fit_on_votes(HEADS["softmax"].make(), X, votes, CLASSES)
    assert with_it.coef_ == pytest.approx(without.coef_)


@pytest.mark.parametrize(
    ("votes", "message"),
    [
        ([[1, 0], [0, 1]], r"a column per class, \(3 classes\), not \(2, 2\)"),
        ([[1, 0, -1], [0, 1, 0]], "negative or no number"),
        ([[1, 0, np.nan], [0, 1, 0]], "negative or no number"),
        ([[1, 0, 0], [2, 0, 0]], "fewer than two classes"),
    ],
)
def test_votes_that_make_no_sense_are_refused(votes, message):
    with pytest.raises(LabelError, match=message):
        fit_on_votes(HEADS["softmax"].make(), np.zeros((2, 2)), votes, CLASSES)


def test_a_head_without_sample_weights_is_refused():
    X, votes, _ = drawn(30)
    with pytest.raises(LabelError, match="KNeighborsClassifier takes no sample weights"):
        fit_on_votes(KNeighborsClassifier(), X, votes, CLASSES)
    assert len(fit_on_votes(Ridge(), X, votes, CLASSES).classes_) == 3


# --- in a pipeline --------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_pipeline_is_fitted_on_votes(faces, labels, tmp_path):
    votes = np.array([[0, 3, 1], [0, 1, 3], [4, 0, 0]] * 8)
    settings = {"weights": "random", "store": "memory"}
    made = Pipeline("cnn-a", LogisticRegression(), **settings)
    made.fit(faces, votes, classes=CLASSES)
    assert made.training_prior_ == pytest.approx({"angry": 1 / 3, "happy": 1 / 3, "sad": 1 / 3})
    assert made.classes_.tolist() == CLASSES
    knn = Pipeline("cnn-a", "knn", **settings).set_params(head__n_neighbors=2)
    knn.fit(faces, votes, classes=CLASSES).save(tmp_path / "model")
    again = Pipeline.load(tmp_path / "model", store="memory")
    assert again.predict_proba(faces) == pytest.approx(knn.predict_proba(faces))
    with pytest.raises(LabelError, match="come with the name of each column: classes="):
        made.fit(faces, votes)
    with pytest.raises(LabelError, match="There are 24 images and 23 labels"):
        made.fit(faces, votes[:-1], classes=CLASSES)
    with pytest.raises(LabelError, match="asks 30 neighbours and has 24 faces"):
        Pipeline("cnn-a", "knn", **settings).fit(faces, votes, classes=CLASSES)
