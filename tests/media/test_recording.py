"""What is written of a video: whole, and kept whatever ends it."""

import csv
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

from ferembed import Pipeline
from ferembed.cli import main
from ferembed.errors import DataError, VideoError
from ferembed.faces import Face
from ferembed.media import film as film_module
from ferembed.media import video
from ferembed.media.annotate import annotate
from ferembed.media.film import Film, draw, has_display
from ferembed.media.recording import record, record_all
from ferembed.media.table import Table
from ferembed.media.timeline_picture import draw_timeline
from ferembed.media.tracking import Person
from ferembed.media.video import Frame, open_video
from ferembed.media.watch import watch
from tests.conftest import run_python
from tests.helpers import clips
from tests.media.test_video import _one_thread, camera  # noqa: F401


@pytest.fixture(scope="module")
def model(tmp_path_factory, faces, labels):
    path = tmp_path_factory.mktemp("model") / "small"
    Pipeline("cnn-a", "softmax", weights="random", store="memory").fit(faces, labels).save(path)
    return str(path)


@pytest.fixture(scope="module")
def pipeline(model):
    return Pipeline.load(model, store="none")


@pytest.fixture(scope="module")
def blind(model):
    """The same, which takes every frame for a face: for what is not about finding them."""
    return Pipeline.load(model, store="none", detector="none")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("clips")


@pytest.fixture(scope="module")
def empty(folder):
    """A clip in which nobody is to be seen."""
    return clips.write(folder / "empty.mp4", [clips.scene()] * 12)


@pytest.fixture(scope="module")
def long(folder):
    """A clip of a minute, in few frames."""
    return clips.write(folder / "long.mp4", [clips.scene(4)] * 60, fps=1)


def rows(path):
    with open(path, newline="") as file:
        return list(csv.DictReader(file))


def frames_of(path):
    with open_video(path) as opened:
        return list(opened.frames())


def test_the_csv_has_a_row_for_each_person_and_frame(pipeline, clip, tmp_path):
    labels = ["angry", "happy", "sad"]
    with Table(tmp_path / "faces.csv", "csv", "es", labels) as table:
        done = record(pipeline, clip, table, detect_every=2)
    assert (done.frames, done.timeline.people, done.errors, done.stopped) == (20, (1,), (), False)
    frames = list(watch(pipeline, clip, detect_every=2))
    written = rows(tmp_path / "faces.csv")
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


def test_json_says_the_same_and_has_every_frame_of_every_video(pipeline, clip, empty, tmp_path):
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


def test_text_says_what_changes(blind, clip, capsys):
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
                assert len(rows(unfinished)) == count
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


def test_a_clip_without_a_face(pipeline, empty, tmp_path):
    with Table(tmp_path / "faces.csv") as table:
        done = record(pipeline, empty, table, timeline=tmp_path / "t.png", film=tmp_path / "f.mp4")
    assert rows(tmp_path / "faces.csv") == []
    assert (tmp_path / "faces.csv").read_text().startswith("video,frame,seconds,person,")
    assert done.timeline.text() == "No face was found."
    with PIL.Image.open(tmp_path / "t.png") as picture:
        assert np.array_equal(np.array(picture), draw_timeline(done.timeline, "en", "empty.mp4"))
    assert len(frames_of(tmp_path / "f.mp4")) == 12


def test_the_film_shows_the_frames_drawn_on(pipeline, clip, tmp_path):
    record(pipeline, clip, film=tmp_path / "new" / "film.mp4", language="es")
    film = frames_of(tmp_path / "new" / "film.mp4")
    frames = list(watch(pipeline, clip))
    assert [frame.seconds for frame in film] == [frame.seconds for frame in frames]
    for drawn, frame in zip(film, frames, strict=True):
        difference = np.abs(drawn.image.astype(int) - draw(frame, "es")).mean()
        assert difference < 6 < np.abs(drawn.image.astype(int) - frame.image).mean()
    assert os.listdir(tmp_path / "new") == ["film.mp4"]


