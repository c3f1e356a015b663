import csv
import io
import json

import numpy as np
import PIL.Image
import pytest

from ferembed import Pipeline
from ferembed.errors import DataError
from ferembed.images import load_image
from ferembed.readings import find_photos, read_photos, writing


@pytest.fixture(scope="module")
def pipeline(faces, labels):
    made = Pipeline("cnn-a", "softmax", weights="random", store="memory", detector="haar")
    return made.fit(faces, labels)


@pytest.fixture
def folder(tmp_path, portrait):
    """A portrait, a blank photo, a text called .png, and things that are no pictures."""
    PIL.Image.open(portrait).save(tmp_path / "b.jpg")
    PIL.Image.new("RGB", (300, 200), "gray").save(tmp_path / "a.PNG")
    (tmp_path / "c.png").write_text("a letter")
    (tmp_path / "notes.txt").write_text("notes")
    (tmp_path / "sub").mkdir()
    PIL.Image.new("RGB", (30, 20)).save(tmp_path / "sub" / "d.webp")
    return tmp_path


def test_folders_globs_and_files_each_once(folder, monkeypatch):
    monkeypatch.chdir(folder)
    assert find_photos(["."]) == ["./a.PNG", "./b.jpg", "./c.png", "./sub/d.webp"]
    assert find_photos(["*.jpg", "b.jpg", "**/*.webp"]) == ["b.jpg", "sub/d.webp"]
    assert find_photos(["notes.txt", "gone.jpg"]) == ["notes.txt", "gone.jpg"]
    with pytest.raises(DataError, match=r"No picture is found at \*\.gif"):
        find_photos(["*.gif"])


def test_a_bad_file_is_one_reading_and_the_rest_goes_on(folder, pipeline):
    readings = list(read_photos(pipeline, find_photos([str(folder)])))
    assert [len(reading.predictions) for reading in readings] == [0, 1, 0, 0]
    assert [bool(reading.error) for reading in readings] == [False, False, True, False]
    assert "c.png is not a picture in a known format" in readings[2].error


def written(readings, format, language="en"):
    import contextlib

    with contextlib.redirect_stdout(io.StringIO()) as out, writing(None, format, language) as write:
        for reading in readings:
            write(reading)
    return out.getvalue()


def test_the_three_formats_say_the_same(folder, pipeline):
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


def test_drawn_copies_of_photos_of_one_name_do_not_replace_each_other(folder, pipeline, portrait):
    PIL.Image.open(portrait).save(folder / "sub" / "b.jpg")
    out = folder / "drawn"
    photos = [str(folder / "b.jpg"), str(folder / "sub" / "b.jpg")]
    list(read_photos(pipeline, photos, out, "es"))
    drawn = sorted(out.iterdir())
    assert len(drawn) == 2
    assert (load_image(drawn[0]) != load_image(portrait)).any()
    assert np.array_equal(load_image(drawn[0]), load_image(drawn[1]))
