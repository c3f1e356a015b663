import io
import json
import re
from dataclasses import replace

import numpy as np
import PIL.Image
import pytest

from ferembed.datasets import Dataset
from ferembed.embedder import Embedder
from ferembed.errors import DataError, LabelError
from ferembed.evaluation.evaluation import Costs, Evaluation, evaluate
from ferembed.pipeline import Pipeline


def test_scores_are_those_of_the_pipeline(evaluation, pipeline, unseen):
    report, _ = pipeline.evaluate(unseen.images, unseen.labels)
    assert evaluation.report() == report
    assert evaluation.split == "validation"
    assert evaluation.labels == ("angry", "happy", "sad")
    answers = np.array(evaluation.labels)[evaluation.predicted]
    assert answers.tolist() == pipeline.predict(unseen.images).tolist()


def test_exact_and_near_duplicates_in_the_training_data_are_marked(
    evaluation, pipeline, unseen, training
):
    assert evaluation.duplicates.tolist() == [False] * 6 + [True, True]
    alone = evaluation.report(deduplicated=True)
    expected, _ = pipeline.evaluate(unseen.images[:6], unseen.labels[:6])
    assert (alone.count, alone.confusion) == (6, expected.confusion)
    exact = evaluate(pipeline, unseen, training, near_duplicates=False)
    assert exact.duplicates.tolist() == [False] * 6 + [True, False]


def test_without_training_data_duplicates_are_unknown(pipeline, unseen):
    found = evaluate(pipeline, unseen)
    assert found.duplicates is None
    assert found.to_dict()["scores_deduplicated"] is None
    with pytest.raises(DataError, match="Duplicates are unknown: evaluate with the training data"):
        found.report(deduplicated=True)


class Counted:
    """A picture that counts how often it is read."""

    def __init__(self, face):
        file = io.BytesIO()
        PIL.Image.fromarray(face).save(file, "PNG")
        self.content, self.reads = file.getvalue(), 0

    def read_bytes(self):
        self.reads += 1
        return self.content


@pytest.mark.parametrize("mistakes", [0, 24])
def test_each_picture_is_read_once_and_those_that_are_shown_again(
    pipeline, faces, labels, mistakes
):
    pictures = [Counted(face) for face in faces]
    training = Dataset.from_images(pictures[:18], labels[:18])
    unseen = Dataset.from_images(pictures[18:], labels[18:])
    found = evaluate(pipeline, unseen, training, mistakes=mistakes, neighbours=1)
    shown = len(found.mistakes)
    assert bool(shown) == bool(mistakes)
    assert sum(picture.reads for picture in pictures[18:]) == 6 + shown
    assert sum(picture.reads for picture in pictures[:18]) == 18 + shown
    assert found.costs.predict_ms > 0
    assert len(found.duplicates) == 6


def test_nothing_is_embedded_twice(faces, labels, training, tmp_path):
    made = Pipeline("cnn-a", "knn", weights="random", store=tmp_path / "store.sqlite")
    made.set_params(head__n_neighbors=1).fit(faces[:18], labels[:18])
    data = Dataset.from_images([*faces[18:], faces[18]], [*labels[18:], labels[18]])
    first = evaluate(made, data, training)
    assert first.costs.embed_seconds > 0
    embedder = Embedder("cnn-a", weights="random", store=tmp_path / "store.sqlite")
    assert embedder.embed(faces).computed == 0
    assert evaluate(made, data, training).costs.embed_seconds is None


def test_costs_are_measured_where_they_can_be(evaluation, pipeline, unseen, tmp_path):
    assert 0 < evaluation.costs.predict_ms < 10_000
    assert evaluation.costs.bytes is None
    pipeline.save(tmp_path / "model")
    size = sum(file.stat().st_size for file in (tmp_path / "model").iterdir())
    assert evaluate(pipeline, unseen, model=tmp_path / "model").costs.bytes == size
    costs = replace(evaluation.costs, fit_seconds=1.5)
    assert replace(evaluation, costs=costs).to_dict()["costs"]["fit_seconds"] == 1.5


def test_the_size_of_a_model_that_ships_counts_its_network(faces, labels):
    data = Dataset.from_images(faces[:2], labels[:2])
    fast = evaluate(Pipeline.load("fast", store="memory"), data, model="fast")
    assert fast.costs.bytes > 2_000_000


def test_faces_that_cannot_be_read_are_left_out_and_named(pipeline, faces, labels):
    data = Dataset.from_images([faces[0], b"nonsense", faces[1]], labels[:3])
    found = evaluate(pipeline, data)
    assert found.report().count == 2
    assert len(found.failures) == 1
    assert "not a picture in a known format" in found.failures[0]
    assert found.data[-1] == "read: kept 2, of 3"


def test_without_a_readable_face_there_is_no_report(pipeline):
    with pytest.raises(LabelError, match="There is no face to report on"):
        evaluate(pipeline, Dataset.from_images([b"x", b""], ["sad", "happy"]))


def test_labels_the_model_does_not_know_are_named(pipeline, faces):
    with pytest.raises(LabelError, match="has the labels bored, which the model does not know"):
        evaluate(pipeline, Dataset.from_images(faces[:1], ["bored"]))


