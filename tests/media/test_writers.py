import contextlib
import csv
import io
import json
import os
import shutil

import pytest

from ferembed.errors import DataError
from ferembed.faces import Face
from ferembed.media.find import find_photos
from ferembed.media.photos import PhotoResult, read_photos
from ferembed.media.writers import writing
from ferembed.pipeline import Prediction


def test_columns_are_the_labels_of_the_model():
    face = Prediction(Face((0, 0, 1, 1), 1.0), "bored", {"angry": 0.25, "bored": 0.75})
    columns = ["angry", "bored"]
    with (
        contextlib.redirect_stdout(io.StringIO()) as out,
        writing(None, "csv", labels=columns) as write,
    ):
        write(PhotoResult("a.png", (face,)))
    (row,) = csv.DictReader(io.StringIO(out.getvalue()))
    assert (row["angry"], row["bored"]) == ("0.250000", "0.750000")


def test_a_name_that_is_no_utf8_is_written(tmp_path, pipeline, portrait):
    name = os.fsdecode(os.fsencode(tmp_path) + b"/b\xff.jpg")
    shutil.copy(portrait, name)
    for format in ("json", "csv"):
        with writing(str(tmp_path / "out"), format) as write:
            for reading in read_photos(pipeline, [name]):
                write(reading)
        text = (tmp_path / "out").read_text()
        assert "b\\udcff.jpg" in text
    with writing(str(tmp_path / "out"), "json") as write:
        write(PhotoResult(name))
    assert json.loads((tmp_path / "out").read_text())[0]["photo"] == name
    with (
        pytest.raises(DataError, match="is a folder. Give the name of a file"),
        writing(str(tmp_path), "json"),
    ):
        pass


def written(readings, format, language="en"):
    with contextlib.redirect_stdout(io.StringIO()) as out, writing(None, format, language) as write:
        for reading in readings:
            write(reading)
    return out.getvalue()


def test_the_three_formats_have_the_same_facts(folder, pipeline):
    readings = list(read_photos(pipeline, find_photos([str(folder)])))
    face = readings[1].predictions[0]
    plain = json.loads(written(readings, "json"))
    assert [len(entry["faces"]) for entry in plain] == [0, 1, 0, 0]
    assert plain[1]["faces"][0]["box"] == list(face.face.box)
    assert plain[1]["faces"][0]["label"] == face.label
    assert "known format" in plain[2]["error"]
    rows = list(csv.DictReader(io.StringIO(written(readings, "csv", "es"))))
    assert [row["photo"] for row in rows] == [reading.photo for reading in readings]
    assert rows[1]["label"] == face.label
    assert rows[1]["name"] in ("Alegría", "Tristeza", "Enfado")
    assert float(rows[1]["happy"]) == pytest.approx(face.probabilities["happy"], abs=1e-6)
    assert rows[0]["face"] == ""
    assert "known format" in rows[2]["error"]
    text = written(readings, "text", "es")
    assert "a.PNG: no face found" in text
    assert "Alegría" in text
    assert json.loads(written([], "json")) == []


def test_a_file_is_there_when_all_of_it_is(tmp_path, pipeline, portrait):
    target = tmp_path / "new" / "faces.json"
    with writing(str(target), "json") as write:
        for reading in read_photos(pipeline, [str(portrait)]):
            write(reading)
            assert not target.exists()
    assert len(json.loads(target.read_text())) == 1
    with pytest.raises(RuntimeError), writing(str(target), "json") as write:
        raise RuntimeError
    assert len(json.loads(target.read_text())) == 1
    assert [path.name for path in target.parent.iterdir()] == ["faces.json"]


def test_names_are_escaped_for_terminals_and_spreadsheets(tmp_path):
    face = Face((0, 0, 9, 9), 0.9)
    shares = {"=cmd": 0.75, "sad\x1b[2J": 0.25}
    seen = PhotoResult("=1+1.png", (Prediction(face, "=cmd", shares),))
    for format in ("csv", "text"):
        path = tmp_path / f"out.{format}"
        with writing(str(path), format, "en", list(shares)) as write:
            write(seen)
            write(PhotoResult("b\x1b]0;title\x07.png"))
        text = path.read_text()
        assert "\x1b" not in text
        assert "b\\x1b]0;title\\x07.png" in text
    rows = list(csv.reader(io.StringIO((tmp_path / "out.csv").read_text())))
    assert rows[0][11:13] == ["'=cmd", "sad\\x1b[2J"]
    assert (rows[1][0], rows[1][9]) == ("'=1+1.png", "'=cmd")
