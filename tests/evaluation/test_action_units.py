import numpy as np
import pytest
from scipy.stats import spearmanr

from ferembed.evaluation.action_units import ACTION_UNITS, Confusability, overlap
from ferembed.labels import EIGHT_EXPRESSIONS, EXPRESSIONS

SEVEN = np.array(  # rows and columns in the order of EXPRESSIONS
    [
        [300, 6, 40, 10, 60, 8, 70],
        [12, 35, 3, 0, 4, 0, 1],
        [60, 2, 250, 10, 90, 60, 50],
        [10, 0, 8, 800, 10, 15, 40],
        [60, 3, 70, 20, 380, 5, 110],
        [10, 0, 40, 15, 4, 340, 6],
        [40, 1, 25, 30, 100, 5, 410],
    ]
)


def test_overlaps_match_those_by_hand():
    assert overlap("surprise", "fear") == overlap("fear", "surprise") == 4 / 7
    assert overlap("angry", "fear") == 3 / 8
    assert overlap("sad", "disgust") == 1 / 6
    assert overlap("happy", "angry") == 0
    assert overlap("neutral", "sad") == overlap("neutral", "neutral") == 0
    assert overlap("happy", "happy") == 1
    assert overlap("contempt", "happy") == 1 / 3  # both raise a corner of the lips
    assert tuple(ACTION_UNITS) == EIGHT_EXPRESSIONS


def test_a_pair_has_its_shared_units_and_its_confusions():
    view = Confusability.from_confusion(EXPRESSIONS, SEVEN)
    assert len(view.pairs) == 21
    pair = next(pair for pair in view.pairs if pair.labels == ("fear", "surprise"))
    assert (pair.units, pair.overlap, pair.count) == ((1, 2, 5, 26), 4 / 7, 100)
    assert pair.confusion == pytest.approx((60 / 522 + 40 / 415) / 2)


def test_the_correlation_is_spearmans_with_and_without_neutral():
    view = Confusability.from_confusion(EXPRESSIONS, SEVEN)
    six = [pair for pair in view.pairs if "neutral" not in pair.labels]
    for found, pairs in ((view.correlation, six), (view.with_neutral, view.pairs)):
        expected = spearmanr([p.overlap for p in pairs], [p.confusion for p in pairs]).statistic
        assert found.rho == pytest.approx(expected)
        assert found.n == len(pairs)


def test_p_counts_the_exchanges_of_names_that_correlate_as_strongly():
    counts = np.array([[9, 1, 0], [1, 9, 3], [0, 3, 9]])  # angry, fear, surprise
    view = Confusability.from_confusion(["angry", "fear", "surprise"], counts)
    # Overlaps 3/8, 1/7, 4/7 and confusions in the order 2, 1, 3: of six orders one is perfect.
    assert view.correlation.rho == pytest.approx(1)
    assert view.correlation.p == pytest.approx(2 / 6)  # it, and the one that is perfectly inverse


def test_unexplained_confusions_are_listed_the_most_frequent_first():
    view = Confusability.from_confusion(EXPRESSIONS, SEVEN)
    assert [pair.labels for pair in view.unexplained] == [
        ("sad", "neutral"),
        ("angry", "disgust"),
        ("angry", "neutral"),
        ("fear", "neutral"),
        ("happy", "neutral"),
    ]
    assert all(pair.overlap == 0 for pair in view.unexplained)


def test_labels_without_faces_or_units_are_left_out_and_named():
    counts = np.array([[5, 1, 2, 0], [2, 6, 0, 0], [0, 0, 0, 0], [1, 1, 1, 1]])
    view = Confusability.from_confusion(["angry", "fear", "sad", "bored"], counts)
    assert view.left_out == ("sad", "bored")
    assert [pair.labels for pair in view.pairs] == [("angry", "fear")]
    assert view.correlation is None
    assert view.with_neutral is None


def test_without_confusions_there_is_no_correlation():
    view = Confusability.from_confusion(EXPRESSIONS, np.eye(7, dtype=int))
    assert view.correlation is None
    assert view.unexplained == ()
    assert Confusability.from_confusion(["happy"], [[3]]).pairs == ()