def test_the_summary_has_the_scores_the_split_and_the_duplicates(evaluation, pipeline, unseen):
    report, others = evaluation.report(), evaluation.report(deduplicated=True)
    assert evaluation.summary() == (
        f"{report.table()}\n\nScored on the validation split.\n"
        "2 of 8 faces have a duplicate in the training data; without them: accuracy "
        f"{others.accuracy:.2%}, macro F1 {others.macro_f1:.3f}."
    )
    unsplit = replace(evaluation, split="unsplit", duplicates=None)
    assert "the data set has no splits. If the model was trained on some" in unsplit.summary()
    assert "duplicate" not in unsplit.summary()
    known = replace(evaluation, duplicates=np.ones(8, np.bool_))
    assert known.summary().endswith("8 of 8 faces have a duplicate in the training data.")


def test_one_face_and_one_class_are_enough(pipeline, faces):
    found = evaluate(pipeline, Dataset.from_images(faces[:1], ["sad"]))
    assert found.report().count == 1
    assert found.confusability.pairs == ()
    assert found.confusability.left_out == ("angry", "happy")


def test_an_evaluation_is_the_same_after_it_was_written_and_read(evaluation, tmp_path):
    (tmp_path / "report.json").write_text(evaluation.to_json())
    for path in (tmp_path, tmp_path / "report.json"):
        read = Evaluation.read(path)
        assert read.to_json() == evaluation.to_json()
        assert read.mistakes == evaluation.mistakes
        assert read.costs == evaluation.costs
        assert read.report() == evaluation.report()


def test_the_file_has_scores_and_predictions_for_other_programs(evaluation):
    content = json.loads(evaluation.to_json())
    assert content["scores"]["accuracy"] == evaluation.report().accuracy
    assert content["scores_deduplicated"]["count"] == 6
    assert content["predictions"]["labels"] == ["angry", "happy", "sad"]
    assert content["predictions"]["predicted"] == evaluation.predicted.tolist()
    assert re.fullmatch("[0-9a-f]{64}", content["predictions"]["faces"])
    assert [pair["labels"] for pair in content["action_units"]["pairs"]] == [
        ["angry", "happy"],
        ["angry", "sad"],
        ["happy", "sad"],
    ]


def changed(evaluation, **entries):
    return json.dumps({**json.loads(evaluation.to_json()), **entries})


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        ({"format": 9}, "has the format 9, and this version reads 2"),
        ({"names": ["one"]}, "damaged: its lists have different lengths"),
        ({"probabilities": [[1.0, 0.0]]}, "its probabilities do not fit the faces and labels"),
        ({"probabilities": "x"}, "are damaged"),
        ({"digests": ["a"] * 8}, "its digests and its predictions are of different faces"),
        ({"duplicates": [True]}, "it has 1 duplicates for 8 faces"),
        ({"costs": {"embed_seconds": "long"}}, "are damaged"),
        ({"mistakes": [{"name": "a"}]}, "are damaged"),
        ({"mistakes": None}, "are damaged"),
    ],
)
def test_a_damaged_evaluation_is_refused_with_the_reason(evaluation, tmp_path, entries, message):
    (tmp_path / "report.json").write_text(changed(evaluation, **entries))
    with pytest.raises(DataError, match=message):
        Evaluation.read(tmp_path)


def test_a_picture_at_an_url_is_refused(evaluation, tmp_path):
    mistakes = json.loads(evaluation.to_json())["mistakes"]
    mistakes[0]["picture"] = "https://example.org/face.jpg"
    (tmp_path / "report.json").write_text(changed(evaluation, mistakes=mistakes))
    with pytest.raises(DataError, match="a picture is not stored in the file itself"):
        Evaluation.read(tmp_path)


def test_the_cell_of_a_grid_is_no_evaluation(evaluation, tmp_path):
    cell = {"format": 7, "predictions": evaluation.predictions.to_dict()}
    (tmp_path / "cell.json").write_text(json.dumps(cell))
    with pytest.raises(DataError, match="has the format 7"):
        Evaluation.read(tmp_path / "cell.json")


def test_costs_that_were_not_measured_are_none():
    assert Costs() == Costs(None, None, None, None)


def test_ties_are_predicted_as_by_the_pipeline(faces, training, tmp_path):
    labels = np.array(["surprise", "neutral", "happy"] * 8)  # in reading order: as they stand
    made = Pipeline("cnn-a", "knn", weights="random", store="memory")
    made.set_params(head__n_neighbors=2, head__weights="uniform").fit(faces[:18], labels[:18])
    asked = Dataset.from_images(faces, labels)
    found = evaluate(made, asked)
    answers = made.predict(faces)
    tied = np.sort(found.probabilities, axis=1)
    assert (tied[:, -1] == tied[:, -2]).sum() > 5
    assert np.array(found.labels)[found.predicted].tolist() == answers.tolist()
    assert found.report().accuracy == pytest.approx((answers == labels).mean())
    (tmp_path / "report.json").write_text(found.to_json())
    read = Evaluation.read(tmp_path)
    assert read.predicted.tolist() == found.predicted.tolist()
    assert read.report() == found.report()
