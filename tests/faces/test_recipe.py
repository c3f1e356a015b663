"""From photos to faces: which are found, and how large they are."""

import io

import numpy as np
import PIL.Image
import pytest

from ferembed import Pipeline, datasets
from ferembed.errors import UnknownName
from ferembed.faces import DETECTORS, Face, FaceRecipe
from ferembed.images import load_image, open_source, size_of
from ferembed.media.photos import read_photos


def test_boxes_are_those_of_the_photo_before_it_was_scaled(portrait):
    photo = load_image(portrait)
    ((plain, _),) = FaceRecipe("haar")(photo)
    ((scaled, crop),) = FaceRecipe("haar", width=256, equalize=True)(photo)
    assert np.abs(np.subtract(plain.box, scaled.box)).max() < 25
    assert crop.shape[0] == pytest.approx((scaled.box[2] - scaled.box[0]) / 2, abs=2)
    assert (crop[:, :, 0] == crop[:, :, 1]).all()


@pytest.fixture(scope="module")
def large(portrait, tmp_path_factory):
    """A photo of 2560 by 3000 pixels."""
    path = tmp_path_factory.mktemp("large") / "large.jpg"
    picture = PIL.Image.fromarray(load_image(portrait))
    picture.resize((2560, 3000), PIL.Image.Resampling.BICUBIC).save(path, quality=95)
    return path


def test_a_large_photo_is_searched_at_a_reduced_size(large):
    recipe = FaceRecipe("mtcnn")
    ((whole, crop),) = recipe(load_image(large))
    image, size = open_source(large).reduced(recipe.shorter_side)
    assert (image.shape, size) == ((1500, 1280, 3), (2560, 3000))
    ((face, smaller),) = recipe(image, size)
    assert np.abs(np.subtract(face.box, whole.box)).max() <= 12
    assert np.abs(np.subtract(face.landmarks, whole.landmarks)).max() <= 12
    assert smaller.shape[0] == pytest.approx(crop.shape[0] / 2, abs=6)


def test_a_large_photo_gets_the_same_predictions_everywhere(large, tmp_path):
    pipeline = Pipeline.load("fast", store="none", detector="mtcnn")
    analyzed = tuple(pipeline.analyze(large))
    (plain,) = read_photos(pipeline, [str(large)])
    (drawn,) = read_photos(pipeline, [str(large)], annotated_folder=tmp_path)
    assert plain.predictions == drawn.predictions == analyzed
    assert size_of(tmp_path / "large.png")[1] == 3000


def test_no_size_is_reduced_where_small_faces_are_searched_for():
    assert FaceRecipe("mtcnn", min_face=0.1).shorter_side == 640
    assert FaceRecipe("mtcnn", min_face=0).shorter_side is None
    assert FaceRecipe("mtcnn", min_face=1e-310).shorter_side is None
    assert FaceRecipe("mtcnn", min_face=40).shorter_side is None


def test_no_size_is_reduced_below_the_width_of_the_recipe():
    assert FaceRecipe("haar", width=512).shorter_side == 1280
    assert FaceRecipe("haar", width=2000).shorter_side is None


@pytest.mark.parametrize("size", [(801, 603), (3000, 2777)])
def test_the_box_of_a_whole_reduced_picture_is_all_of_it(size):
    picture = io.BytesIO()
    PIL.Image.new("RGB", size).save(picture, "JPEG")
    image, full = open_source(picture.getvalue()).reduced(150)
    ((face, _),) = FaceRecipe("none")(image, full)
    assert (full, face.box) == (size, (0, 0, *size))


def test_a_face_is_cropped_for_a_data_set_as_for_a_prediction(large):
    recipe = FaceRecipe("mtcnn")
    ((_, crop),) = recipe(*open_source(large).reduced(recipe.shorter_side))
    photos = datasets.Dataset.from_images([large, large], ["happy", "sad"])
    assert (np.asarray(datasets.crop(photos, recipe).images[0]) == crop).all()


def test_a_scaled_box_stays_inside_the_photo():
    for size in ((333, 77), (77, 333), (5000, 3)):
        ((face, _),) = FaceRecipe("none", width=64)(np.zeros((*size, 3), np.uint8))
        assert face.box == (0, 0, size[1], size[0])


def test_the_whole_picture_is_the_fallback_on_request():
    landscape = np.full((300, 400, 3), 130, np.uint8)
    assert FaceRecipe("haar")(landscape) == []
    ((face, crop),) = FaceRecipe("haar", fallback_to_whole_image=True)(landscape)
    assert face == Face((0, 0, 400, 300), 0.0, found=False)
    assert crop.shape == (400, 400, 3)


@pytest.mark.parametrize("width", [None, 500])
def test_small_faces_are_left_out_by_a_fraction_of_the_photo_or_by_pixels(width, portrait):
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
def test_an_invalid_setting_is_an_error_at_once(settings, message):
    with pytest.raises((ValueError, UnknownName), match=message):
        FaceRecipe(**settings)
