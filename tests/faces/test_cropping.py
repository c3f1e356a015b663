"""Crops: where they are cut, how they are turned, and what lies over the edge."""

import numpy as np
import pytest

from ferembed.faces import Face, FaceRecipe

PHOTO = np.arange(10 * 12 * 3, dtype=np.uint8).reshape(10, 12, 3)


def cut(box, photo=PHOTO, **settings):
    return FaceRecipe("none", **settings).crop(photo, Face(box, 1.0))


def test_a_crop_is_the_square_around_the_box():
    assert (cut((3, 2, 7, 6)) == PHOTO[2:6, 3:7]).all()
    assert (cut((4, 2, 6, 6)) == PHOTO[2:6, 3:7]).all()
    assert (cut((3, 2, 7, 6), margin=0.5) == PHOTO[1:7, 2:8]).all()


def test_a_crop_that_is_not_square_is_the_box():
    assert (cut((4, 2, 6, 6), square=False) == PHOTO[2:6, 4:6]).all()
    assert cut((4, 2, 6, 6), square=False, margin=1.0).shape == (8, 4, 3)


def test_pixels_outside_are_repeated_mirrored_or_black():
    photo = np.arange(4 * 4 * 3, dtype=np.uint8).reshape(4, 4, 3) + 1
    over = cut((-2, -2, 2, 2), photo)
    assert (over[0] == photo[0, [0, 0, 0, 1]]).all()
    assert (over[-1, -1] == photo[1, 1]).all()
    mirrored = cut((-2, -2, 2, 2), photo, border="mirror")
    assert (mirrored[2:, 2:] == photo[:2, :2]).all()
    assert (mirrored[0] == photo[2, [2, 1, 0, 1]]).all()
    black = cut((-2, -2, 2, 2), photo, border="black")
    assert (black[2:, 2:] == photo[:2, :2]).all()
    assert not black[:2].any()
    assert not black[:, :2].any()


@pytest.mark.parametrize("border", ["repeat", "mirror", "black"])
def test_any_box_can_be_cut_out_of_any_photo(border):
    for photo in (PHOTO, PHOTO[:1, :1]):
        for box in ((0, 0, 1, 1), (-30, -30, 40, 50), (11, 9, 12, 10)):
            for align in ("none", "eyes"):
                face = Face(box, 1.0, ((1.0, 2.0), (8.0, 5.0), *[(5.0, 5.0)] * 3))
                recipe = FaceRecipe("none", margin=0.3, border=border, align=align)
                crop = recipe.crop(photo, face)
                assert crop.shape[0] == crop.shape[1] >= 1
                assert crop.dtype == np.uint8


@pytest.mark.parametrize("degrees", [-40, -15, 15, 40])
def test_eyes_are_level_in_an_aligned_crop(degrees):
    """Two white eyes on a gray ground: after alignment both lie in the same rows."""
    photo = np.full((200, 240, 3), 90, np.uint8)
    angle = np.deg2rad(degrees)
    middle, reach = np.array([120.0, 100.0]), np.array([np.cos(angle), np.sin(angle)]) * 25
    eyes = [tuple(middle - reach), tuple(middle + reach)]
    for x, y in eyes:
        photo[round(y) - 2 : round(y) + 3, round(x) - 2 : round(x) + 3] = 255
    face = Face((70, 60, 170, 160), 1.0, (*eyes, (120, 110), (110, 130), (130, 130)))
    crop = FaceRecipe("none", align="eyes").crop(photo, face)
    assert crop.shape == (100, 100, 3)
    rows, columns = np.nonzero(crop[:, :, 0] > 170)
    left, right = rows[columns < np.mean(columns)], rows[columns > np.mean(columns)]
    assert abs(left.mean() - right.mean()) < 1
    level = FaceRecipe("none").crop(photo, face)
    assert not np.array_equal(crop, level)


def test_eyes_that_are_level_already_change_nothing():
    eyes = ((4.0, 5.0), (8.0, 5.0), (6.0, 6.0), (5.0, 8.0), (7.0, 8.0))
    face = Face((3, 2, 9, 8), 1.0, eyes)
    aligned = FaceRecipe("none", align="eyes", margin=0.5).crop(PHOTO, face)
    assert (aligned == FaceRecipe("none", margin=0.5).crop(PHOTO, face)).all()


@pytest.mark.parametrize("shape", [(1, 90_000), (90_000, 1), (9_000, 9_000)])
def test_a_crop_is_never_larger_than_the_memory(shape):
    photo = np.zeros((*shape, 3), np.uint8)
    for recipe in (FaceRecipe("none", margin=0.5), FaceRecipe("none", width=512, align="eyes")):
        ((face, crop),) = recipe(photo)
        assert face.box == (0, 0, shape[1], shape[0])
        assert max(crop.shape) <= 4097
