import json

import numpy as np
import pytest

from ferembed.errors import DataError, LabelError
from ferembed.evaluation.predictions import Predictions, face_digests


def predictions_of(targets, predicted):
    faces = [f"face {i}" for i in range(len(targets))]
    return Predictions.from_labels(targets, predicted, ["angry", "happy", "sad"], faces)


def test_predictions_are_read_from_a_file_or_the_folder_of_a_report(tmp_path):
    made = predictions_of(["sad", "happy"], ["sad", "sad"])
    cell = {"name": "svm", "predictions": made.to_dict(), "seconds": 3}
    (tmp_path / "report.json").write_text(json.dumps(cell))
    for path in (tmp_path, tmp_path / "report.json"):
        read = Predictions.read(path)
        assert read.to_dict() == made.to_dict()
        assert read.name == str(path)


def test_a_face_is_identified_by_its_content(tmp_path, portrait):
    copied = tmp_path / "other.jpg"
    copied.write_bytes(portrait.read_bytes())
    one, other = face_digests([portrait, copied])
    assert one == other
    assert len(one) == 64
    dark, light = face_digests([np.zeros((8, 8), np.uint8), np.ones((8, 8), np.uint8)])
    assert dark != light


def test_an_unknown_label_is_named():
    with pytest.raises(LabelError, match="bored is none of the labels angry, happy, sad"):
        predictions_of(["bored"], ["sad"])


GOOD = {"labels": ["happy", "sad"], "faces": "ab" * 32, "targets": [0, 1], "predicted": [1, 1]}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "is empty"),
        ('{"predictions": {"labels": ["ha', "is not JSON, or incomplete"),
        ("[1, 2]", "holds a list, not a result"),
        (
            '{"images": 3, "info": 1}',
            "has no predictions, but images, info. Compare the report.json",
        ),
        ('{"error": "no memory"}', "has no predictions: it failed with 'no memory'"),
        (json.dumps({"predictions": [1]}), "are damaged"),
        (json.dumps({"predictions": {**GOOD, "targets": [0]}}), "it has 2 predictions for 1 faces"),
        (
            json.dumps({"predictions": {**GOOD, "targets": [0, 2]}}),
            "a prediction is 2, and there are 2",
        ),
        (json.dumps({"predictions": {**GOOD, "targets": []}}), "are not lists of whole numbers"),
        (
            json.dumps({"predictions": {**GOOD, "targets": ["a", "b"]}}),
            "not lists of whole numbers",
        ),
        (json.dumps({"predictions": {**GOOD, "labels": ["a", "a"]}}), "not different words"),
        (json.dumps({"predictions": {**GOOD, "faces": 3}}), "faces is not a digest"),
        (json.dumps({"predictions": {"labels": ["a"]}}), "'targets' is missing"),
        (
            json.dumps({"predictions": GOOD, "duplicates": [True]}),
            "it has 1 duplicates for 2 faces",
        ),
    ],
)
def test_damaged_and_foreign_files_are_refused_with_the_reason(tmp_path, content, message):
    file = tmp_path / "odd.json"
    file.write_text(content)
    with pytest.raises(DataError, match=message) as error:
        Predictions.read(file)
    assert "odd.json" in str(error.value)


def test_a_missing_or_binary_file_is_named(tmp_path):
    with pytest.raises(DataError, match=r"gone.json cannot be read: No such file"):
        Predictions.read(tmp_path / "gone.json")
    with pytest.raises(DataError, match=r"report.json cannot be read: No such file"):
        Predictions.read(tmp_path)
    (tmp_path / "odd.json").write_bytes(b"\xff\xfe\x00PK")
    with pytest.raises(DataError, match="is not JSON"):
        Predictions.read(tmp_path / "odd.json")
