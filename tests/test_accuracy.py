"""What is accurate stays so: each head on vectors of real faces, and what ships on all PublicTest.

benchmarks/make_fixture.py made the vectors, and measured what each head reaches on them.
"""

import json
import os
from pathlib import Path

import numpy as np
import pytest

from ferembed import EXPRESSIONS, Embedder, Pipeline, datasets
from ferembed.heads import HEADS
from ferembed.persistence.bundle import shipped

FIXTURES = Path(__file__).parent / "fixtures"
RESULTS = Path(__file__).parent.parent / "benchmarks" / "results"
MEASURED = json.loads((FIXTURES / "accuracy.json").read_text())
MARGIN = 0.02  # 8 of the 400 faces: versions of scikit-learn differ by less


@pytest.fixture(scope="module")
def vectors():
    with np.load(FIXTURES / "vectors.npz") as file:
        return {name: file[name] for name in file.files}


def accuracy(head, vectors):
    labels, truth = (
        np.array(EXPRESSIONS)[vectors[f"{split}_labels"]] for split in ("train", "validation")
    )
    head.fit(vectors["train"].astype(np.float32), labels)
    return (head.predict(vectors["validation"].astype(np.float32)) == truth).mean()


@pytest.mark.parametrize("name", list(HEADS))
def test_a_head_is_as_accurate_as_it_was(name, vectors):
    assert accuracy(HEADS[name].make(), vectors) >= MEASURED[name] - MARGIN


@pytest.mark.parametrize(
    ("name", "worse"),
    [
        ("svm", {"gamma": 10.0}),
        ("forest", {"n_estimators": 1}),
        ("bagged-svm", {"max_samples": 0.02}),
        ("knn", {"n_neighbors": 700, "weights": "uniform"}),
        ("softmax", {"C": 1e-6}),
    ],
)
def test_a_head_that_became_worse_would_be_noticed(name, worse, vectors):
    assert accuracy(HEADS[name].make().set_params(**worse), vectors) < MEASURED[name] - MARGIN


def test_the_vectors_are_those_that_the_network_makes_today(vectors):
    # Other weights, preprocessing or layer: run benchmarks/make_fixture.py, and see what changed.
    assert Embedder("mini-vgg").recipe.fingerprint == str(vectors["recipe"])


@pytest.mark.data
@pytest.mark.parametrize("model", shipped())
def test_shipped_models_score_as_published(model):
    measured = json.loads((RESULTS / f"{model}.json").read_text())["report"]
    data = datasets.open(Path(os.environ["FEREMBED_DATA"]) / "fer2013.zip").split("validation")
    pipeline = Pipeline.load(model, store="none", engine="exact")
    report, failures = pipeline.evaluate(data.images, data.labels)
    assert not failures
    assert report.accuracy == pytest.approx(measured["accuracy"], abs=0.001)
    assert report.calibration_error == pytest.approx(measured["calibration_error"], abs=0.002)
    assert np.abs(np.array(report.confusion) - measured["confusion"]).sum() <= 8


@pytest.mark.data
@pytest.mark.parametrize("model", shipped())
def test_int8_models_lose_less_than_half_a_point(model, monkeypatch, tmp_path):
    monkeypatch.setenv("FEREMBED_CACHE", str(tmp_path))
    measured = json.loads((RESULTS / f"{model}.json").read_text())["report"]
    data = datasets.open(Path(os.environ["FEREMBED_DATA"]) / "fer2013.zip")
    pipeline = Pipeline.load(model, store="none", engine="openvino-int8")
    pipeline.embedder.quantize(data.split("train").images)
    unseen = data.split("validation")
    report, failures = pipeline.evaluate(unseen.images, unseen.labels)
    assert not failures
    assert report.accuracy > measured["accuracy"] - 0.005
