import contextlib
import csv
import io
import json
import os
import shutil
import zipfile

import numpy as np
import PIL.Image
import pytest

from ferembed import Pipeline
from ferembed.errors import DataError
from ferembed.faces import Face
from ferembed.images import load_image
from ferembed.media.find import find_photos
from ferembed.media.photos import PhotoResult, read_photos
from ferembed.media.writers import writing
from ferembed.pipeline import Prediction
from tests.conftest import too_deep


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
    assert find_photos(["*.gif", "su*", "b.jpg"]) == ["*.gif", "su*", "b.jpg"]  # to be reported
    (folder / "empty").mkdir()
    with pytest.raises(DataError, match="No photo found at empty"):
        find_photos(["empty"])


def test_a_zip_stands_for_the_pictures_in_it(folder, pipeline, monkeypatch):
    monkeypatch.chdir(folder)
    with zipfile.ZipFile("x.zip", "w") as packed:
        for name in ("b.jpg", "c.png", "notes.txt", "sub/d.webp"):
            packed.write(name)
        packed.writestr("__MACOSX/b.jpg", b"")
        packed.writestr("sub/.hidden.png", b"")
        packed.writestr("locked.png", b"locked")
        packed.filelist[-1].flag_bits |= 1
        packed.write("b.jpg", "../B.jpg")
    photos = find_photos(["b.jpg", "*.zip"])
    names = ["b.jpg", "x.zip/b.jpg", "x.zip/c.png", "x.zip/sub/d.webp", "x.zip/locked.png"]
    names.append("x.zip/../B.jpg")
    assert list(map(str, photos)) == names
    readings = list(read_photos(pipeline, photos, folder / "drawn"))
    assert [reading.photo for reading in readings] == names
    assert readings[1].predictions == readings[0].predictions
    assert readings[2].error.startswith("x.zip/c.png is not a picture in a known format")
    locked = "x.zip/locked.png cannot be read: it is encrypted; unpack it with its password."
    assert readings[4].error == locked
    assert sorted(os.listdir("drawn")) == ["B-2.png", "b-1.png", "b.png", "d.png"]
    (folder / "text.zip").write_text("a letter")
    assert find_photos(["text.zip", "gone.zip"]) == ["text.zip", "gone.zip"]  # to be reported
    (folder / "torn.zip").write_bytes((folder / "x.zip").read_bytes()[:-40])
    assert find_photos(["torn.zip", "c.png"]) == ["torn.zip", "c.png"]


def test_photos_are_never_drawn_over(folder, pipeline, monkeypatch):
    monkeypatch.chdir(folder)
    with pytest.raises(DataError, match=r"annotated copies must not be an input folder \(sub\)"):
        find_photos(["sub"], "sub")
    with pytest.raises(
        DataError, match="The annotated copy of ./b.jpg would be in the folder of the photo"
    ):
        find_photos(["./b.jpg"], ".")
    assert find_photos(["."], "sub") == ["./a.PNG", "./b.jpg", "./c.png"]
    shutil.copy("b.jpg", "b-1.jpg")
    shutil.copy("b.jpg", "sub/b.jpg")
    photos = ["b-1.jpg", "b.jpg", "sub/b.jpg"]
    list(read_photos(pipeline, photos, folder / "drawn"))
    assert sorted(os.listdir("drawn")) == ["b-1.png", "b-2.png", "b.png"]


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


def test_a_bad_file_is_one_reading_and_the_rest_goes_on(folder, pipeline):
    readings = list(read_photos(pipeline, find_photos([str(folder)])))
    assert [len(reading.predictions) for reading in readings] == [0, 1, 0, 0]
    assert [bool(reading.error) for reading in readings] == [False, False, True, False]
    assert "c.png is not a picture in a known format" in readings[2].error


def written(readings, format, language="en"):
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


def test_a_folder_that_cannot_be_read_costs_itself_alone(pipeline, portrait, tmp_path):
    shutil.copy(portrait, tmp_path / "a.jpg")
    too_deep(tmp_path)
    first, second = read_photos(pipeline, find_photos([str(tmp_path)]))
    assert len(first.predictions) == 1
    assert "File name too long" in second.error


def test_linked_folders_are_read_and_hidden_files_are_not(tmp_path):
    (tmp_path / "photos" / ".thumbnails").mkdir(parents=True)
    (tmp_path / "elsewhere").mkdir()
    for name in ("photos/a.png", "photos/.b.png", "photos/.thumbnails/c.png", "elsewhere/d.png"):
        (tmp_path / name).write_bytes(b"")
    (tmp_path / "photos" / "link").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "elsewhere" / "up").symlink_to(tmp_path / "photos")
    found = find_photos([str(tmp_path / "photos")])
    assert [os.path.relpath(path, tmp_path / "photos") for path in found] == ["a.png", "link/d.png"]


def test_no_text_of_others_reaches_a_terminal_or_a_spreadsheet_raw(tmp_path):
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
    assert rows[0][10:12] == ["'=cmd", "sad\\x1b[2J"]
    assert (rows[1][0], rows[1][8]) == ("'=1+1.png", "'=cmd")
