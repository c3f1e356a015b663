import cv2
import numpy as np
import pytest

from ferembed.backbones.preprocess import VGGFACE2_BGR_MEANS, Preprocess
from ferembed.errors import UnknownName
from ferembed.faces import FaceRecipe


def rgb(faces):
    return [np.repeat(face[:, :, None], 3, axis=2) for face in faces]


def test_gray_of_the_right_size_passes_unchanged(faces):
    out = Preprocess("gray", 48, scale=1.0)(rgb(faces))
    assert out.dtype == np.float32
    assert (out[..., 0] == faces).all()


def test_mean_and_scale():
    white = [np.full((5, 5, 3), 255, np.uint8)]
    assert Preprocess("gray", 2, mean=(128,), scale=1 / 64)(white).max() == np.float32(127 / 64)


def test_vggface2_takes_its_means_from_bgr():
    orange = np.zeros((4, 4, 3), np.uint8)
    orange[:] = (200, 150, 100)
    out = Preprocess("bgr", 2, mean=VGGFACE2_BGR_MEANS, scale=1.0)([orange])
    assert out[0, 0, 0] == pytest.approx([100 - 91.4953, 150 - 103.8827, 200 - 131.0912])


def test_whitening_gives_each_face_a_mean_of_0_and_a_deviation_of_1():
    rng = np.random.default_rng(0)
    faces = [rng.integers(low, low + 60, (9, 9, 3), dtype=np.uint8) for low in (0, 150)]
    blank = np.full((9, 9, 3), 77, np.uint8)
    out = Preprocess("rgb", 9, scale=1.0, whiten=True)([*faces, blank])
    assert np.abs(out.mean(axis=(1, 2, 3))).max() < 1e-5
    assert out[:2].std(axis=(1, 2, 3)) == pytest.approx([1, 1], abs=1e-5)
    assert (out[2] == 0).all()
    expected = (faces[1] - faces[1].mean()) / faces[1].std()
    assert out[1] == pytest.approx(expected, abs=1e-5)


def test_recipes_of_before_whitening_keep_their_fingerprints():
    assert set(Preprocess().facts()) == {
        "color", "size", "interpolation", "equalize", "mean", "scale", "clahe_clip", "clahe_tiles",
    }  # fmt: skip
    assert Preprocess(whiten=True).facts()["whiten"] is True
    for recipe in (Preprocess(equalize="clahe"), Preprocess("rgb", whiten=True)):
        assert Preprocess(**recipe.facts()) == recipe


def test_histogram_equalisation_spreads_the_levels(faces):
    dull = (faces[0] // 8 + 100).astype(np.uint8)
    recipe = Preprocess("gray", 48, equalize="histogram", scale=1.0)
    out = recipe(rgb([dull]))[0, :, :, 0]
    assert (out == cv2.equalizeHist(dull)).all()
    assert out.min() == 0
    assert out.max() == 255


def test_clahe_has_four_by_four_tiles_and_clips_at_four(faces):
    out = Preprocess("gray", 48, equalize="clahe", scale=1.0)(rgb(faces[:1]))[0, :, :, 0]
    assert (out == cv2.createCLAHE(4.0, (4, 4)).apply(faces[0])).all()


def test_equalising_colour_keeps_the_hue():
    ramp = np.zeros((16, 16, 3), np.uint8)
    ramp[:] = np.linspace(100, 130, 16)[:, None, None] * (1.0, 0.5, 0.5)
    out = Preprocess("rgb", 16, equalize="histogram", scale=1.0)([ramp])[0]
    assert (out[4:, :, 0] > out[4:, :, 1]).all()
    assert np.abs(out[:, :, 1] - out[:, :, 2]).max() <= 2


def test_any_size_of_face_is_brought_to_one():
    sizes = [(1, 1), (3, 90), (200, 10), (48, 48), (500, 400)]
    sources = [np.full((*size, 3), 60, np.uint8) for size in sizes]
    for method in ("area", "nearest", "linear", "cubic", "lanczos"):
        out = Preprocess("gray", 48, interpolation=method, scale=1.0)(sources)
        assert out.shape == (5, 48, 48, 1)
        assert (out == 60).all()


def test_no_faces_are_an_empty_batch():
    assert Preprocess("rgb", 10)([]).shape == (0, 10, 10, 3)


def test_a_recipe_is_a_value():
    assert Preprocess(mean=[1, 2, 3], color="rgb") == Preprocess(mean=(1.0, 2.0, 3.0), color="rgb")
    assert hash(Preprocess()) == hash(Preprocess())
    assert Preprocess() != Preprocess(equalize="clahe")


def test_wrong_recipes_say_what_is_allowed():
    with pytest.raises(
        UnknownName, match="No equalisation is called 'clahee'. Did you mean 'clahe'"
    ):
        Preprocess(equalize="clahee")
    with pytest.raises(UnknownName, match="No colour mode is called 'grey'. Did you mean 'gray'"):
        Preprocess("grey")
    with pytest.raises(ValueError, match="mean has 3 values; gray takes 1 or 1"):
        Preprocess(mean=(1, 2, 3))
    with pytest.raises(ValueError, match="size is 0"):
        Preprocess(size=0)


@pytest.mark.parametrize(
    "field",
    [
        {"size": 0},
        {"size": True},
        {"clahe_tiles": 0},
        {"clahe_clip": 0},
        {"scale": float("nan")},
        {"mean": (1e300,)},
        {"mean": ("1",)},
    ],
)
def test_every_number_of_a_preprocess_is_checked_when_it_is_made(field):
    with pytest.raises(ValueError, match=f"{next(iter(field))} is "):
        Preprocess(**field)
    with pytest.raises(ValueError, match="equalize is 3"):
        FaceRecipe(equalize=3)
