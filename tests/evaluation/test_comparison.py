import json
from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import binomtest
from sklearn.metrics import f1_score, recall_score

from ferembed.errors import DataError, LabelError
from ferembed.evaluation.comparison import Answers, compare, face_digests

LABELS = ["angry", "happy", "sad"]


def answers(truth, predicted, labels=LABELS, name=""):
    made = Answers.of(truth, predicted, labels, [f"face {i}" for i in range(len(truth))])
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
    found = compare(answers(truth, poor), answers(truth, better))
    assert found.accuracy.a == pytest.approx((truth == poor).mean())
    assert found.accuracy.b == pytest.approx((truth == better).mean())
    assert found.accuracy.difference == pytest.approx(found.accuracy.b - found.accuracy.a)
    assert found.macro_f1.b == pytest.approx(f1_score(truth, better, average="macro"))
    for i, label in enumerate(LABELS):
        assert found.recall[label].a == pytest.approx(recall_score(truth, poor, average=None)[i])
        assert found.f1[label].b == pytest.approx(f1_score(truth, better, average=None)[i])


def test_p_is_the_exact_test_of_the_faces_that_one_alone_has_right(drawn):
    truth, poor, better = drawn
    found = compare(answers(truth, poor), answers(truth, better))
    assert found.only_a == ((poor == truth) & (better != truth)).sum()
    expected = binomtest(found.only_a, found.only_a + found.only_b).pvalue
    assert found.p == pytest.approx(expected)
    few = compare(answers(LABELS * 2, ["sad"] * 6), answers(LABELS * 2, ["angry"] * 6))
    assert (few.only_a, few.only_b, few.p) == (2, 2, 1.0)


def test_the_interval_is_that_of_faces_drawn_again_with_both_answers(drawn):
    truth, poor, better = drawn
    found = compare(answers(truth, poor), answers(truth, better))
    rng = np.random.default_rng(9)
    rows = rng.integers(0, len(truth), (4000, len(truth)))
    gains = (better == truth)[rows].mean(axis=1) - (poor == truth)[rows].mean(axis=1)
    low, high = np.percentile(gains, [2.5, 97.5])
    assert found.accuracy.low == pytest.approx(low, abs=0.006)
    assert found.accuracy.high == pytest.approx(high, abs=0.006)


def test_the_same_seed_gives_the_same_intervals(drawn):
    truth, poor, better = drawn
    a, b = answers(truth, poor), answers(truth, better)
    assert compare(a, b, seed=1) == compare(a, b, seed=1)
    assert compare(a, b, seed=1).accuracy.low != compare(a, b, seed=2).accuracy.low


def test_a_clear_difference_is_told_from_chance_whichever_comes_first(drawn):
    truth, poor, better = drawn
    a, b = answers(truth, poor), answers(truth, better)
    for one, other, letters in ((a, b, "BA"), (b, a, "AB")):
        found = compare(one, other)
        assert found.distinguishable
        points = 100 * abs(found.accuracy.difference)
        start = f"{letters[0]} is right on {points:.2f} points more of the faces than {letters[1]} "
        assert found.verdict.startswith(start)
        assert found.verdict.endswith("That is more than chance (McNemar's test, p < 0.001).")
    low, high = found.accuracy.low, found.accuracy.high
    assert f"(95 % interval {-100 * high:.2f} to {-100 * low:.2f})" in found.verdict


def test_half_a_point_on_few_faces_is_not_taken_for_progress():
    truth = ["happy", "sad"] * 100
    one = ["sad"] * 4 + truth[4:]
    two = truth[:-3] + ["angry"] * 3
    found = compare(answers(truth, one), answers(truth, two))
    assert found.accuracy.difference == pytest.approx(-0.005)
    assert not found.distinguishable
    assert found.verdict.startswith("B less A is -0.50 points (95 % interval ")
    assert found.verdict.endswith("cannot be told from chance (McNemar's test, p = 1.000).")


