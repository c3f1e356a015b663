"""Eyes and faces by OpenCV's cascades."""

import numpy as np
import pytest

from ferembed.errors import MissingExtra
from ferembed.faces import DETECTORS, FaceRecipe
from ferembed.faces.haar import find_eyes
from ferembed.images import load_image

PHOTO = np.arange(10 * 12 * 3, dtype=np.uint8).reshape(10, 12, 3)


def test_an_opencv_without_cascades_is_named(monkeypatch):
    import cv2

    from ferembed.faces.haar import Haar

    monkeypatch.delattr(cv2, "CascadeClassifier")
    with pytest.raises(MissingExtra, match=r"has no CascadeClassifier. Run: pip install 'opencv"):
        Haar()


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
