import numpy as np

from ferembed.faces import DETECTORS, Face


def test_the_whole_picture_is_the_face():
    detector = DETECTORS["none"]()
    assert detector(np.zeros((20, 30, 3), np.uint8), 100) == [Face((0, 0, 30, 20), 1.0)]
