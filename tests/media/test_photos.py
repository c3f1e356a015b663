"""Photos, read one by one."""

import os
import shutil
import zipfile

import numpy as np
import PIL.Image
import pytest

from ferembed.errors import DataError, WeightsError
from ferembed.images import load_image
from ferembed.media.find import find_photos
from ferembed.media.photos import read_photos
from tests.conftest import too_deep


def test_faces_in_the_store_are_read_without_the_network(folder, pipeline, monkeypatch, tmp_path):
    photo = str(folder / "b.jpg")
    stored = pipeline.__class__.load("fast", store=tmp_path / "store.sqlite", detector="mtcnn")
    (first,) = read_photos(stored, [photo])
    assert first.predictions

    def fail(*given):
        raise WeightsError("the weights are damaged")

    monkeypatch.setattr("ferembed.embedder.load_backbone", fail)
    (again,) = read_photos(stored, [photo])
    assert again.predictions == first.predictions
    with pytest.raises(WeightsError, match="the weights are damaged"):
        list(read_photos(stored.set_params(store="none"), [photo]))


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


def test_a_bad_file_is_one_result_with_an_error(folder, pipeline):
    readings = list(read_photos(pipeline, find_photos([str(folder)])))
    assert [len(reading.predictions) for reading in readings] == [0, 1, 0, 0]
    assert [bool(reading.error) for reading in readings] == [False, False, True, False]
    assert "c.png is not a picture in a known format" in readings[2].error


def test_annotated_copies_of_photos_of_one_name_do_not_replace_each_other(
    folder, pipeline, portrait
):
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
