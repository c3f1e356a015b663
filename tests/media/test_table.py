"""The table of a video: complete after each frame."""

import json
import os

import numpy as np
import pytest

from ferembed.errors import DataError
from ferembed.faces import Face
from ferembed.media.recording import record, record_all
from ferembed.media.table import Table
from ferembed.media.tracking import Person
from ferembed.media.video import Frame, open_video
from ferembed.media.watch import watch
from tests.helpers import clips


def test_the_csv_has_a_row_for_each_person_and_frame(pipeline, clip, tmp_path):
    labels = ["angry", "happy", "sad"]
    with Table(tmp_path / "faces.csv", "csv", "es", labels) as table:
        done = record(pipeline, clip, table, detect_every=2)
    assert (done.frames, done.timeline.people, done.errors, done.stopped) == (20, (1,), (), False)
    frames = list(watch(pipeline, clip, detect_every=2))
    written = clips.rows(tmp_path / "faces.csv")
    assert len(written) == sum(len(frame.people) for frame in frames) >= 18
    for row in written:
        frame = frames[int(row["frame"])]
        (person,) = frame.people
        assert row["video"] == str(clip)
        assert float(row["seconds"]) == pytest.approx(frame.seconds, abs=1e-3)
        assert (row["person"], row["label"]) == ("1", person.label)
        assert row["name"] in ("Enfado", "Alegría", "Tristeza")
        assert tuple(int(row[side]) for side in ("x1", "y1", "x2", "y2")) == person.box
        assert row["extrapolated"] == ("no" if frame.searched else "yes")
        for label in labels:
            assert float(row[label]) == pytest.approx(person.probabilities[label], abs=1e-6)
            raw = f"{person.raw[label]:.6f}" if frame.searched else ""
            assert row[f"raw_{label}"] == raw


def test_json_has_the_same_rows_and_every_frame(pipeline, clip, empty, tmp_path):
    with Table(tmp_path / "faces.json", "json") as table:
        list(record_all(pipeline, [str(clip), str(empty)], table))
    first, second = json.loads((tmp_path / "faces.json").read_text())
    assert (first["video"], first["fps"], first["notes"]) == (str(clip), 20, [])
    assert [frame["frame"] for frame in first["frames"]] == list(range(20))
    frames = list(watch(pipeline, clip))
    for entry, frame in zip(first["frames"], frames, strict=True):
        assert entry["searched"] is True
        assert [p["person"] for p in entry["people"]] == [p.number for p in frame.people]
        for written, person in zip(entry["people"], frame.people, strict=True):
            assert written["box"] == list(person.box)
            assert written["raw"] == pytest.approx(dict(person.raw), abs=1e-6)
            assert written["probabilities"] == pytest.approx(person.probabilities, abs=1e-6)
            assert (written["label"], written["extrapolated"]) == (person.label, False)
    assert [frame["people"] for frame in second["frames"]] == [[]] * 12


def test_text_has_a_line_for_each_change(blind, clip, capsys):
    with open_video(clip) as opened, Table(None, "text", "es") as table:
        for frame in opened.frames():
            label = "happy" if frame.index < 10 else "sad"
            person = Person(Face((0, 0, 9, 9), 1.0), label, {label: 0.8}, 1, {label: 0.8})
            table.add(opened, Frame(frame.index, frame.seconds, frame.image, (person,)))
    assert capsys.readouterr().out.splitlines() == [
        f"{clip}: 0.00 s: person 1: Alegría 80 %",
        f"{clip}: 0.50 s: person 1: Tristeza 80 %",
    ]


@pytest.mark.parametrize("format", ["csv", "json"])
def test_the_table_is_whole_after_every_frame(blind, clip, tmp_path, format):
    path = tmp_path / "new" / f"faces.{format}"
    unfinished = path.with_name(f"faces.{format}.part")
    with open_video(clip) as opened, Table(path, format) as table:
        assert not path.parent.exists()  # before there is anything to keep
        for count, frame in enumerate(watch(blind, opened), 1):
            table.add(opened, frame)
            if format == "csv":
                assert len(clips.rows(unfinished)) == count
            else:
                assert len(json.loads(unfinished.read_text())[0]["frames"]) == count
            assert not path.exists()
    assert os.listdir(path.parent) == [path.name]


def test_a_table_of_nothing_leaves_what_was_there(blind, tmp_path):
    (tmp_path / "faces.csv").write_text("before")
    with Table(tmp_path / "faces.csv") as table:
        done = record(blind, tmp_path / "gone.mp4", table)
    assert done.errors == (f"{tmp_path / 'gone.mp4'} does not exist.",)
    assert (tmp_path / "faces.csv").read_text() == "before"
    with pytest.raises(DataError, match="is a folder. Give the name of a file for the table"):
        Table(tmp_path)


@pytest.mark.parametrize("whose", ["somebody's", "ours", "empty"])
def test_a_foreign_file_is_not_replaced_but_a_killed_runs_is(clip, pipeline, tmp_path, whose):
    def recorded(name):
        with Table(tmp_path / name) as table:
            return record(pipeline, clip, table).errors

    assert not recorded("a.csv")
    whole = (tmp_path / "a.csv").read_bytes()
    left = {"somebody's": b"precious", "ours": whole[:-99], "empty": b""}[whose]
    (tmp_path / "b.csv.part").write_bytes(left)
    errors = recorded("b.csv")
    if whose == "somebody's":
        assert "b.csv.part already exists and is not such a table" in errors[0]
        assert (tmp_path / "b.csv.part").read_bytes() == left
    else:
        assert not errors
        assert (tmp_path / "b.csv").read_bytes() == whole


@pytest.mark.parametrize("format", ["text", "json", "csv"])
def test_a_video_without_people_has_a_table_too(pipeline, tmp_path, format):
    ground = clips.write(tmp_path / "ground.mp4", [np.full((120, 160, 3), 100, np.uint8)] * 5)
    with Table(tmp_path / "x", format) as table:
        done = record(pipeline, ground, table)
    assert (done.frames, done.errors) == (5, ())
    assert (tmp_path / "x").exists()
    (tmp_path / "y.part").write_text("precious")
    with Table(tmp_path / "y", format) as table:
        (error,) = record(pipeline, ground, table).errors
    assert "y.part already exists and is not such a table" in error
    assert (tmp_path / "y.part").read_text() == "precious"
