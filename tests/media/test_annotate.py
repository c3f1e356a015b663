import numpy as np
import pytest

from ferembed.faces import Face
from ferembed.labels import EXPRESSIONS
from ferembed.media.annotate import annotate
from ferembed.pipeline import Prediction

SHARES = dict(zip(EXPRESSIONS, (0.02, 0.01, 0.03, 0.7, 0.04, 0.1, 0.1), strict=True))


def prediction(*box):
    return Prediction(Face(box, 1.0), "happy", SHARES)


@pytest.mark.parametrize("shade", [0, 128, 255])
def test_boxes_and_bars_stand_out_on_any_background(shade):
    photo = np.full((400, 600, 3), shade, np.uint8)
    drawn = annotate(photo, [prediction(50, 60, 250, 260)])
    assert drawn.shape == photo.shape
    assert (photo == shade).all()
    changed = np.abs(drawn.astype(int) - shade).max(axis=2) > 60
    assert changed[60, 60:240].mean() > 0.9  # the upper edge of the frame
    panel = drawn[60:200, 258:420]
    assert panel.max() > 200  # light letters
    assert np.median(panel) < 90  # on a dark panel


def test_a_larger_probability_has_a_longer_bar():
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
    drawn = annotate(photo, [prediction(*box)], "es")
    assert drawn.shape != photo.shape or (drawn != photo).any()
    assert annotate(photo, [prediction(*box)], "es", widen=False).shape[0] >= photo.shape[0]


def test_the_panel_of_a_face_that_fills_the_photo_is_beside_the_photo():
    photo = np.full((400, 300, 3), 90, np.uint8)
    drawn = annotate(photo, [prediction(10, 10, 290, 390)])
    assert drawn.shape[0] == 400
    assert drawn.shape[1] > 420
    assert (drawn[20:380, 20:280] == photo[20:380, 20:280]).all()  # nothing covers the face
    assert drawn[:, 300:].max() > 200


def test_no_panel_covers_a_face_or_another_panel():
    photo = np.full((500, 700, 3), 90, np.uint8)
    boxes = [(40, 40, 240, 240), (260, 40, 460, 240), (40, 260, 240, 460), (470, 250, 690, 490)]
    drawn = annotate(photo, [prediction(*box) for box in boxes])
    for x1, y1, x2, y2 in boxes:
        inside = drawn[y1 + 10 : y2 - 10, x1 + 10 : x2 - 10]
        teal = (np.abs(inside.astype(int) - (0x35, 0xD0, 0xBA)).max(axis=2) < 30).sum()
        lines = (inside != 90).any(axis=2).sum()
        assert lines == teal < 400  # at most a line to a panel in the margin


def test_a_frame_of_a_video_keeps_its_size():
    photo = np.full((400, 300, 3), 90, np.uint8)
    drawn = annotate(photo, [prediction(10, 10, 290, 390)], widen=False)
    assert drawn.shape == photo.shape
    beside = annotate(photo, [prediction(10, 10, 290, 200)], widen=False)
    assert (beside[20:190, 20:280] == 90).all()


def test_no_face_leaves_the_photo_as_it_is():
    photo = np.random.default_rng(0).integers(0, 256, (50, 40, 3), dtype=np.uint8)
    assert (annotate(photo, []) == photo).all()
