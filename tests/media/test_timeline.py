"""Who showed what when, in words and in a picture."""

import numpy as np
import PIL.ImageColor
import pytest

from ferembed.errors import UnknownName
from ferembed.faces import Face
from ferembed.labels import EXPRESSIONS
from ferembed.media.timeline import Timeline
from ferembed.media.timeline_picture import draw_timeline, save_timeline
from ferembed.media.tracking import Person
from ferembed.media.video import Frame

IMAGE = np.zeros((4, 4, 3), np.uint8)


def person(number, label, labels=EXPRESSIONS):
    shares = {name: 0.9 if name == label else 0.1 / (len(labels) - 1) for name in labels}
    return Person(Face((0, 0, 4, 4), 1.0), label, shares, number, shares)


def timeline(*frames, rate=10, labels=EXPRESSIONS):
    """Of frames that are each given as {number: label}."""
    made = Timeline()
    for i, shown in enumerate(frames):
        people = tuple(person(number, label, labels) for number, label in shown.items())
        made.add(Frame(i, i / rate, IMAGE, people))
    return made


def colours(picture, row, at):
    """Of the band and of the middle of the area of a row, at a share of the whole time."""
    column = picture[:, 130 + int(at * 1040)]
    top = 56 + row * 112
    return tuple(column[top + 3]), tuple(column[top + 60])


HAPPY, SAD, NOBODY = (PIL.ImageColor.getrgb(colour) for colour in ("#f0e442", "#0072b2", "#eef0f3"))


def test_a_line_for_each_person():
    made = timeline(*[{1: "happy"}] * 6, *[{1: "sad", 3: "sad"}] * 2)
    assert made.people == (1, 3)
    assert (made.frames, made.seconds) == (8, pytest.approx(0.8))
    assert made.text().splitlines() == [
        "Person 1, 0.0 to 0.8 s: Happy 75 %, Sad 25 %",
        "Person 3, 0.6 to 0.8 s: Sad 100 %",
    ]
    assert made.text("es").splitlines()[0] == "Persona 1, 0.0 a 0.8 s: Alegría 75 %, Tristeza 25 %"
    for asked in (made.text, lambda language: draw_timeline(made, language), Timeline().text):
        with pytest.raises(UnknownName, match="No language is called 'fr'"):
            asked("fr")


def test_the_picture_shows_who_showed_what_when():
    frames = [{1: "happy", 2: "sad"}] * 50 + [{1: "sad"}] * 25 + [{1: "sad", 2: "happy"}] * 25
    picture = draw_timeline(timeline(*frames))
    assert colours(picture, 0, 0.25) == (HAPPY, HAPPY)
    assert colours(picture, 0, 0.75) == (SAD, SAD)
    assert colours(picture, 1, 0.25) == (SAD, SAD)
    assert colours(picture, 1, 0.6) == (NOBODY, NOBODY)
    assert colours(picture, 1, 0.9) == (HAPPY, HAPPY)


def test_frames_far_apart_leave_no_gaps():
    made = timeline(*[{1: "happy"}] * 20, rate=2)
    picture = draw_timeline(made)
    assert {colours(picture, 0, at) for at in np.linspace(0.01, 0.99, 300)} == {(HAPPY, HAPPY)}
    longer = draw_timeline(timeline(*[{1: "happy"}] * 4, rate=1 / 5))  # not in sight for 5 seconds
    assert colours(longer, 0, 0.02) == (HAPPY, HAPPY)
    assert colours(longer, 0, 0.2) == (NOBODY, NOBODY)


def test_a_long_video_takes_no_more_room_than_a_short_one():
    made = timeline(*[{1: "happy" if i < 4500 else "sad"} for i in range(9000)], rate=1)
    assert sum(map(len, made._bins.values())) <= 2048
    picture = draw_timeline(made)
    assert colours(picture, 0, 0.49) == (HAPPY, HAPPY)
    assert colours(picture, 0, 0.51) == (SAD, SAD)


def test_a_video_without_a_face_says_so():
    nobody = timeline({}, {}, {})
    assert nobody.text() == "No face was found."
    assert nobody.text("es") == "No se ha encontrado ninguna cara."
    english, spanish = draw_timeline(nobody), draw_timeline(nobody, "es")
    assert english.shape == spanish.shape
    assert (english != spanish).any()
    assert np.array_equal(draw_timeline(timeline({}))[:50], draw_timeline(Timeline())[:50])


def test_of_many_people_those_seen_most_are_drawn():
    frames = [{n: "happy" for n in range(1, 16) if n != 7 or i < 2} for i in range(10)]
    many = draw_timeline(timeline(*frames))
    twelve = draw_timeline(timeline(*[{n: "happy" for n in range(1, 13)}] * 10))
    assert many.shape[0] == twelve.shape[0] + 30  # and a line that tells of the others
    assert (many[-40:] < 128).any()


def test_labels_and_their_accents_are_drawn():
    plain, accent = (
        draw_timeline(timeline(*[{1: label}] * 5, labels=("alegria", "alegría", "sad")), "es")
        for label in ("alegria", "alegría")
    )
    band = slice(56, 78), slice(130, 400)
    assert (plain[band] != accent[band]).any()
    assert (draw_timeline(timeline(*[{1: "happy"}] * 5), "es", "Fiesta.mp4")[:40] < 128).any()


def test_the_picture_is_written_whole(tmp_path):
    made = timeline(*[{1: "happy"}] * 5)
    save_timeline(made, tmp_path / "new" / "clip.png", "es", "clip.mp4")
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["clip.png"]
    with PIL.Image.open(tmp_path / "new" / "clip.png") as picture:
        assert np.array_equal(np.array(picture), draw_timeline(made, "es", "clip.mp4"))


def test_a_face_counts_as_seen_for_a_second_after_its_last_frame():
    made = Timeline()
    for seconds, people in ((0, (person(1, "happy"),)), (10, ()), (20, ())):
        made.add(Frame(int(seconds), seconds, IMAGE, people))
    picture = draw_timeline(made)
    assert made.seconds == 21
    assert colours(picture, 0, 0.5 / 21)[0] == HAPPY
    assert colours(picture, 0, 2 / 21)[0] == NOBODY
