"""MTCNN with and without OpenVINO, and the weights that it opens."""

import hashlib
import importlib.util
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
