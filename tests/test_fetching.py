import pytest

from ferembed.backbones import BACKBONES
from ferembed.errors import UnknownName, WeightsError
from ferembed.faces import yunet
from ferembed.fetching import fetch


def test_weights_that_are_here_are_only_named():
    weights = fetch("mini-vgg")
    assert weights is BACKBONES["mini-vgg"].weights
    assert weights.path().is_file()


def test_the_file_of_a_detector_is_fetched_by_its_name(monkeypatch, tmp_path):
    monkeypatch.setenv("FEREMBED_WEIGHTS", str(tmp_path))
    wrong = tmp_path / "wrong.onnx"
    wrong.write_bytes(b"another network")
    with pytest.raises(WeightsError, match=yunet.MODEL.file):
        fetch("yunet", wrong)


def test_an_unknown_name_gets_a_suggestion():
    with pytest.raises(UnknownName, match="mini-vgg"):
        fetch("mini-vg")
