"""Recordings: saved, however they end."""

import json
import os
import signal
import subprocess
import sys
import time
from functools import partial

import cv2
import numpy as np
import PIL.Image
import pytest

from ferembed.cli import main
from ferembed.media import video
from ferembed.media.recording import record, record_all
from ferembed.media.table import Table
from ferembed.media.timeline_picture import draw_timeline
from tests.conftest import run_python
from tests.helpers import clips
from tests.media.test_video import camera


@pytest.fixture(scope="module")
def long(tmp_path_factory):
    """A clip of a minute, in few frames."""
    return clips.write(tmp_path_factory.mktemp("long") / "long.mp4", [clips.scene(4)] * 60, fps=1)


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


def test_of_a_camera_that_is_gone_everything_is_kept(blind, clip, tmp_path, monkeypatch):
    monkeypatch.setattr(cv2, "VideoCapture", camera(clip, breaks=[9] * 9))
    monkeypatch.setattr(video, "RETRY", 0.2)
    with Table(tmp_path / "faces.csv") as table:
        done = record(blind, 0, table, timeline=tmp_path / "t.png")
    (error,) = done.errors
    assert error.startswith("camera 0 gave no frame any more after 9")
    assert done.notes == ("camera 0 says that it has 0 frames a second; 30 are assumed.",)
    assert len(clips.rows(tmp_path / "faces.csv")) == done.frames > 0
    assert (tmp_path / "t.png").exists()


def test_an_output_that_cannot_be_written_is_told(blind, clip, tmp_path):
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
def test_on_a_full_disk_what_was_written_is_kept(model, clip, tmp_path):
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


def started(folder, *arguments):
    """A command in a process of its own, once it has written some rows."""
    process = subprocess.Popen(
        [sys.executable, "-m", "ferembed.cli", *map(str, arguments)],
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # Where the tests run in the background, a shell has told them to ignore Ctrl-C.
        preexec_fn=partial(signal.signal, signal.SIGINT, signal.SIG_DFL),
    )
    unfinished = folder / "faces.csv.part"
    for _ in range(1200):
        if unfinished.exists() and len(clips.rows(unfinished)) >= 2:
            return process
        assert process.poll() is None, process.communicate()
        time.sleep(0.1)
    raise AssertionError("no row was written")


def test_ctrl_c_keeps_what_was_watched(model, long, tmp_path):
    options = ("--model", model, "--detector", "none", "--output", "faces.csv")
    drawn = ("--annotate", "film.mp4", "--timeline", "t.png")
    process = started(tmp_path, "watch", long, *options, *drawn, "--no-window", "--lang", "es")
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 0
    count = len(clips.rows(tmp_path / "faces.csv"))
    assert 2 <= count < 60
    assert f"{long} was interrupted. The {count} frames read until then have been saved." in err
    assert out == ""
    assert sorted(os.listdir(tmp_path)) == ["faces.csv", "film.mp4", "t.png"]
    assert len(clips.frames_of(tmp_path / "film.mp4")) >= count


def test_what_a_killed_run_wrote_is_in_the_part(model, long, tmp_path):
    options = ("--model", model, "--detector", "none", "--output", "faces.csv", "--no-window")
    process = started(tmp_path, "watch", long, *options)
    process.kill()
    process.communicate()
    assert os.listdir(tmp_path) == ["faces.csv.part"]
    assert len(clips.rows(tmp_path / "faces.csv.part")) >= 2


@pytest.fixture
def run(capsys, model):
    def run(*arguments):
        code = main([*map(str, arguments), "--model", model])
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return run


