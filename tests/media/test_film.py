"""Annotated frames as a film."""

import os

import cv2
import numpy as np
import pytest

from ferembed.errors import DataError, VideoError
from ferembed.faces import Face
from ferembed.media import film as film_module
from ferembed.media.annotate import annotate
from ferembed.media.film import Film, draw, has_display
from ferembed.media.recording import record
from ferembed.media.tracking import Person
from ferembed.media.video import Frame
from ferembed.media.watch import watch
from tests.helpers import clips


def test_the_film_shows_the_frames_drawn_on(pipeline, clip, tmp_path):
    record(pipeline, clip, film=tmp_path / "new" / "film.mp4", language="es")
    film = clips.frames_of(tmp_path / "new" / "film.mp4")
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
    shades = [round(frame.image.mean(), -1) for frame in clips.frames_of(tmp_path / "film.mp4")]
    assert shades[:7] == [50, 100, 100, 100, 100, 100, 200]
    assert shades[7:-1] == [220] * 600  # no more than a minute
    assert shades[-1] == 10


def test_a_film_has_one_size_whatever_the_frames_have(tmp_path):
    film = Film(tmp_path / "film.mp4")
    for i, shape in enumerate([(49, 65, 3), (98, 65, 3), (48, 64, 3)]):
        film.add(np.full(shape, 200, np.uint8), i / 10, 10.0)
    film.close()
    first, narrow, last = clips.frames_of(tmp_path / "film.mp4")
    assert first.image.shape == narrow.image.shape == last.image.shape == (48, 64, 3)
    assert first.image.min() > 190
    assert narrow.image[:, :12].max() < 40
    assert narrow.image[:, 20:44].min() > 160


def test_a_film_has_a_name_that_ends_in_mp4(pipeline, clip, tmp_path):
    with pytest.raises(DataError, match="film.avi is not a name .*must end in .mp4"):
        record(pipeline, clip, film=tmp_path / "film.avi")
    with pytest.raises(DataError, match="The film would replace the input .*clip.mp4"):
        record(pipeline, clip, film=clip)
    with pytest.raises(VideoError, match="the name is no UTF-8"):
        record(pipeline, clip, film=os.fsdecode(b"b\xff.mp4"))


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


@pytest.mark.skipif(not os.environ.get("DISPLAY"), reason="needs a display")
def test_with_a_display_the_window_is_shown(blind, clip, tmp_path):
    assert record(blind, clip, window=True).frames == 20


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
