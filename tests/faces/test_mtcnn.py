"""MTCNN on OpenVINO, held to the mtcnn package on TensorFlow."""

import hashlib
import importlib.util
import os
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from ferembed.errors import WeightsError
from ferembed.faces import mtcnn, mtcnn_openvino
from ferembed.faces.mtcnn import Mtcnn
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
def test_the_same_where_there_is_no_face(fast, package):
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


@theirs
def test_without_openvino_the_package_itself_runs(monkeypatch, portrait):
    photo = load_image(portrait)
    found = importlib.util.find_spec
    expected = Mtcnn()(photo)
    monkeypatch.setattr(
        "importlib.util.find_spec", lambda name: None if name == "openvino" else found(name)
    )
    detector = Mtcnn()
    assert not isinstance(detector._search, Cascade)
    (face,), (same,) = detector(photo), expected
    assert face.box == same.box
    assert np.abs(np.subtract(face.landmarks, same.landmarks)).max() < 0.5
    assert detector(np.zeros((20, 300, 3), np.uint8)) == []


def test_a_photo_larger_than_all_screens_is_searched_on_a_copy(monkeypatch, portrait):
    photo = load_image(portrait)
    expected = Mtcnn()(photo)
    monkeypatch.setattr(mtcnn, "LONGEST_SIDE", 300)
    (face,) = Mtcnn()(photo)
    assert face != expected[0]
    assert np.abs(np.subtract(face.box, expected[0].box)).max() < 15
    assert np.abs(np.subtract(face.landmarks, expected[0].landmarks)).max() < 15


def test_boxes_that_a_surer_one_covers_are_left_out_whatever_their_number():
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


def test_a_pickle_of_other_content_is_never_opened(monkeypatch, tmp_path):
    import joblib

    class Trap:
        def __reduce__(self):
            return (Path.touch, (tmp_path / "ran",))

    package = tmp_path / "site" / "strangers_mtcnn"
    (package / "assets" / "weights").mkdir(parents=True)
    file = package / mtcnn.PROPOSE.member
    joblib.dump([Trap()], file, compress=("lz4", 3))
    monkeypatch.syspath_prepend(tmp_path / "site")
    spoilt = replace(mtcnn.PROPOSE, module="strangers_mtcnn")
    for module in (mtcnn, mtcnn_openvino):
        monkeypatch.setattr(module, "PROPOSE", spoilt)
    message = r"sha256 of .*pnet\.lz4 is .*, expected ea6b0c3e685e.*pip install mtcnn==1\.0\.0"
    with pytest.raises(WeightsError, match=message):
        Mtcnn()
    assert not (tmp_path / "ran").exists()
    content = hashlib.sha256(file.read_bytes()).hexdigest()
    assert content != mtcnn.REFINE.sha256
