"""Who showed what when, in words."""

import numpy as np
import pytest

from ferembed.errors import UnknownName
from ferembed.media.timeline import Timeline
from ferembed.media.timeline_picture import draw_timeline
from tests.helpers.timelines import HAPPY, SAD, colours, timeline


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


def test_a_long_video_takes_no_more_room_than_a_short_one():
    made = timeline(*[{1: "happy" if i < 4500 else "sad"} for i in range(9000)], rate=1)
    assert sum(map(len, made._bins.values())) <= 2048
    picture = draw_timeline(made)
    assert colours(picture, 0, 0.49) == (HAPPY, HAPPY)
    assert colours(picture, 0, 0.51) == (SAD, SAD)


def test_a_video_without_a_face_has_a_text_and_a_picture():
    nobody = timeline({}, {}, {})
    assert nobody.text() == "No face was found."
    assert nobody.text("es") == "No se ha encontrado ninguna cara."
    english, spanish = draw_timeline(nobody), draw_timeline(nobody, "es")
    assert english.shape == spanish.shape
    assert (english != spanish).any()
    assert np.array_equal(draw_timeline(timeline({}))[:50], draw_timeline(Timeline())[:50])
