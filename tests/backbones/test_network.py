"""Vectors of every network: alike on all engines, and those of the golden file."""

import json

import numpy as np
import pytest

from ferembed.backbones import BACKBONES, LoadRequest, load_backbone
from ferembed.inference.engines import _has_bfloat16
from tests.conftest import ROOT, run_python
from tests.helpers.backbones import every_backbone, every_layer, rgb


@every_layer
def test_engines_agree_and_alone_is_as_in_a_batch(name, layer, faces):
    spec = BACKBONES[name]
    faces = faces if spec.preprocess.size < 160 else faces[:6]  # for the time it takes
    vectors = {}
    for engine in ("keras", "openvino"):
        backbone = load_backbone(LoadRequest(name, layer, "random", engine=engine))
        vectors[engine] = backbone.embed(rgb(faces))
        assert vectors[engine].dtype == np.float32
        assert vectors[engine].shape == (len(faces), spec.dim(layer))
        assert vectors[engine].std() > 1e-3
        digits = 1e-6 * np.abs(vectors[engine]).max()  # a float has seven
        alone = backbone.embed(rgb(faces[5:6]))[0]
        assert np.abs(alone - vectors[engine][5]).max() < max(1e-5, digits)
        assert np.abs(backbone.embed(rgb(faces), 4) - vectors[engine]).max() < max(1e-5, digits)
    assert np.abs(vectors["keras"] - vectors["openvino"]).max() < max(1e-4, digits)


@every_backbone
def test_random_weights_depend_on_the_seed_alone(name, faces):
    first = load_backbone(LoadRequest(name, weights="random", engine="openvino"))
    other = load_backbone(LoadRequest(name, weights="random:1", engine="keras"))
    vector = first.embed(rgb(faces[:1]))
    assert np.abs(other.embed(rgb(faces[:1])) - vector).max() > 0.01 * np.abs(vector).max()
    code = (
        "import sys, numpy as np; from ferembed.backbones import *;"
        f"b = load_backbone(LoadRequest({name!r}, weights='random', engine='openvino'));"
        "f = np.frombuffer(bytes.fromhex(sys.argv[1]), np.uint8).reshape(48, 48, 1).repeat(3, 2);"
        "print(b.embed([f])[0, :4].tolist())"
    )
    result = run_python(code, faces[0].tobytes().hex())
    assert eval(result.stdout) == pytest.approx(vector[0, :4], abs=1e-6, rel=1e-6)


def golden_vector(name: str, weights: str | None, engine: str) -> list[float]:
    """Four values of the vector of a fixed pattern."""
    y, x = np.mgrid[:48, :48]
    face = np.repeat(((x * y + 5 * x) % 256).astype(np.uint8)[:, :, None], 3, axis=2)
    vector = load_backbone(LoadRequest(name, weights=weights, engine=engine)).embed([face])[0]
    return [round(float(value), 5) for value in vector[np.argsort(-np.abs(vector))[:4]]]


@every_backbone
@pytest.mark.parametrize("engine", ["keras", "openvino"])
def test_the_golden_vector(name, engine):
    """One that changes means that stored vectors are wrong: raise the spec's revision."""
    golden = json.loads((ROOT / "tests" / "golden.json").read_text())
    ours = BACKBONES[name].weights
    for weights in ("random", None) if ours and ours.find() else ("random",):
        expected = golden[f"{name} {weights or 'shipped'}"]
        assert golden_vector(name, weights, engine) == pytest.approx(expected, abs=1e-4, rel=1e-6)


@pytest.mark.skipif(not _has_bfloat16(), reason="needs a CPU with bfloat16")
@pytest.mark.parametrize(
    "name", ["mini-vgg", "cnn-f", pytest.param("vggface2-resnet50", marks=pytest.mark.slow)]
)
def test_bfloat16_turns_vectors_by_less_than_a_degree(name, faces):
    weights = None if BACKBONES[name].onnx else "random"
    few = faces if BACKBONES[name].preprocess.size < 160 else faces[:6]
    exact, rounded = (
        load_backbone(LoadRequest(name, weights=weights, engine=engine)).embed(rgb(few))
        for engine in ("openvino", "openvino-bf16")
    )
    norms = np.linalg.norm(exact, axis=1) * np.linalg.norm(rounded, axis=1)
    cosines = (exact * rounded).sum(axis=1) / norms
    assert 0.9999 <= cosines.min() <= cosines.max()
    assert (exact != rounded).any()
