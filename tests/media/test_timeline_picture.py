"""The picture of who showed what when."""

import numpy as np
import PIL.ImageColor

from ferembed.media.timeline import Timeline
from ferembed.media.timeline_picture import draw_timeline, save_timeline
from ferembed.media.video import Frame
from tests.helpers.timelines import HAPPY, IMAGE, NOBODY, SAD, colours, person, timeline


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
