"""The record of reduced precision decides what the engine "auto" runs."""

import json
import sys

import numpy as np
import pytest

from ferembed import Embedder
from ferembed.backbones import BACKBONES, LoadRequest, load_backbone, precision
from ferembed.backbones.preprocess import Preprocess
from ferembed.inference import engines

SHIPPED = [
    name
    for name in ("mini-vgg", "fer-mobilenet")
    if precision.recorded_precision(name, BACKBONES[name].onnx.sha256)
]


@pytest.fixture
def record(monkeypatch, tmp_path):
    """A function that records the agreement of mini-vgg in each engine."""
    monkeypatch.setattr(precision, "models_folder", lambda: tmp_path)
    (tmp_path / "backbones").mkdir()

    def write(onnx=None, **agreement):
        facts = {
            "onnx": onnx or BACKBONES["mini-vgg"].onnx.sha256,
            "agreement": {f"openvino-{name}": share for name, share in agreement.items()},
            "points_lost": {},
            "int8": {},
        }
        text = json.dumps({"mini-vgg": facts})
        (tmp_path / "backbones" / precision.RECORDS).write_text(text)
        precision._records.cache_clear()

    yield write
    precision._records.cache_clear()


def test_auto_takes_a_reduced_precision_that_keeps_the_labels(record, monkeypatch):
    monkeypatch.setattr(engines, "_has_bfloat16", lambda: True)
    for agreement, expected in (
        ({"bf16": 0.9991}, "openvino-bf16"),
        ({"bf16": 0.9989}, "openvino"),
        ({"bf16": 0.9991, "int8": 0.98}, "openvino-bf16"),
        ({"bf16": 0.9991, "int8": 0.9992}, "openvino-int8"),
    ):
        record(**agreement)
        assert LoadRequest("mini-vgg").chosen_engine == expected
        assert LoadRequest("mini-vgg", engine="exact").chosen_engine == "openvino"
    record(bf16=0.9991)
    monkeypatch.setattr(engines, "_has_bfloat16", lambda: False)
    assert LoadRequest("mini-vgg").chosen_engine == "openvino"


def test_a_record_of_other_weights_or_inputs_does_not_count(record, monkeypatch):
    monkeypatch.setattr(engines, "_has_bfloat16", lambda: True)
    record(bf16=1.0)
    assert LoadRequest("mini-vgg", preprocess=BACKBONES["mini-vgg"].preprocess).precision_tag
    for other in (
        LoadRequest("mini-vgg", weights="random"),
        LoadRequest("mini-vgg", preprocess=Preprocess("gray", 48, scale=1 / 9)),
        LoadRequest("fer-mobilenet"),
    ):
        assert other.chosen_engine == "openvino"
        assert other.precision_tag is None
    record(onnx="0" * 64, bf16=1.0)
    assert LoadRequest("mini-vgg").chosen_engine == "openvino"


def test_vectors_that_auto_rounded_are_stored_apart(record, monkeypatch, tmp_path, faces):
    record()
    store = tmp_path / "store.sqlite"
    Embedder("mini-vgg", store=store).transform(faces[:2])
    record(bf16=1.0)
    monkeypatch.setattr(engines, "_has_bfloat16", lambda: True)
    assert LoadRequest("mini-vgg").precision_tag == "bf16"
    assert Embedder("mini-vgg", store=store, engine="exact").embed(faces[:2]).hits == 2
    assert Embedder("mini-vgg", store=store).embed(faces[:2]).hits == 0


@pytest.mark.parametrize("name", SHIPPED)
def test_an_int8_network_ships_where_the_record_names_it(name, faces, monkeypatch, tmp_path):
    monkeypatch.setenv("FEREMBED_CACHE", str(tmp_path))
    monkeypatch.setitem(sys.modules, "nncf", None)
    request = LoadRequest(name, engine="openvino-int8")
    if not request.precision.int8:
        pytest.skip("this network loses too much in INT8")
    pictures = [
        np.repeat(face[:, :, None], 3, axis=2) if face.ndim == 2 else face for face in faces
    ]
    exact, rounded = (
        load_backbone(one).embed(pictures) for one in (LoadRequest(name, engine="exact"), request)
    )
    norms = np.linalg.norm(exact, axis=1) * np.linalg.norm(rounded, axis=1)
    assert ((exact * rounded).sum(axis=1) / norms).min() > 0.98
    assert (exact != rounded).any()
    assert request.precision_tag.startswith(f"{name}-int8-")
