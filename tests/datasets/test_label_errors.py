import numpy as np
import pytest

from ferembed.datasets import Dataset
from ferembed.datasets.audit import audit
from ferembed.datasets.cleaning import clean
from ferembed.datasets.label_errors import cross_validated, doubtful_labels
from ferembed.errors import DataError

LABELS = ("happy", "sad", "surprise")


def clouds(count=240, wrong=12, seed=0):
    """Vectors of three clouds, their labels of which some are wrong, and which those are."""
    rng = np.random.default_rng(seed)
    codes = np.arange(count) % 3
    X = (np.eye(3)[codes] * 6 + rng.normal(0, 1, (count, 3))).astype(np.float32)
    changed = rng.choice(count, wrong, replace=False)
    labels = codes.copy()
    labels[changed] = (codes[changed] + 1) % 3
    return X, labels, codes, set(changed.tolist())


def test_the_wrong_labels_are_found_and_first():
    X, labels, codes, changed = clouds()
    probabilities = cross_validated(X, labels, np.arange(len(X)))
    assert probabilities.sum(axis=1) == pytest.approx(np.ones(len(X)))
    places, instead = doubtful_labels(labels, probabilities)
    first = places[:10]  # not all of the 12 reach the threshold of their class
    assert set(first.tolist()) <= changed
    assert (instead[:10] == codes[first]).all()
    gaps = probabilities[places, instead] - probabilities[places, labels[places]]
    assert (np.diff(gaps) <= 1e-12).all()


def test_duplicates_do_not_vouch_for_each_other():
    X, labels, _, _ = clouds(60, 0)
    X, labels = np.vstack([X, np.full((20, 3), 40.0)]), np.append(labels, [0] * 10 + [1] * 10)
    groups = np.append(np.arange(60), [60] * 10 + [61] * 10)
    alone = cross_validated(X, labels, groups)
    together = cross_validated(X, labels, np.arange(80))
    assert alone[60:70, 0].mean() < together[60:70, 0].mean()


def test_a_frequent_class_needs_more_to_contradict():
    """The threshold of a class is its own mean: 0.6 is much for a class of which 0.5 is usual."""
    codes = np.array([0, 0, 0, 1, 1, 1])
    shares = np.array([[0.95, 0.05], [0.9, 0.1], [0.35, 0.65], [0.6, 0.4], [0.5, 0.5], [0.4, 0.6]])
    places, instead = doubtful_labels(codes, shares)
    # The mean of class 0 is 0.73, of class 1 0.5: 0.6 for class 0 contradicts no face of class 1.
    assert (places.tolist(), instead.tolist()) == ([2], [1])


def test_folds_need_two_faces_of_each_class():
    X, labels, _, _ = clouds(30, 0)
    with pytest.raises(DataError, match="the rarest has 1"):
        cross_validated(np.vstack([X, X[:1]]), np.append(labels, 3), np.arange(31))
    with pytest.raises(DataError, match="two classes or more"):
        cross_validated(X, np.zeros(30, int), np.arange(30))


def test_the_audit_lists_doubtful_labels_and_clean_keeps_them():
    X, labels, codes, changed = clouds(90, 4)
    faces = np.random.default_rng(1).integers(0, 256, (90, 16, 16), np.uint8)
    data = Dataset.from_images(faces, [LABELS[code] for code in labels])
    X[5] = np.nan  # an unreadable picture has no vector
    found = audit(data, vectors=X)
    doubtful = [one for one in found.findings if one.kind == "doubtful label"]
    assert {one.pictures[0].index for one in doubtful[:4]} == changed - {5}
    first = doubtful[0].pictures[0].index
    assert doubtful[0].detail.startswith(f"labelled {LABELS[labels[first]]} (0.")
    assert f"predicted {LABELS[codes[first]]} (0." in doubtful[0].detail
    assert f"  picture {first}: labelled" in found.table()
    assert len(clean(data, found)) == 90
    assert audit(data).summary().get("doubtful label") is None
    with pytest.raises(DataError, match="There are 89 vectors for 90 pictures"):
        audit(data, vectors=X[1:])
