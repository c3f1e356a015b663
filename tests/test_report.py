import numpy as np
import pytest

from ferembed.errors import LabelError
from ferembed.report import Report


@pytest.fixture
def report():
    classes = ["angry", "happy", "sad"]
    shares = np.array(
        [[0.9, 0.1, 0.0], [0.2, 0.8, 0.0], [0.1, 0.6, 0.3], [0.0, 0.3, 0.7], [0.6, 0.0, 0.4]]
    )
    return Report.from_predictions(["angry", "happy", "sad", "sad", "angry"], shares, classes)


def test_the_scores_match_those_by_hand(report):
    assert report.count == 5
    assert report.accuracy == pytest.approx(0.8)
    assert report.labels == ("angry", "happy", "sad")
    assert report.confusion == ((2, 0, 0), (0, 1, 0), (0, 1, 1))
    happy, sad = report.classes["happy"], report.classes["sad"]
    assert (happy.precision, happy.recall, happy.support) == (0.5, 1.0, 1)
    assert (sad.precision, sad.recall, sad.f1) == (1.0, 0.5, pytest.approx(2 / 3))
    assert report.macro_f1 == pytest.approx((1 + 2 / 3 + 2 / 3) / 3)


def test_the_calibration_error_matches_the_one_by_hand(report):
    # Bins of 1/15: 0.9, 0.8, 0.7 alone and right; the two of 0.6 in one bin, half of them right.
    assert report.calibration_error == pytest.approx((0.1 + 0.2 + 0.3 + 2 * 0.1) / 5)


def test_scores_agree_with_scikit_learns():
    from sklearn.metrics import confusion_matrix, f1_score, precision_recall_fscore_support

    rng = np.random.default_rng(0)
    classes = ["angry", "happy", "neutral", "sad"]
    shares = rng.dirichlet(np.ones(4), 300)
    truth = rng.choice(classes, 300)
    report = Report.from_predictions(truth, shares, classes)
    answers = np.array(classes)[shares.argmax(axis=1)]
    order = list(report.labels)
    assert np.array_equal(report.confusion, confusion_matrix(truth, answers, labels=order))
    assert report.macro_f1 == pytest.approx(f1_score(truth, answers, average="macro"))
    expected = precision_recall_fscore_support(truth, answers, labels=order)
    ours = [[getattr(report.classes[c], k) for c in order] for k in ("precision", "recall", "f1")]
    assert np.array(ours) == pytest.approx(np.array(expected[:3]))


def test_a_class_without_faces_does_not_count_in_the_mean():
    report = Report.from_predictions(["a", "b"], np.eye(3)[:2], ["a", "b", "c"])
    assert report.macro_f1 == 1
    assert report.classes["c"].support == 0
    assert "macro F1 1.000 over the 2 classes that occur, " in report.table()


def test_the_table_is_aligned_for_a_terminal(report):
    assert report.table().splitlines() == [
        "5 faces: accuracy 80.00%, macro F1 0.778, calibration error 0.160",
        "",
        "true   precision  recall     F1  faces  Angry  Happy  Sad",
        "Angry      1.000   1.000  1.000      2      2      0    0",
        "Happy      0.500   1.000  0.667      1      0      1    0",
        "Sad        1.000   0.500  0.667      2      0      1    1",
        "",
        "The last columns count the predictions of each expression.",
    ]
    assert report.to_dict()["classes"]["sad"]["recall"] == 0.5


def test_the_table_is_spanish_on_request(report):
    lines = report.table("es").splitlines()
    assert lines[0] == "5 caras: exactitud 80.00\u00a0%, F1 macro 0.778, error de calibración 0.160"
    assert lines[2].split()[:4] == ["verdadera", "precisión", "exhaustividad", "F1"]
    assert [line.split()[0] for line in lines[3:6]] == ["Enfado", "Alegría", "Tristeza"]


def test_labels_the_model_does_not_know_are_named():
    with pytest.raises(LabelError, match="has the labels bored, which the model does not know: a"):
        Report.from_predictions(["a", "bored"], np.eye(2), ["a", "b"])
    with pytest.raises(LabelError, match="the data set is empty"):
        Report.from_predictions([], np.empty((0, 2)), ["a", "b"])


def test_means_over_classes_and_over_faces_are_scikit_learns():
    from sklearn.metrics import precision_recall_fscore_support

    rng = np.random.default_rng(1)
    classes = ["angry", "happy", "neutral", "sad"]
    truth = rng.choice(classes, 300, p=[0.1, 0.5, 0.1, 0.3])
    shares = rng.dirichlet(np.ones(4), 300)
    report = Report.from_predictions(truth, shares, classes)
    answers = np.array(classes)[shares.argmax(axis=1)]
    for kind, mean in (("macro", report.macro), ("weighted", report.weighted)):
        expected = precision_recall_fscore_support(truth, answers, average=kind)[:3]
        assert (mean.precision, mean.recall, mean.f1) == pytest.approx(expected)
    assert report.macro.f1 == pytest.approx(report.macro_f1)
    assert report.weighted.recall == pytest.approx(report.accuracy)


def test_the_confusion_in_counts_and_in_fractions(report):
    assert report.normalised == ((1, 0, 0), (0, 1, 0), (0, 0.5, 0.5))
    assert report.predicted == {"angry": 2, "happy": 2, "sad": 1}
    empty = Report.from_predictions(["a"], np.array([[0.2, 0.8]]), ["a", "b"])
    assert empty.normalised == ((0, 1), (0, 0))
    assert empty.weighted.f1 == empty.macro.f1 == 0


def test_calibration_has_a_bin_for_each_confidence_that_occurs(report):
    bins = [(bin.confidence, bin.accuracy, bin.count) for bin in report.calibration]
    expected = [(0.6, 0.5, 2), (0.7, 1, 1), (0.8, 1, 1), (0.9, 1, 1)]
    assert np.array(bins) == pytest.approx(np.array(expected))


def test_coverage_gives_the_most_confident_predictions_first(report):
    found = [(one.coverage, one.accuracy, one.confidence) for one in report.coverage]
    expected = [(0.2, 1, 0.9), (0.4, 1, 0.8), (0.6, 1, 0.7), (0.8, 7 / 8, 0.6), (1, 0.8, 0.6)]
    assert np.array(found) == pytest.approx(np.array(expected))


def test_of_equally_confident_predictions_none_comes_first():
    shares = np.tile([1.0, 0.0], (100, 1))
    report = Report.from_predictions(["a"] * 50 + ["b"] * 50, shares, ["a", "b"])
    assert [one.accuracy for one in report.coverage] == [0.5] * 20
    assert [one.coverage for one in report.coverage] == pytest.approx(np.linspace(0.05, 1, 20))


def test_one_face_of_one_class_has_a_report():
    report = Report.from_predictions(["a"], np.array([[1.0]]), ["a"])
    assert (report.accuracy, report.macro.f1, report.weighted.f1) == (1, 1, 1)
    assert [one.coverage for one in report.coverage] == [1]
    assert report.to_dict()["predicted"] == {"a": 1}


def test_of_equal_probabilities_the_first_class_is_predicted():
    shares = np.array([[0.5, 0.5, 0.0], [0.0, 0.5, 0.5]])
    report = Report.from_predictions(["fear", "angry"], shares, ["fear", "angry", "sad"])
    assert report.accuracy == 1
    assert (
        Report.from_predictions(["fear", "angry"], shares, ["angry", "fear", "sad"]).accuracy == 0
    )