def test_people_are_drawn_with_their_numbers():
    frame = clips.scene(30)
    person = Person(Face((40, 20, 120, 100), 1.0), "happy", {"happy": 0.9, "sad": 0.1}, 1)
    other = Person(person.face, person.label, person.probabilities, 2)
    plain = annotate(frame, [person])[:, : frame.shape[1]]  # beside it lies the panel
    first, second = (draw(Frame(0, 0.0, frame, (someone,))) for someone in (person, other))
    assert (first != plain)[20:50, 40:70].any()
    assert (first != second).any()
    assert np.array_equal(draw(Frame(0, 0.0, frame)), frame)


def test_a_film_keeps_the_time_where_frames_are_missing(tmp_path):
    film = Film(tmp_path / "film.mp4")
    colours = {0.0: 50, 0.1: 100, 0.6: 200, 0.61: 220, 200.0: 10}  # seconds, and a shade of gray
    for seconds, shade in colours.items():
        film.add(np.full((48, 64, 3), shade, np.uint8), 5 + seconds, 10.0)
    film.close()
    shades = [round(frame.image.mean(), -1) for frame in frames_of(tmp_path / "film.mp4")]
    assert shades[:7] == [50, 100, 100, 100, 100, 100, 200]
    assert shades[7:-1] == [220] * 600  # no more than a minute
    assert shades[-1] == 10


def test_a_film_has_one_size_whatever_the_frames_have(tmp_path):
    film = Film(tmp_path / "film.mp4")
    for i, shape in enumerate([(49, 65, 3), (98, 65, 3), (48, 64, 3)]):
        film.add(np.full(shape, 200, np.uint8), i / 10, 10.0)
    film.close()
    first, narrow, last = frames_of(tmp_path / "film.mp4")
    assert first.image.shape == narrow.image.shape == last.image.shape == (48, 64, 3)
    assert first.image.min() > 190
    assert narrow.image[:, :12].max() < 40
    assert narrow.image[:, 20:44].min() > 160


def test_a_film_has_a_name_that_ends_in_mp4(pipeline, clip, tmp_path):
    with pytest.raises(DataError, match="film.avi is no name for an annotated video. Let it end"):
        record(pipeline, clip, film=tmp_path / "film.avi")
    with pytest.raises(DataError, match="The film would replace the input .*clip.mp4"):
        record(pipeline, clip, film=clip)
    with pytest.raises(VideoError, match="the name is no UTF-8"):
        record(pipeline, clip, film=os.fsdecode(b"b\xff.mp4"))


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


def test_without_a_display_a_window_is_refused(blind, clip, monkeypatch):
    monkeypatch.delenv("DISPLAY", raising=False)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    has_display.cache_clear()
    with pytest.raises(VideoError, match="There is no display to open a window on. Do without"):
        record(blind, clip, window=True)
    monkeypatch.setenv("DISPLAY", ":no")
    has_display.cache_clear()
    assert not has_display()
    has_display.cache_clear()


def test_of_a_camera_that_is_gone_everything_is_kept(blind, clip, tmp_path, monkeypatch):
    monkeypatch.setattr(cv2, "VideoCapture", camera(clip, breaks=[9] * 9))
    monkeypatch.setattr(video, "RETRY", 0.2)
    with Table(tmp_path / "faces.csv") as table:
        done = record(blind, 0, table, timeline=tmp_path / "t.png")
    (error,) = done.errors
    assert error.startswith("camera 0 gave no frame any more after 9")
    assert done.notes == ("camera 0 says that it has 0 frames a second; 30 are assumed.",)
    assert len(rows(tmp_path / "faces.csv")) == done.frames > 0
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
        assert len(done.errors) == 1
        assert "Not a directory" in done.errors[0]
        assert len(rows(tmp_path / f"{name}.csv")) == done.frames > 0


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
    print(done.frames, *done.errors)
