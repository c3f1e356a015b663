import numpy as np
import pytest

from ferembed.drawing import font
from ferembed.faces import Face
from ferembed.labels import EXPRESSIONS
from ferembed.media.annotate import annotate
from ferembed.pipeline import Prediction

SHARES = dict(zip(EXPRESSIONS, (0.02, 0.01, 0.03, 0.7, 0.04, 0.1, 0.1), strict=True))


def prediction(*box):
    return Prediction(Face(box, 1.0), "happy", SHARES)


@pytest.mark.parametrize("shade", [0, 128, 255])
def test_what_is_drawn_stands_out_on_any_background(shade):
    photo = np.full((400, 600, 3), shade, np.uint8)
    drawn = annotate(photo, [prediction(50, 60, 250, 260)])
    assert drawn.shape == photo.shape
    assert (photo == shade).all()
    changed = np.abs(drawn.astype(int) - shade).max(axis=2) > 60
    assert changed[60, 60:240].mean() > 0.9  # the upper edge of the frame
    panel = drawn[60:200, 258:420]
    assert panel.max() > 200  # light letters
    assert np.median(panel) < 90  # on a dark panel


def test_a_longer_bar_for_a_larger_share():
    drawn = annotate(np.full((400, 600, 3), 255, np.uint8), [prediction(50, 60, 250, 260)])
    teal = (np.abs(drawn.astype(int) - (0x35, 0xD0, 0xBA)).max(axis=2) < 12)[:, 262:]
    rows = np.flatnonzero(teal.sum(axis=1) > 30)
    assert len(rows)
    assert np.ptp(rows) < 30  # one bar, of the one label


@pytest.mark.parametrize("size", [(20, 20), (60, 900), (900, 60), (300, 300)])
@pytest.mark.parametrize("place", ["whole", "corner", "outside"])
def test_small_photos_and_faces_at_the_edge_are_drawn_too(size, place):
    height, width = size
    box = {
        "whole": (0, 0, width, height),
        "corner": (width - 5, height - 5, width, height),
        "outside": (-30, -30, width + 30, height + 30),
    }[place]
    photo = np.full((*size, 3), 90, np.uint8)
    assert (annotate(photo, [prediction(*box)], "es") != photo).any()


def test_no_face_leaves_the_photo_as_it_is():
    photo = np.random.default_rng(0).integers(0, 256, (50, 40, 3), dtype=np.uint8)
    assert (annotate(photo, []) == photo).all()


def test_the_font_has_the_letters_of_the_spanish_labels():
    letters = font(40)
    missing = bytes(letters.getmask("\uffff"))
    for letter in "áéíóúüñÁÉÍÓÚÑ":
        assert bytes(letters.getmask(letter)) != missing
        assert letters.getmask(letter).getbbox()