def test_the_same_answers_differ_in_nothing():
    found = compare(answers(LABELS, LABELS), answers(LABELS, LABELS))
    assert found.verdict == "A and B are right on the same faces: there is no difference."
    assert found.p == 1
    assert (found.accuracy.low, found.accuracy.high) == (0, 0)


def test_one_face_of_one_class_can_be_compared():
    found = compare(answers(["sad"], ["sad"]), answers(["sad"], ["happy"]))
    assert (found.count, found.accuracy.difference, found.p) == (1, -1, 1)
    assert list(found.recall) == ["sad"]


def test_classes_without_faces_do_not_count():
    found = compare(
        answers(["sad", "happy"], ["sad"] * 2), answers(["sad", "happy"], ["angry"] * 2)
    )
    assert list(found.f1) == ["happy", "sad"]
    assert found.macro_f1.a == pytest.approx((0 + 2 / 3) / 2)


def test_classifiers_of_other_classes_are_compared_on_the_faces_they_share():
    few = answers(["sad", "happy"], ["sad", "sad"], ["happy", "sad"])
    many = answers(["sad", "happy"], ["sad", "angry"], LABELS)
    assert compare(few, many).accuracy.difference == 0


def test_many_distinct_answers_are_drawn_in_bounded_memory():
    rng = np.random.default_rng(0)
    labels = [f"class {i:02}" for i in range(60)]
    truth, one, two = rng.choice(labels, (3, 3000))
    found = compare(answers(truth, one, labels), answers(truth, two, labels), draws=1500)
    assert found.accuracy.low < found.accuracy.difference < found.accuracy.high


def test_the_table_has_every_score_and_ends_in_the_verdict(drawn):
    truth, poor, better = drawn
    a, b = answers(truth, poor, name="one.json"), answers(truth, better, name="two.json")
    found = compare(a, b)
    lines = found.table().splitlines()
    assert lines[:4] == [
        "A: one.json",
        "B: two.json",
        "",
        "| 400 faces | A | B | B less A | 95 % interval |",
    ]
    one = found.accuracy
    assert lines[5] == (
        f"| accuracy | {one.a:.4f} | {one.b:.4f} | {one.difference:+.4f} | "
        f"{one.low:+.4f} to {one.high:+.4f} |"
    )
    assert [line.split(" | ")[0] for line in lines[7:13]] == [
        f"| {label}, {score}" for score in ("recall", "F1") for label in LABELS
    ]
    assert lines[-1].endswith(found.verdict)
    assert json.loads(json.dumps(found.to_dict()))["verdict"] == found.verdict


def test_copies_are_left_out_if_one_of_the_two_knows_them(drawn, tmp_path):
    truth, poor, better = drawn
    copies = np.arange(400) % 4 == 0
    plain, other = answers(truth, poor), answers(truth, better)
    cell = {"answers": plain.to_dict(), "copies": copies.tolist()}
    (tmp_path / "report.json").write_text(json.dumps(cell))
    knowing = Answers.read(tmp_path)
    kept = ~copies
    expected = compare(answers(truth[kept], poor[kept]), answers(truth[kept], better[kept]))
    for a, b in ((knowing, other), (replace(plain, copies=copies), replace(other, copies=copies))):
        found = compare(a, b, without_copies=True)
        assert (found.count, found.accuracy, found.p) == (300, expected.accuracy, expected.p)
    either = compare(knowing, replace(other, copies=~copies[::-1]), without_copies=True)
    assert either.count == 100
    assert compare(knowing, other).count == 400
    with pytest.raises(DataError, match="Neither of the two knows which faces have copies"):
        compare(plain, other, without_copies=True)
    with pytest.raises(DataError, match="All 400 faces have a copy in the training data"):
        compare(knowing, replace(other, copies=kept), without_copies=True)