print(*record(pipeline, {str(clip)!r}, film="film.mp4").errors)
"""
    done = run_python(f"import os; os.chdir({str(tmp_path)!r})" + code)
    assert done.stderr == ""
    table, other, film = done.stdout.splitlines()
    assert table.endswith("faces.csv: File too large. t.png: File too large.")
    assert "faces.json: File too large." in other
    assert film == "film.mp4 could not be written to its end and is lost. Is the disk full?"
    assert len(rows(tmp_path / "faces.csv")) == int(table.split()[0]) > 3
    (entry,) = json.loads((tmp_path / "faces.json").read_text())
    assert len(entry["frames"]) == int(other.split()[0]) > 3
    assert sorted(os.listdir(tmp_path)) == ["faces.csv", "faces.json"]


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
        if unfinished.exists() and len(rows(unfinished)) >= 2:
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
    count = len(rows(tmp_path / "faces.csv"))
    assert 2 <= count < 60
    assert f"{long} was interrupted. The {count} frames read until then have been saved." in err
    assert out == ""
    assert sorted(os.listdir(tmp_path)) == ["faces.csv", "film.mp4", "t.png"]
    assert len(frames_of(tmp_path / "film.mp4")) >= count


def test_what_a_killed_run_wrote_is_in_the_part(model, long, tmp_path):
    options = ("--model", model, "--detector", "none", "--output", "faces.csv", "--no-window")
    process = started(tmp_path, "watch", long, *options)
    process.kill()
    process.communicate()
    assert os.listdir(tmp_path) == ["faces.csv.part"]
    assert len(rows(tmp_path / "faces.csv.part")) >= 2


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
    assert (code, out, err) == (0, "", "")
    assert {row["extrapolated"] for row in rows(tmp_path / "a.csv")} == {"yes", "no"}
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
    count = len(rows(tmp_path / "a.csv"))
    assert (code, out) == (1, "")
    assert f"is cut off or damaged. The {count} frames read until then have been saved." in err
    code, out, err = run("watch", 97, "--no-window", "--output", tmp_path / "b.csv")
    assert (code, out) == (2, "")
    assert "camera 97 cannot be opened" in err
    assert not (tmp_path / "b.csv").exists()
    for arguments, message in (
        (("predict", clip, portrait), "is a video, and"),
        (("predict", portrait, "--timeline", "t.png"), "--timeline is drawn of videos"),
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


@pytest.mark.skipif(not os.environ.get("DISPLAY"), reason="needs a display")
def test_where_there_is_a_display_it_is_shown(blind, clip, tmp_path):
    assert record(blind, clip, window=True).frames == 20


@pytest.mark.parametrize("whose", ["somebody's", "ours", "empty"])
def test_a_file_of_somebody_else_is_spared_and_what_a_kill_left_is_not(
    clip, pipeline, tmp_path, whose
):
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


def test_on_a_small_disk_a_film_ends_early_and_can_be_played(blind, small_disk, clip, monkeypatch):
    """It ends while there is room for its index, without which nothing can be read."""
    source = clip
    (small_disk / "filler").write_bytes(bytes((3 << 20) + (900 << 10)))
    monkeypatch.setattr(film_module, "_ROOM", (4 << 20) - (60 << 10))
    made = record(blind, source, film=small_disk / "film.mp4")
    if made.errors:
        assert made.errors == (f"{small_disk / 'film.mp4'}: No space left on device.",)
    assert (small_disk / "film.mp4").exists()
    capture = cv2.VideoCapture(str(small_disk / "film.mp4"))
    assert capture.read()[0]
    capture.release()
    assert sorted(path.name for path in small_disk.iterdir()) == ["filler", "film.mp4"]


def test_a_film_is_not_begun_where_there_is_no_room_for_it(blind, small_disk, clip):
    (small_disk / "filler").write_bytes(bytes(6 << 20))
    made = record(blind, clip, film=small_disk / "film.mp4")
    assert made.errors == (f"{small_disk / 'film.mp4'}: No space left on device.",)
