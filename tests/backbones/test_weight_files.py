"""Weights survive a file, and foreign files are refused."""

import numpy as np
import pytest

from ferembed.backbones import LoadRequest, load_backbone
from ferembed.backbones.cnn_a_to_g import build as build_cnn
from ferembed.backbones.preprocess import Preprocess
from ferembed.backbones.weight_files import load_weights, save_weights
from ferembed.errors import WeightsError
from tests.helpers.backbones import rgb


def test_weights_survive_a_file_and_round_once(tmp_path, faces):
    name = "cnn-a"
    model = build_cnn(name)
    path = tmp_path / "trained.npz"
    save_weights(model, str(path))
    again = build_cnn(name)
    load_weights(again, path)
    batch = Preprocess()(rgb(faces))
    assert np.abs(np.asarray(model(batch)) - np.asarray(again(batch))).max() < 1e-6
    for engine in ("keras", "openvino"):
        backbone = load_backbone(LoadRequest(name, "output", str(path), engine=engine))
        assert np.abs(backbone.embed(rgb(faces)) - np.asarray(model(batch))).max() < 1e-4


@pytest.mark.slow
def test_weights_of_four_classes_bring_their_number_along(tmp_path, faces):
    model = build_cnn("cnn-a", 4)
    path = tmp_path / "four.npz"
    save_weights(model, path)
    batch = Preprocess()(rgb(faces))
    expected = np.asarray(model(batch))
    for engine in ("keras", "openvino"):
        for layer, dim in (("output", 4), ("dense1", 64)):
            request = LoadRequest("cnn-a", layer, str(path), engine=engine)
            vectors = load_backbone(request).embed(rgb(faces))
            assert vectors.shape == (24, dim)
            assert request.facts()["dim"] == dim
            if layer == "output":
                assert np.abs(vectors - expected).max() < 1e-4


def test_weights_of_another_network_are_refused(tmp_path):
    path = tmp_path / "a.npz"
    save_weights(build_cnn("cnn-a"), path)
    with pytest.raises(WeightsError, match=r"weights of another network: conv1_2/\w+ is"):
        load_backbone(LoadRequest("cnn-b", weights=str(path), engine="keras"))


def test_a_file_that_is_no_weights_is_refused(tmp_path):
    path = tmp_path / "a.npz"
    path.write_text("no weights")
    with pytest.raises(WeightsError, match=r"a\.npz is not a readable \.npz file of weights"):
        load_backbone(LoadRequest("cnn-a", weights=str(path), engine="keras"))
    np.savez(path, evil=np.array([{"an": "object"}], dtype=object))
    with pytest.raises(WeightsError, match="evil holds objects"):
        load_backbone(LoadRequest("cnn-b", weights=str(path), engine="keras"))
