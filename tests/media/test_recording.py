"""Recordings: saved, however they end."""

import json
import os
import signal

import cv2
import numpy as np
import PIL.Image
import pytest

from ferembed.media import video
from ferembed.media.recording import record, record_all
from ferembed.media.table import Table
from ferembed.media.timeline_picture import draw_timeline
from tests.conftest import run_python
from tests.helpers import clips
from tests.media.test_video import camera


def test_a_clip_without_a_face(pipeline, empty, tmp_path):
    with Table(tmp_path / "faces.csv") as table:
        done = record(pipeline, empty, table, timeline=tmp_path / "t.png", film=tmp_path / "f.mp4")
    assert clips.rows(tmp_path / "faces.csv") == []
    assert (tmp_path / "faces.csv").read_text().startswith("video,frame,seconds,person,")
    assert done.timeline.text() == "No face was found."
    with PIL.Image.open(tmp_path / "t.png") as picture:
        assert np.array_equal(np.array(picture), draw_timeline(done.timeline, "en", "empty.mp4"))
    assert len(clips.frames_of(tmp_path / "f.mp4")) == 12


def test_it_ends_after_so_many_frames_or_seconds(blind, clip):
    assert record(blind, clip, frames=7).frames == 7
    assert record(blind, clip, seconds=0.5).frames == 10
    told = []
    record(blind, clip, progress=lambda done, total: told.append((done, total)))
    assert told == [(i + 1, 20) for i in range(20)]


def test_each_of_several_videos_has_its_own_film_and_timeline(blind, clip, tmp_path):
    (tmp_path / "in").mkdir()
    os.link(clip, tmp_path / "in" / "clip.mp4")
    videos = [str(clip), str(tmp_path / "in" / "clip.mp4"), str(tmp_path / "gone.mp4")]
    films, timelines = str(tmp_path / "films"), str(tmp_path / "timelines")
    done = list(record_all(blind, videos, films=films, timelines=timelines, frames=3))
    assert [len(one.errors) for one in done] == [0, 0, 1]
    assert sorted(os.listdir(films)) == ["clip-1.mp4", "clip.mp4"]
    assert sorted(os.listdir(timelines)) == ["clip-1.png", "clip.png"]


def test_everything_read_from_a_lost_camera_is_saved(blind, clip, tmp_path, monkeypatch):
    monkeypatch.setattr(cv2, "VideoCapture", camera(clip, breaks=[9] * 9))
    monkeypatch.setattr(video, "RETRY", 0.2)
    with Table(tmp_path / "faces.csv") as table:
        done = record(blind, 0, table, timeline=tmp_path / "t.png")
    (error,) = done.errors
    assert error.startswith("camera 0 gave no more frames after 9")
    assert done.notes == ("camera 0 says that it has 0 frames a second; 30 are assumed.",)
    assert len(clips.rows(tmp_path / "faces.csv")) == done.frames > 0
    assert (tmp_path / "t.png").exists()


def test_an_output_that_cannot_be_written_is_an_error(blind, clip, tmp_path):
    (tmp_path / "file").touch()
    below = tmp_path / "file" / "below"
    with Table(below / "faces.csv") as table:
        done = record(blind, clip, table)
    assert done.errors == (f"{below / 'faces.csv'}: Not a directory.",)
    for name in ("film", "timeline"):
        path = below / ("film.mp4" if name == "film" else "t.png")
        with Table(tmp_path / f"{name}.csv") as table:
            done = record(blind, clip, table, **{name: path})
        (error,) = done.errors + done.lost
        assert "Not a directory" in error
        assert len(clips.rows(tmp_path / f"{name}.csv")) == done.frames > 0


@pytest.mark.slow
def test_on_a_full_disk_finished_rows_are_kept(model, clip, tmp_path):
    code = f"""
import resource, sys
from ferembed import Pipeline
from ferembed.media.recording import record
from ferembed.media.table import Table
pipeline = Pipeline.load({model!r}, store="none", detector="none")
pipeline.analyze({str(clips.photo())!r})
resource.setrlimit(resource.RLIMIT_FSIZE, (4000, resource.RLIM_INFINITY))
for format in ("csv", "json"):
    with Table("faces." + format, format) as table:
        done = record(pipeline, {str(clip)!r}, table, timeline="t.png")
    print(done.frames, *done.errors, *done.lost)
print(*record(pipeline, {str(clip)!r}, film="film.mp4").messages())
"""
    done = run_python(f"import os; os.chdir({str(tmp_path)!r})" + code)
    assert done.stderr == ""
    table, other, film = done.stdout.splitlines()
    assert table.endswith("faces.csv: File too large. t.png: File too large.")
    assert "faces.json: File too large." in other
    assert film == "film.mp4 could not be written to its end and is lost. Is the disk full?"
    assert len(clips.rows(tmp_path / "faces.csv")) == int(table.split()[0]) > 3
    (entry,) = json.loads((tmp_path / "faces.json").read_text())
    assert len(entry["frames"]) == int(other.split()[0]) > 3
    assert sorted(os.listdir(tmp_path)) == ["faces.csv", "faces.json"]


def test_an_interruption_while_a_frame_is_written_waits_until_it_is_counted(blind, clip, tmp_path):
    class Interrupted(Table):
        def add(self, video, frame):
            super().add(video, frame)
            if frame.index == 4:
                signal.getsignal(signal.SIGINT)(signal.SIGINT, None)

    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with Interrupted(tmp_path / "faces.csv") as table:
            done = record(blind, clip, table)
    finally:
        assert signal.signal(signal.SIGINT, before) is signal.default_int_handler
    assert done.stopped
    assert done.frames == len(clips.rows(tmp_path / "faces.csv")) == 5
