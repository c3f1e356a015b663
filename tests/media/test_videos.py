"""Videos and cameras on the command line."""

import json
import os
import signal
import subprocess
import sys
import time
from functools import partial

import PIL.Image
import pytest

from ferembed.cli import main
from tests.helpers import clips


@pytest.fixture(scope="module")
def long(tmp_path_factory):
    """A clip of a minute, in few frames."""
    return clips.write(tmp_path_factory.mktemp("long") / "long.mp4", [clips.scene(4)] * 60, fps=1)


def started(folder, *arguments):
    """Start a command in a new process, and return it once some rows are written."""
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


def test_rows_of_a_killed_run_are_in_the_part_file(model, long, tmp_path):
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


def test_exit_codes_and_messages(run, clip, portrait, tmp_path):
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
        (("watch", clip, "--annotate", "film.avi", "--no-window"), "it must end in .mp4"),
        (("predict", clip, "--output", tmp_path), "is a folder"),
    ):
        code, out, err = run(*arguments)
        assert (code, out) == (2, "")
        assert message in err
        assert len(err.splitlines()) == 1


def test_videos_among_photos_are_skipped_with_a_warning(run, clip, portrait, tmp_path):
    os.link(clip, tmp_path / "clip.mp4")
    PIL.Image.open(portrait).save(tmp_path / "photo.jpg")
    code, out, err = run("predict", tmp_path, "--json")
    assert code == 0
    assert [os.path.basename(entry["photo"]) for entry in json.loads(out)] == ["photo.jpg"]
    assert err == (
        f"ferembed: skipped 1 videos (first: {tmp_path / 'clip.mp4'}); "
        "pass a video by name to process it.\n"
    )


def test_a_closed_pipe_ends_the_run(model, clip, tmp_path):
    command = [sys.executable, "-m", "ferembed.cli", "predict", str(clip), "--model", model]
    command += ["--json", "--detector", "none", "--annotate", str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        process.stdout.readline()
        process.stdout.close()
        assert process.stderr.read() == b""
    assert process.returncode == 0
    assert os.listdir(tmp_path) == ["clip.mp4"]
