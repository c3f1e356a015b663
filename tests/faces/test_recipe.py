"""From photos to crops: where they are cut, how they are turned, and what lies over the edge."""

import numpy as np
import pytest

from ferembed.errors import UnknownName
from ferembed.faces import DETECTORS, Face, FaceRecipe
from ferembed.faces.haar import find_eyes
from ferembed.images import load_image

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


def test_what_lies_outside_is_repeated_mirrored_or_black():
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


@pytest.mark.parametrize("degrees", [-20, -10, 0, 10])
def test_eyes_are_level_where_the_detector_gives_none_and_they_are_looked_for(degrees, portrait):
    import cv2

    matrix = cv2.getRotationMatrix2D((265, 215), degrees, 1)
    photo = cv2.warpAffine(load_image(portrait), matrix, (512, 600), borderMode=cv2.BORDER_REFLECT)
    ((_, tilted),) = FaceRecipe("haar", margin=0.4)(photo)
    ((_, level),) = FaceRecipe("haar", margin=0.4, align="eyes")(photo)

    def tilt(crop):  # as another detector sees it
        ((x1, y1), (x2, y2)) = DETECTORS["mtcnn"]()(crop)[0].landmarks[:2]
        return np.rad2deg(np.arctan2(y2 - y1, x2 - x1))

    assert tilt(tilted) == pytest.approx(-degrees, abs=5)
    assert tilt(level) == pytest.approx(0, abs=3)


def test_eyes_are_not_seen_where_there_are_none():
    for photo in (PHOTO, np.full((300, 300, 3), 127, np.uint8)):
        for box in ((0, 0, 10, 10), (-40, -40, 400, 400), (300, 300, 340, 340), (5, 5, 5, 9)):
            assert find_eyes(photo, box) == ()


def test_eyes_that_are_level_already_change_nothing():
    eyes = ((4.0, 5.0), (8.0, 5.0), (6.0, 6.0), (5.0, 8.0), (7.0, 8.0))
    face = Face((3, 2, 9, 8), 1.0, eyes)
    aligned = FaceRecipe("none", align="eyes", margin=0.5).crop(PHOTO, face)
    assert (aligned == FaceRecipe("none", margin=0.5).crop(PHOTO, face)).all()


def test_boxes_are_those_of_the_photo_before_it_was_scaled(portrait):
    photo = load_image(portrait)
    ((plain, _),) = FaceRecipe("haar")(photo)
    ((scaled, crop),) = FaceRecipe("haar", width=256, equalize=True)(photo)
    assert np.abs(np.subtract(plain.box, scaled.box)).max() < 25
    assert crop.shape[0] == pytest.approx((scaled.box[2] - scaled.box[0]) / 2, abs=2)
    assert (crop[:, :, 0] == crop[:, :, 1]).all()


def test_a_scaled_box_stays_inside_the_photo():
    for size in ((333, 77), (77, 333), (5000, 3)):
        ((face, _),) = FaceRecipe("none", width=64)(np.zeros((*size, 3), np.uint8))
        assert face.box == (0, 0, size[1], size[0])


@pytest.mark.parametrize("shape", [(1, 90_000), (90_000, 1), (9_000, 9_000)])
def test_a_crop_is_never_larger_than_the_memory(shape):
    photo = np.zeros((*shape, 3), np.uint8)
    for recipe in (FaceRecipe("none", margin=0.5), FaceRecipe("none", width=512, align="eyes")):
        ((face, crop),) = recipe(photo)
        assert face.box == (0, 0, shape[1], shape[0])
        assert max(crop.shape) <= 4097


def test_the_whole_picture_stands_in_where_it_is_asked_for():
    landscape = np.full((300, 400, 3), 130, np.uint8)
    assert FaceRecipe("haar")(landscape) == []
    ((face, crop),) = FaceRecipe("haar", fallback_to_whole_image=True)(landscape)
    assert face == Face((0, 0, 400, 300), 0.0, found=False)
    assert crop.shape == (400, 400, 3)


@pytest.mark.parametrize("width", [None, 500])
def test_small_faces_are_left_out_by_a_share_of_the_photo_or_by_pixels(width, portrait):
    """A face of 43 pixels beside one of about 220, in a photo of 600 by 1000."""
    import cv2

    photo = np.full((600, 1000, 3), 120, np.uint8)
    photo[:, :512] = load_image(portrait)
    photo[20:137, 700:800] = cv2.resize(photo[:, :512], (100, 117), interpolation=cv2.INTER_AREA)

    def heights(**settings):
        found = FaceRecipe("mtcnn", width=width, **settings)(photo)
        return [face.box[3] - face.box[1] for face, _ in found]

    if width is None:
        small, large = sorted(heights())
        assert (small, large) == (pytest.approx(43, abs=3), pytest.approx(220, rel=0.1))
        assert len(heights(min_face=0)) == len(heights(min_face=20)) == 2
    assert len(heights(min_face=60)) == len(heights(min_face=0.1)) == 1
    assert heights(min_face=0.5) == heights(min_face=300) == []


def test_a_name_stands_for_a_recipe():
    assert FaceRecipe.resolve(None) == FaceRecipe("none")
    assert FaceRecipe.resolve("mtcnn") == FaceRecipe("mtcnn", align="eyes")
    assert FaceRecipe.resolve("haar-512") == FaceRecipe(
        "haar", align="eyes", width=512, equalize=True
    )
    assert FaceRecipe.resolve(FaceRecipe("none", margin=0.3)) == FaceRecipe("none", margin=0.3)
    assert {name: FaceRecipe.named(name).detector for name in DETECTORS} == {
        n: n for n in DETECTORS
    }
    with pytest.raises(UnknownName, match="No detector is called 'haar-51'. Did you mean 'haar-5"):
        FaceRecipe.resolve("haar-51")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"margin": -0.1}, "margin is -0.1; it is a number from 0 to 10"),
        ({"margin": "x"}, "margin is 'x'"),
        ({"margin": True}, "margin is True"),
        ({"min_face": -1}, "min_face is -1; it is a number from 0 to 10,000"),
        ({"min_face": float("nan")}, "min_face is nan"),
        ({"min_face": "small"}, "min_face is 'small'"),
        ({"width": 3}, "width is 3; it is None or 16 to 10,000 pixels"),
        ({"align": "eye"}, "No alignment is called 'eye'. Did you mean 'eyes'"),
        ({"border": "blak"}, "No border is called 'blak'. Did you mean 'black'"),
        ({"detector": "har"}, "No detector is called 'har'. Did you mean 'haar'"),
    ],
)
def test_a_setting_that_is_none_is_told_at_once(settings, message):
    with pytest.raises((ValueError, UnknownName), match=message):
        FaceRecipe(**settings)
