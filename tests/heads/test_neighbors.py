"""Neighbours are those that scikit-learn finds."""

import numpy as np
import pytest
from sklearn.neighbors import KNeighborsClassifier

from ferembed.heads.neighbors import Neighbors
from ferembed.heads.votes import fit_on_votes
from tests.helpers.votes import CLASSES


@pytest.mark.parametrize("weights", ["uniform", "distance"])
@pytest.mark.parametrize("metric", ["minkowski", "manhattan", "cosine", "sqeuclidean"])
@pytest.mark.parametrize("k", [1, 7, 400])
def test_neighbours_predict_as_scikit_learn(data, weights, metric, k):
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


@pytest.mark.parametrize(
    "parameters",
    [{"n_neighbors": 0}, {"n_neighbors": 1.5}, {"metric": "foo"}, {"metric": "precomputed"}],
)
def test_invalid_parameters_of_neighbours_are_refused(parameters, data):
    with pytest.raises(ValueError, match="n_neighbors|metric|Negative"):
        Neighbors(**parameters).fit(data[0], data[2])


def test_a_neighbour_counts_for_each_class_with_its_votes():
    X = np.array([[0.0], [1.0], [5.0]])
    votes = [[6, 2, 0], [0, 5, 5], [0, 0, 4]]
    head = fit_on_votes(Neighbors(2), X, votes, CLASSES)
    assert head.predict_proba([[0.4]]) == pytest.approx(np.array([[0.375, 0.375, 0.25]]))
    assert head.rows_.shape == (3, 1)
