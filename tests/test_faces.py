"""Contracts over every registered detector, and cropping."""

import numpy as np
import pytest

from ferembed.errors import MissingExtra, UnknownName
from ferembed.faces import DETECTORS
from ferembed.images import load_image

every_detector = pytest.mark.parametrize("name", DETECTORS.names())
finding_detector = pytest.mark.parametrize("name", [n for n in DETECTORS if n != "none"])


@every_detector
@pytest.mark.parametrize("shape", [(1, 1), (1, 500), (19, 30), (48, 48), (2000, 30), (700, 900)])
def test_any_picture_gives_a_list_of_boxes_inside_it(name, shape):
    rng = np.random.default_rng(0)
    for photo in (
        np.full((*shape, 3), 127, np.uint8),
        rng.integers(0, 256, (*shape, 3), dtype=np.uint8),
    ):
        before = photo.copy()
        faces = DETECTORS[name]()(photo)
        assert isinstance(faces, list)
        for face in faces:
            x1, y1, x2, y2 = face.box
            assert 0 <= x1 < x2 <= shape[1]
            assert 0 <= y1 < y2 <= shape[0]
            assert all(type(value) is int for value in face.box)
            assert type(face.score) is float
        assert (photo == before).all()


@finding_detector
def test_the_surest_face_of_a_portrait_is_found_at_any_scale(name, portrait):
    import cv2

    photo = load_image(portrait)
    for scale in (0.5, 1, 4):
        size = round(512 * scale), round(600 * scale)
        faces = DETECTORS[name]()(cv2.resize(photo, size, interpolation=cv2.INTER_AREA))
        x1, y1, x2, y2 = np.array(faces[0].box) / scale
        assert 140 < x1 < 190
        assert 90 < y1 < 125
        assert 340 < x2 < 390
        assert 320 < y2 < 345


@finding_detector
def test_a_gray_portrait_and_two_side_by_side(name, portrait):
    photo = load_image(portrait)
    gray = np.repeat(photo.mean(axis=2, keepdims=True), 3, axis=2).astype(np.uint8)
    faces = DETECTORS[name]()(np.concatenate([photo, gray], axis=1))
    assert len(faces) == 2
    assert [face.score for face in faces] == sorted((f.score for f in faces), reverse=True)
    left, right = sorted(face.box[0] for face in faces)
    assert right - left == pytest.approx(512, abs=25)


def test_mtcnn_gives_five_points_in_the_face(portrait):
    (face,) = DETECTORS["mtcnn"]()(load_image(portrait))
    left_eye, right_eye, nose, mouth_left, mouth_right = face.landmarks
    assert left_eye[0] < nose[0] < right_eye[0]
    assert left_eye[1] < nose[1] < mouth_left[1]
    assert mouth_left[0] < mouth_right[0]


def test_an_opencv_without_cascades_is_named(monkeypatch):
    import cv2

    from ferembed.faces.haar import Haar

    monkeypatch.delattr(cv2, "CascadeClassifier")
    with pytest.raises(MissingExtra, match=r"has no CascadeClassifier. Run: pip install 'opencv"):
        Haar()


def test_an_unknown_detector_is_met_with_a_suggestion():
    with pytest.raises(UnknownName, match="No detector is called 'har'. Did you mean 'haar'?"):
        DETECTORS["har"]
