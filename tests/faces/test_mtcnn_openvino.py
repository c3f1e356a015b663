"""MTCNN on OpenVINO, held to the mtcnn package on TensorFlow."""

import os
import zipfile
from pathlib import Path

import numpy as np
import pytest

from ferembed.faces import mtcnn_openvino
from ferembed.faces.mtcnn_openvino import Cascade
from ferembed.images import load_image

# The package unpacks its weights with joblib: on Python 3.13 that ends in complaints of lz4.
theirs = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")


@pytest.fixture(scope="module")
def fast():
    return Cascade()


@pytest.fixture(scope="module")
def package():
    """The package: photo -> (n, 15), as a cascade answers."""
    from mtcnn import MTCNN

    networks = MTCNN()
    return lambda photo: networks.detect_faces(photo, output_type="numpy", box_format="xyxy")[:, 1:]


def assert_same(fast, package, photo):
    ours, theirs = fast(photo), package(photo)
    assert len(ours) == len(theirs)
    if len(ours):
        assert ours[:, 4] == pytest.approx(theirs[:, 4], abs=1e-3)
        assert ours == pytest.approx(theirs, abs=0.5)
    return len(ours)


def turned(photo, degrees):
    import cv2

    matrix = cv2.getRotationMatrix2D((256, 220), degrees, 1)
    return cv2.warpAffine(photo, matrix, (512, 600), borderMode=cv2.BORDER_REPLICATE)


def resized(photo, width, height):
    import cv2

    return cv2.resize(photo, (width, height), interpolation=cv2.INTER_AREA)


@pytest.mark.slow
@theirs
def test_the_same_boxes_and_points_as_the_package(fast, package, portrait):
    photo = load_image(portrait)
    for degrees in (0, -25, -10, 10, 25):
        assert assert_same(fast, package, turned(photo, degrees)) == 1
    for width, height in ((60, 70), (128, 150), (333, 390), (901, 1050)):
        assert assert_same(fast, package, resized(photo, width, height)) == 1
    crowd = np.concatenate([photo, photo[:, ::-1], resized(photo, 512, 600) // 2], axis=1)
    assert assert_same(fast, package, crowd) == 3
    assert assert_same(fast, package, photo[120:, 185:]) == 1  # it reaches over the edges


@theirs
def test_the_same_without_a_face(fast, package):
    from sklearn.datasets import load_sample_images

    rng = np.random.default_rng(0)
    for shape in ((21, 21), (21, 300), (64, 64), (200, 300)):
        assert assert_same(fast, package, np.full((*shape, 3), 127, np.uint8)) == 0
        assert_same(fast, package, rng.integers(0, 256, (*shape, 3), dtype=np.uint8))
    for photo in load_sample_images().images:
        assert_same(fast, package, photo)


@pytest.mark.slow
@pytest.mark.data
def test_the_same_on_photos_of_many_people(fast, package):
    with zipfile.ZipFile(Path(os.environ["FEREMBED_DATA"]) / "photos.zip") as photos:
        names = sorted(name for name in photos.namelist() if name.startswith("images/"))
        chosen = [load_image(photos.read(name)) for name in names[::26]]
    for photo in chosen:
        assert_same(fast, package, photo)
    crowd = np.concatenate([resized(photo, 160, 160) for photo in chosen[:8]], axis=1)
    assert assert_same(fast, package, crowd) >= 6


def test_boxes_covered_by_a_more_confident_one_are_left_out():
    rng = np.random.default_rng(1)
    corners = rng.uniform(0, 300, (700, 2))
    rows = np.hstack([corners, corners + rng.uniform(20, 80, (700, 2)), rng.random((700, 1))])
    rows = rows[np.argsort(-rows[:, 4])]

    def share(a, b):
        wide, high = (min(a[i + 2], b[i + 2]) - max(a[i], b[i]) for i in (0, 1))
        both = max(0, wide) * max(0, high)
        return both / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - both)

    kept = [row for i, row in enumerate(rows) if all(share(row, s) <= 0.5 for s in rows[:i])]
    assert 50 < len(kept) < 650
    assert (mtcnn_openvino.non_maximum_suppression(rng.permutation(rows), 0.5) == kept).all()
