import json
from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import binomtest
from sklearn.metrics import f1_score, recall_score

from ferembed.errors import DataError
from ferembed.evaluation.comparison import compare
from ferembed.evaluation.predictions import Predictions

LABELS = ["angry", "happy", "sad"]


def predictions(targets, predicted, labels=LABELS, name=""):
    faces = [f"face {i}" for i in range(len(targets))]
    made = Predictions.from_labels(targets, predicted, labels, faces)
    return replace(made, name=name)


@pytest.fixture(scope="module")
def drawn():
    """The truth of 400 faces and what a poor and a better classifier say of them."""
    rng = np.random.default_rng(3)
    truth = rng.choice(LABELS, 400, p=[0.2, 0.5, 0.3])
    given = [
        np.where(rng.random(400) < share, truth, rng.choice(LABELS, 400)) for share in (0.4, 0.75)
    ]
    return truth, *given


def test_scores_are_scikit_learns(drawn):
    truth, poor, better = drawn
    found = compare(predictions(truth, poor), predictions(truth, better))
    assert found.accuracy.a == pytest.approx((truth == poor).mean())
    assert found.accuracy.b == pytest.approx((truth == better).mean())
    assert found.accuracy.difference == pytest.approx(found.accuracy.b - found.accuracy.a)
    assert found.macro_f1.b == pytest.approx(f1_score(truth, better, average="macro"))
    for i, label in enumerate(LABELS):
        assert found.recall[label].a == pytest.approx(recall_score(truth, poor, average=None)[i])
        assert found.f1[label].b == pytest.approx(f1_score(truth, better, average=None)[i])


def test_p_is_the_exact_test_of_the_faces_that_one_alone_has_right(drawn):
    truth, poor, better = drawn
    found = compare(predictions(truth, poor), predictions(truth, better))
    assert found.only_a == ((poor == truth) & (better != truth)).sum()
    expected = binomtest(found.only_a, found.only_a + found.only_b).pvalue
    assert found.p == pytest.approx(expected)
    few = compare(predictions(LABELS * 2, ["sad"] * 6), predictions(LABELS * 2, ["angry"] * 6))
    assert (few.only_a, few.only_b, few.p) == (2, 2, 1.0)


def test_the_interval_is_that_of_faces_drawn_again_with_both_predictions(drawn):
    truth, poor, better = drawn
    found = compare(predictions(truth, poor), predictions(truth, better))
    rng = np.random.default_rng(9)
    rows = rng.integers(0, len(truth), (4000, len(truth)))
    gains = (better == truth)[rows].mean(axis=1) - (poor == truth)[rows].mean(axis=1)
    low, high = np.percentile(gains, [2.5, 97.5])
    assert found.accuracy.low == pytest.approx(low, abs=0.006)
    assert found.accuracy.high == pytest.approx(high, abs=0.006)


def test_the_same_seed_gives_the_same_intervals(drawn):
    truth, poor, better = drawn
    a, b = predictions(truth, poor), predictions(truth, better)
    assert compare(a, b, seed=1) == compare(a, b, seed=1)
    assert compare(a, b, seed=1).accuracy.low != compare(a, b, seed=2).accuracy.low


def test_a_clear_difference_is_significant_whichever_comes_first(drawn):
    truth, poor, better = drawn
    a, b = predictions(truth, poor), predictions(truth, better)
    for one, other, letters in ((a, b, "BA"), (b, a, "AB")):
        found = compare(one, other)
        assert found.significant
        points = 100 * abs(found.accuracy.difference)
        start = f"{letters[0]} is more accurate than {letters[1]} by {points:.2f} points "
        assert found.verdict.startswith(start)
        assert found.verdict.endswith("The difference is significant (McNemar's test, p < 0.001).")
    low, high = found.accuracy.low, found.accuracy.high
    assert f"(95 % interval {-100 * high:.2f} to {-100 * low:.2f})" in found.verdict


def test_half_a_point_on_few_faces_is_not_significant():
    truth = ["happy", "sad"] * 100
    one = ["sad"] * 4 + truth[4:]
    two = truth[:-3] + ["angry"] * 3
    found = compare(predictions(truth, one), predictions(truth, two))
    assert found.accuracy.difference == pytest.approx(-0.005)
    assert not found.significant
    assert found.verdict.startswith("B - A is -0.50 points (95 % interval ")
    assert found.verdict.endswith("This may be chance (McNemar's test, p = 1.000).")


def test_the_same_predictions_do_not_differ():
    found = compare(predictions(LABELS, LABELS), predictions(LABELS, LABELS))
    assert found.verdict == "A and B are right on the same faces."
    assert found.p == 1
    assert (found.accuracy.low, found.accuracy.high) == (0, 0)


