"""A copy of a photo, and the way back from it."""

import numpy as np
import pytest

from ferembed.faces.scaled_photo import ScaledPhoto

PHOTO = np.arange(60 * 80 * 3, dtype=np.uint32).astype(np.uint8).reshape(60, 80, 3)


@pytest.mark.parametrize("border", [0.0, 0.25])
@pytest.mark.parametrize("longest", [40, 80, 200])
def test_a_box_is_given_in_pixels_of_the_photo(longest, border):
    view = ScaledPhoto.from_photo(PHOTO, longest, enlarge=True, border=border)
    scale, edge = longest / 80, round(longest * border)
    assert view.pixels.shape == (round(60 * scale) + 2 * edge, longest + 2 * edge, 3)
    box = [value * scale + edge for value in (10, 20, 50, 44)]
    face = view.face(box, np.float32(0.5), [(12 * scale + edge, 30 * scale + edge)])
    assert face.box == (10, 20, 50, 44)
    assert face.landmarks == (pytest.approx((12, 30)),)
    assert type(face.score) is float


def test_a_box_is_cut_at_the_edge_of_the_photo():
    view = ScaledPhoto.from_photo(PHOTO, 80, border=0.5)
    assert view.face((0, 0, 160, 140), 1.0).box == (0, 0, 80, 60)
    assert view.face((0, 0, 30, 30), 1.0) is None


def test_a_photo_that_is_small_enough_is_looked_at_as_it_is():
    view = ScaledPhoto.from_photo(PHOTO, 80)
    assert (view.pixels == PHOTO).all()
    assert view.scale == ScaledPhoto.from_photo(PHOTO, 1000).scale == 1
    assert ScaledPhoto.from_photo(np.zeros((1, 5000, 3), np.uint8), 640).pixels.shape == (1, 640, 3)


def test_the_border_repeats_the_edge_of_the_photo():
    view = ScaledPhoto.from_photo(PHOTO, 80, border=0.1)
    assert (view.pixels[8:68, 8:88] == PHOTO).all()
    assert (view.pixels[:8, 8:88] == PHOTO[0]).all()