def test_predict_reads_videos_too(run, clip, empty, tmp_path):
    code, out, err = run("predict", clip, empty, "--lang", "es", "--smoothing", 0.2)
    assert (code, err) == (0, "")
    assert f"{clip}: 20 frames, 1.0 s\nPersona 1, 0.0 a 1.0 s: " in out
    assert f"{empty}: 12 frames, 0.6 s\nNo se ha encontrado ninguna cara.\n" in out
    written = ("--annotate", tmp_path / "drawn", "--timeline", tmp_path / "clip.png")
    code, out, err = run("predict", clip, "--output", tmp_path / "a.csv", *written, "--every", 5)
    assert (code, out, err) == (0, f"{tmp_path / 'a.csv'}: 20 frames of 1 videos\n", "")
    assert {row["extrapolated"] for row in clips.rows(tmp_path / "a.csv")} == {"yes", "no"}
    assert sorted(os.listdir(tmp_path)) == ["a.csv", "clip.png", "drawn"]
    assert os.listdir(tmp_path / "drawn") == ["clip.mp4"]
    (entry,) = json.loads(run("predict", clip, "--json", "--detector", "none")[1])
    assert entry["frames"][0]["people"][0]["box"] == [0, 0, 160, 120]


def test_exit_codes_and_what_is_said(run, clip, portrait, tmp_path):
    (tmp_path / "letter.mp4").write_text("a letter")
    code, _, err = run("predict", clip, tmp_path / "letter.mp4", "--detector", "none")
    assert (code, len(err.splitlines())) == (1, 1)
    assert "letter.mp4 is not a video in a known format" in err
    assert run("predict", tmp_path / "letter.mp4")[0] == 2
    avi = clips.write(tmp_path / "a.avi", clips.walk())
    cut = clips.cut_off(avi, tmp_path / "cut.avi")
    code, out, err = run("predict", cut, "--detector", "none", "--output", tmp_path / "a.csv")
    count = len(clips.rows(tmp_path / "a.csv"))
    assert (code, out) == (1, f"{tmp_path / 'a.csv'}: {count} frames of 1 videos\n")
    assert f"is cut off or damaged. The {count} frames read until then have been saved." in err
    code, out, err = run("watch", 97, "--no-window", "--output", tmp_path / "b.csv")
    assert (code, out) == (2, "")
    assert "camera 97 cannot be opened" in err
    assert not (tmp_path / "b.csv").exists()
    for arguments, message in (
        (("predict", clip, portrait), "is a video, and"),
        (("predict", portrait, "--timeline", "t.png"), "--timeline draws videos"),
        (("predict", clip, "--annotate", clip.parent), "would be in the folder of the photo"),
        (("watch", clip, "--annotate", "film.avi", "--no-window"), "Let it end in .mp4"),
        (("predict", clip, "--output", tmp_path), "is a folder"),
    ):
        code, out, err = run(*arguments)
        assert (code, out) == (2, "")
        assert message in err
        assert len(err.splitlines()) == 1


def test_videos_among_photos_are_passed_over_and_told(run, clip, portrait, tmp_path):
    os.link(clip, tmp_path / "clip.mp4")
    PIL.Image.open(portrait).save(tmp_path / "photo.jpg")
    code, out, err = run("predict", tmp_path, "--json")
    assert code == 0
    assert [os.path.basename(entry["photo"]) for entry in json.loads(out)] == ["photo.jpg"]
    assert err == (
        f"ferembed: skipped 1 videos (first: {tmp_path / 'clip.mp4'}); "
        "pass a video by name to process it.\n"
    )


def test_watch_stops_when_it_is_told_to(run, clip, tmp_path):
    watching = ("watch", clip, "--no-window", "--detector", "none", "--json")
    (entry,) = json.loads(run(*watching, "--frames", 3)[1])
    assert len(entry["frames"]) == 3
    (entry,) = json.loads(run(*watching, "--seconds", 0.5)[1])
    assert entry["frames"][-1]["seconds"] < 0.5
    with pytest.raises(SystemExit):
        run("watch", clip, "--seconds", "-1")


def test_a_reader_that_has_seen_enough_ends_it(model, clip, tmp_path):
    command = [sys.executable, "-m", "ferembed.cli", "predict", str(clip), "--model", model]
    command += ["--json", "--detector", "none", "--annotate", str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        process.stdout.readline()
        process.stdout.close()
        assert process.stderr.read() == b""
    assert process.returncode == 0
    assert os.listdir(tmp_path) == ["clip.mp4"]