def test_one_face_of_one_class_can_be_compared():
    found = compare(predictions(["sad"], ["sad"]), predictions(["sad"], ["happy"]))
    assert (found.count, found.accuracy.difference, found.p) == (1, -1, 1)
    assert list(found.recall) == ["sad"]


def test_classes_without_faces_do_not_count():
    found = compare(
        predictions(["sad", "happy"], ["sad"] * 2), predictions(["sad", "happy"], ["angry"] * 2)
    )
    assert list(found.f1) == ["happy", "sad"]
    assert found.macro_f1.a == pytest.approx((0 + 2 / 3) / 2)


def test_classifiers_of_other_classes_are_compared_on_the_faces_they_share():
    few = predictions(["sad", "happy"], ["sad", "sad"], ["happy", "sad"])
    many = predictions(["sad", "happy"], ["sad", "angry"], LABELS)
    assert compare(few, many).accuracy.difference == 0


def test_many_distinct_predictions_are_drawn_in_bounded_memory():
    rng = np.random.default_rng(0)
    labels = [f"class {i:02}" for i in range(60)]
    truth, one, two = rng.choice(labels, (3, 3000))
    found = compare(predictions(truth, one, labels), predictions(truth, two, labels), draws=1500)
    assert found.accuracy.low < found.accuracy.difference < found.accuracy.high


def test_the_table_has_every_score_and_ends_in_the_verdict(drawn):
    truth, poor, better = drawn
    a, b = predictions(truth, poor, name="one.json"), predictions(truth, better, name="two.json")
    found = compare(a, b)
    lines = found.table().splitlines()
    assert lines[:4] == [
        "A: one.json",
        "B: two.json",
        "",
        "| 400 faces | A | B | B - A | 95 % interval |",
    ]
    scores = [float((predicted == truth).mean()) for predicted in (poor, better)]
    *cells, interval = lines[5].strip("| ").split(" | ")
    assert cells == [
        "accuracy",
        *(f"{score:.4f}" for score in scores),
        f"{scores[1] - scores[0]:+.4f}",
    ]
    low, high = (float(end) for end in interval.split(" to "))
    assert low < scores[1] - scores[0] < high
    assert [line.split(" | ")[0] for line in lines[7:13]] == [
        f"| {label}, {score}" for score in ("recall", "F1") for label in LABELS
    ]
    assert lines[-1].endswith(found.verdict)
    assert json.loads(json.dumps(found.to_dict()))["verdict"] == found.verdict


def test_duplicates_are_excluded_if_one_of_the_two_results_knows_them(drawn, tmp_path):
    truth, poor, better = drawn
    duplicates = np.arange(400) % 4 == 0
    plain, other = predictions(truth, poor), predictions(truth, better)
    cell = {"predictions": plain.to_dict(), "duplicates": duplicates.tolist()}
    (tmp_path / "report.json").write_text(json.dumps(cell))
    knowing = Predictions.read(tmp_path)
    kept = ~duplicates
    expected = compare(predictions(truth[kept], poor[kept]), predictions(truth[kept], better[kept]))
    for a, b in (
        (knowing, other),
        (replace(plain, duplicates=duplicates), replace(other, duplicates=duplicates)),
    ):
        found = compare(a, b, deduplicated=True)
        assert (found.count, found.accuracy, found.p) == (300, expected.accuracy, expected.p)
    either = compare(knowing, replace(other, duplicates=~duplicates[::-1]), deduplicated=True)
    assert either.count == 100
    assert compare(knowing, other).count == 400
    with pytest.raises(DataError, match="Neither result knows which faces have duplicates"):
        compare(plain, other, deduplicated=True)
    with pytest.raises(DataError, match="All 400 faces have a duplicate in the training data"):
        compare(knowing, replace(other, duplicates=kept), deduplicated=True)


def test_results_on_different_faces_are_refused_and_both_sides_named():
    one = predictions(["sad"] * 3, ["sad"] * 3, name="a.json")
    other = predictions(["sad"] * 2, ["sad"] * 2, name="b.json")
    with pytest.raises(
        DataError, match="different faces: a.json has 3 .*, b.json has 2 .*Evaluate"
    ):
        compare(one, other)


def test_results_on_other_labels_of_the_same_faces_are_refused():
    one = predictions(["sad", "happy"], ["sad"] * 2, name="a.json")
    other = predictions(["sad", "angry"], ["sad"] * 2, name="b.json")
    with pytest.raises(
        DataError,
        match="1 of the 2 faces have different labels .* face 2: happy in a.json, angry in b",
    ):
        compare(one, other)
