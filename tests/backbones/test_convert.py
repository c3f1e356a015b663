"""Networks converted for OpenVINO, and in integers."""

import pytest

from ferembed.backbones import BACKBONES, LoadRequest, load_backbone, quantize
from ferembed.errors import WeightsError
from tests.helpers.backbones import rgb


def test_a_converted_network_is_written_whole_or_not_at_all(tmp_path, monkeypatch, faces):
    monkeypatch.setenv("FEREMBED_CACHE", str(tmp_path))
    request = LoadRequest("cnn-a", weights="random:77", engine="openvino")
    (tmp_path / "networks").touch()
    with pytest.raises(WeightsError, match=r"cannot be written to .*cnn-a-.*Choose another folder"):
        load_backbone(request)
    (tmp_path / "networks").unlink()
    load_backbone(request).embed(rgb(faces))
    (kept,) = (tmp_path / "networks").iterdir()
    assert kept.name.startswith("cnn-a-")
    for file in kept.iterdir():
        whole = file.read_bytes()
        file.write_bytes(whole[: len(whole) // 2])
        with pytest.raises(WeightsError, match=f"is damaged: delete the folder .*{kept.name}"):
            BACKBONES["cnn-a"].load(request)
        file.write_bytes(whole)
    BACKBONES["cnn-a"].load(request)


@pytest.mark.slow
def test_weights_that_ship_as_float16_are_quantized_too(faces, monkeypatch, tmp_path):
    monkeypatch.setenv("FEREMBED_CACHE", str(tmp_path))
    quantize(LoadRequest("mini-vgg"), rgb(faces))
    (numbers,) = (tmp_path / "networks").glob("mini-vgg-*-int8-*/network.bin")
    assert BACKBONES["mini-vgg"].parameters < numbers.stat().st_size
    assert numbers.stat().st_size < 1.1 * BACKBONES["mini-vgg"].parameters


def test_only_a_network_can_be_quantized(faces):
    with pytest.raises(WeightsError, match="distances is not a network that can run in INT8"):
        quantize(LoadRequest("distances"), rgb(faces))
