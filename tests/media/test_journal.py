"""Long runs that are stopped and go on."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
import zipfile
from contextlib import suppress

import numpy as np
import PIL.Image
import pytest

from ferembed import Pipeline, load_image
from ferembed.backbones import LoadRequest
from ferembed.errors import DataError
from ferembed.media.find import find_photos
from ferembed.media.journal import Journal, open_journal
from ferembed.media.photos import read_photos


@pytest.fixture
def photos(tmp_path, portrait):
    for name in ("a.jpg", "b.jpg", "c.jpg"):
        shutil.copy(portrait, tmp_path / name)
    PIL.Image.new("RGB", (300, 200), "gray").save(tmp_path / "d.png")
    (tmp_path / "e.png").write_text("a letter")
    return [str(tmp_path / name) for name in ("a.jpg", "b.jpg", "c.jpg", "d.png", "e.png")]


def read(pipeline, photos, output, *settings, stop_after=None):
    """The readings, and for how many photos nothing had to be computed."""
    readings = []
    try:
        with open_journal(str(output), pipeline, *settings) as journal:
            reused = sum(journal.known(photo) is not None for photo in photos)
            for reading in read_photos(pipeline, photos, journal=journal):
                readings.append(reading)
                if len(readings) == stop_after:
                    raise KeyboardInterrupt
    except KeyboardInterrupt:
        pass
    return readings, reused


def test_an_interrupted_run_resumes_with_equal_results(pipeline, photos, tmp_path):
    output = tmp_path / "faces.csv"
    whole, reused = read(pipeline, photos, output)
    assert reused == 0
    assert not (tmp_path / "faces.csv.part").exists()
    first, _ = read(pipeline, photos, output, stop_after=2)
    assert first == whole[:2]
    again, reused = read(pipeline, photos, output)
    assert again == whole
    assert reused == 2


def test_photos_that_changed_or_failed_are_read_again(pipeline, photos, tmp_path):
    output = tmp_path / "faces.csv"
    read(pipeline, photos, output, stop_after=5)
    os.utime(photos[0], (1, 1))
    readings, reused = read(pipeline, photos, output)
    assert reused == 3
    assert readings[-1].error.endswith("(it starts like text: 'a letter').")


@pytest.mark.slow
def test_pictures_in_a_zip_are_known_until_it_changes(pipeline, photos, tmp_path):
    path, output = tmp_path / "x.zip", tmp_path / "faces.csv"
    with zipfile.ZipFile(path, "w") as packed:
        for photo in photos[:3]:
            packed.write(photo, os.path.basename(photo))
    members = find_photos([str(path)])
    assert read(pipeline, members, output, stop_after=2)[1] == 0
    assert read(pipeline, members, output, stop_after=2)[1] == 2
    os.utime(path, (1, 1))
    readings, reused = read(pipeline, members, output)
    assert (len(readings), reused) == (3, 0)


def test_photos_of_another_folder_are_no_known_ones(pipeline, photos, tmp_path, monkeypatch):
    for folder in ("one", "two"):
        (tmp_path / folder).mkdir()
        os.link(photos[0], tmp_path / folder / "x.jpg")  # of one size, time and number
    monkeypatch.chdir(tmp_path / "one")
    read(pipeline, ["x.jpg"], tmp_path / "faces.csv", stop_after=1)
    assert read(pipeline, ["x.jpg"], tmp_path / "faces.csv", stop_after=1)[1] == 1
    monkeypatch.chdir(tmp_path / "two")
    assert read(pipeline, ["x.jpg"], tmp_path / "faces.csv")[1] == 0


def test_annotated_copies_keep_their_names_and_are_drawn_again(pipeline, photos, tmp_path):
    first = tmp_path / "a" / "b.jpg"
    first.parent.mkdir()
    first.write_text("damaged")
    drawn, both = tmp_path / "drawn", [str(first), photos[1]]

    def go():
        with suppress(InterruptedError), open_journal(str(tmp_path / "x.csv"), pipeline) as journal:
            for _ in read_photos(pipeline, both, drawn, "en", journal):
                pass
            raise InterruptedError
        return sorted(os.listdir(drawn))

    assert go() == ["b-1.png"]
    shutil.copy(photos[0], first)
    (drawn / "b-1.png").unlink()
    assert go() == ["b-1.png", "b.png"]


def test_an_annotated_copy_of_another_photo_is_not_reused(pipeline, photos, tmp_path):
    same = [tmp_path / folder / "x.png" for folder in ("a", "b")]
    for path, tone in zip(same, (40, 200), strict=True):
        path.parent.mkdir()
        PIL.Image.new("L", (60, 60), tone).save(path)
    drawn = tmp_path / "drawn"

    def go(*names):
        with suppress(InterruptedError), open_journal(str(tmp_path / "x.csv"), pipeline) as journal:
            for _ in read_photos(pipeline, list(map(str, names)), drawn, "en", journal):
                pass
            raise InterruptedError
        return {path.name: load_image(path)[0, 0, 0] for path in drawn.iterdir()}

    assert go(*same) == {"x.png": 40, "x-1.png": 200}
    assert go(same[1])["x.png"] == 200


def test_a_photo_that_changes_while_it_is_read_is_read_again(pipeline, photos, tmp_path):
    output, photo = tmp_path / "faces.csv", photos[3]

    class Meanwhile:
        def __getattr__(self, name):
            return getattr(pipeline, name)

        def read(self, crops, faces):
            os.utime(photo, (1, 1))
            return pipeline.read(crops, faces)

    read(Meanwhile(), [photo], output, stop_after=1)
    assert read(pipeline, [photo], output)[1] == 0


def test_a_run_of_another_engine_starts_anew(pipeline, photos, tmp_path, monkeypatch):
    output = tmp_path / "faces.csv"
    read(pipeline, photos, output, stop_after=3)
    monkeypatch.setattr(LoadRequest, "precision_tag", "bf16")
    assert read(pipeline, photos, output, stop_after=1)[1] == 0


@pytest.mark.slow
@pytest.mark.parametrize("change", ["detector", "language", "head"])
def test_a_run_of_other_settings_starts_anew(pipeline, photos, tmp_path, faces, labels, change):
    output = tmp_path / "faces.csv"
    read(pipeline, photos, output, "en", stop_after=4)
    other, language = pipeline, "en"
    if change == "language":
        language = "es"
    else:
        parameters = {"detector": "none"} if change == "detector" else {}
        other = Pipeline(**{**pipeline.get_params(deep=False), **parameters})
        other.fit(faces, labels if change == "detector" else labels[::-1])
    assert read(other, photos, output, language, stop_after=1)[1] == 0


def test_half_a_line_costs_one_photo(pipeline, photos, tmp_path):
    output = tmp_path / "faces.csv"
    whole, _ = read(pipeline, photos, output, stop_after=4)
    part = tmp_path / "faces.csv.part"
    head = part.read_text().splitlines()[0]
    part.write_bytes(part.read_bytes()[:-20])
    _, reused = read(pipeline, photos, output, stop_after=4)
    assert reused == 3
    assert read(pipeline, photos, output)[1] == 4
    part.write_text("\n".join([head, json.dumps({"photo": photos[0]}), "[]", "7"]))
    assert read(pipeline, photos, output, stop_after=1)[1] == 0
    part.write_bytes(b"{}" + os.urandom(300))  # of somebody else, as far as one can tell
    with pytest.raises(DataError, match="faces.csv.part already exists and is not a photo journal"):
        Journal(output, pipeline)
    part.unlink()
    assert read(pipeline, photos, output)[0][:4] == whole


def test_an_output_may_have_the_longest_name(pipeline, photos, tmp_path):
    output = tmp_path / f"{'n' * 251}.csv"
    read(pipeline, photos, output, stop_after=2)
    assert read(pipeline, photos, output)[1] == 2
    assert not list(tmp_path.glob("*.part"))


@pytest.mark.slow
def test_after_a_kill_predict_resumes(tmp_path, portrait):
    """The process is killed outright while it reads; the next run ends as an unbroken one does."""
    picture = PIL.Image.open(portrait).resize((256, 300))
    rng = np.random.default_rng(0)
    for i in range(60):
        light = rng.uniform(0.6, 1.0)
        picture.point(lambda value, light=light: int(value * light)).save(tmp_path / f"{i:02}.png")
    output = tmp_path / "faces.json"
    command = [sys.executable, "-m", "ferembed.cli", "predict", str(tmp_path), "--output"]
    killed = subprocess.Popen([*command, str(output)], stderr=subprocess.DEVNULL)
    part = tmp_path / "faces.json.part"
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and killed.poll() is None:
        if part.exists() and part.read_bytes().count(b"\n") > 5:
            break
        time.sleep(0.005)
    killed.send_signal(signal.SIGKILL)
    killed.wait()
    assert not output.exists()
    done = part.read_bytes().count(b"\n") - 1
    assert 0 < done < 60
    again = subprocess.run([*command, str(output)], capture_output=True, text=True, timeout=300)
    assert again.returncode == 0, again.stderr
    assert f"{done} photos were read before" in again.stderr
    assert not part.exists()
    subprocess.run([*command, str(tmp_path / "whole.json")], check=True, timeout=300)
    found, whole = (json.loads((tmp_path / n).read_text()) for n in ("faces.json", "whole.json"))
    assert found == whole
    assert len(found) == 60


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("score", None),
        *(
            pytest.param(field, value, marks=pytest.mark.slow)
            for field, value in (
                ("score", float("nan")),
                ("box", [0, 0, 1]),
                ("box", [0, 0, 10**30, 1]),
                ("landmarks", [[None, 1]]),
                ("probabilities", []),
                ("label", "bored"),
                ("label", []),
            )
        ),
    ],
)
def test_an_entry_that_was_damaged_is_read_again(pipeline, portrait, tmp_path, field, value):
    output = tmp_path / "faces.csv"
    whole, _ = read(pipeline, [str(portrait)], output)
    read(pipeline, [str(portrait)], output, stop_after=1)
    journal = tmp_path / "faces.csv.part"
    head, entry = journal.read_text("utf-8").splitlines()
    fields = json.loads(entry)
    prediction = fields["predictions"][0]
    (prediction["face"] if field in prediction["face"] else prediction)[field] = value
    deep = "[" * 100_000  # deeper than Python reads
    journal.write_text(f"{head}\n{json.dumps(fields)}\n{deep}\n", "utf-8")
    again, reused = read(pipeline, [str(portrait)], output)
    assert (again, reused) == (whole, 0)