def test_answers_are_read_from_a_file_or_the_folder_of_a_report(tmp_path):
    made = answers(["sad", "happy"], ["sad", "sad"])
    cell = {"name": "svm", "answers": made.to_dict(), "seconds": 3}
    (tmp_path / "report.json").write_text(json.dumps(cell))
    for path in (tmp_path, tmp_path / "report.json"):
        read = Answers.read(path)
        assert read.to_dict() == made.to_dict()
        assert read.name == str(path)


def test_faces_are_known_by_their_content(tmp_path, portrait):
    copied = tmp_path / "other.jpg"
    copied.write_bytes(portrait.read_bytes())
    one, other = face_digests([portrait, copied])
    assert one == other
    assert len(one) == 64
    dark, light = face_digests([np.zeros((8, 8), np.uint8), np.ones((8, 8), np.uint8)])
    assert dark != light


def test_results_on_different_faces_are_refused_and_both_sides_named():
    one = answers(["sad"] * 3, ["sad"] * 3, name="a.json")
    other = answers(["sad"] * 2, ["sad"] * 2, name="b.json")
    with pytest.raises(
        DataError, match="different faces: a.json has 3 .*, b.json has 2 .*Evaluate"
    ):
        compare(one, other)


def test_results_on_other_labels_of_the_same_faces_are_refused():
    one = answers(["sad", "happy"], ["sad"] * 2, name="a.json")
    other = answers(["sad", "angry"], ["sad"] * 2, name="b.json")
    with pytest.raises(
        DataError, match="1 of the 2 faces have .* face 2: happy in a.json, angry in b"
    ):
        compare(one, other)


def test_words_that_are_no_label_are_named():
    with pytest.raises(LabelError, match="bored is none of the labels angry, happy, sad"):
        answers(["bored"], ["sad"])


GOOD = {"labels": ["happy", "sad"], "faces": "ab" * 32, "truth": [0, 1], "predicted": [1, 1]}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "is empty"),
        ('{"answers": {"labels": ["ha', "is no JSON, or cut short"),
        ("[1, 2]", "holds a list, not a result"),
        ('{"images": 3, "info": 1}', "holds no answers, but images, info. Compare the report.json"),
        ('{"error": "no memory"}', "holds no answers: it failed with 'no memory'"),
        (json.dumps({"answers": [1]}), "are damaged"),
        (json.dumps({"answers": {**GOOD, "truth": [0]}}), "2 answers are given to 1 faces"),
        (json.dumps({"answers": {**GOOD, "truth": [0, 2]}}), "an answer is 2, and there are 2"),
        (json.dumps({"answers": {**GOOD, "truth": []}}), "are not lists of whole numbers"),
        (json.dumps({"answers": {**GOOD, "truth": ["a", "b"]}}), "not lists of whole numbers"),
        (json.dumps({"answers": {**GOOD, "labels": ["a", "a"]}}), "not different words"),
        (json.dumps({"answers": {**GOOD, "faces": 3}}), "faces is not a digest"),
        (json.dumps({"answers": {"labels": ["a"]}}), "'truth' is missing"),
        (json.dumps({"answers": GOOD, "copies": [True]}), "copies are told of 1 of 2 faces"),
    ],
)
def test_damaged_and_foreign_files_are_refused_with_the_reason(tmp_path, content, message):
    file = tmp_path / "odd.json"
    file.write_text(content)
    with pytest.raises(DataError, match=message) as error:
        Answers.read(file)
    assert "odd.json" in str(error.value)


def test_a_file_that_is_not_there_or_no_text_is_named(tmp_path):
    with pytest.raises(DataError, match=r"gone.json cannot be read: No such file"):
        Answers.read(tmp_path / "gone.json")
    with pytest.raises(DataError, match=r"report.json cannot be read: No such file"):
        Answers.read(tmp_path)
    (tmp_path / "odd.json").write_bytes(b"\xff\xfe\x00PK")
    with pytest.raises(DataError, match="is no JSON"):
        Answers.read(tmp_path / "odd.json")
