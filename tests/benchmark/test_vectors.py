"""Cells that share vectors, and networks that are trained for them."""

from dataclasses import replace

import pytest

from ferembed import Pipeline
from ferembed.backbones import LoadRequest
from ferembed.benchmark import Grid, benchmark
from ferembed.training import RECIPES
from tests.helpers.grids import COUNTING, HEADS_ALONE


def test_rounded_vectors_are_cells_of_their_own(data, grid, tmp_path, monkeypatch):
    assert benchmark(grid, data, tmp_path, store="memory").fitted == 3
    monkeypatch.setattr(LoadRequest, "precision_tag", "bf16")
    assert benchmark(grid, data, tmp_path, store="memory").fitted == 3


def test_refitting_includes_the_validation_split(data, tmp_path):
    text = f'[[cells]]\nbackbone = "mini-vgg"\nhead = "{COUNTING}"\nhead__n_neighbors = 1\n'
    for refit, knows in ((False, 32), (True, 42)):
        benchmark(Grid.parse(text, "one"), data, tmp_path, refit=refit, store="memory")
        model = Pipeline.load(
            tmp_path / "model",
            store="none",
            trusted=["sklearn.neighbors._classification.KNeighborsClassifier"],
        )
        assert model.head_.n_samples_fit_ == knows


@pytest.mark.slow
def test_a_network_is_trained_once_for_all_its_heads(data, tmp_path, monkeypatch):
    monkeypatch.setitem(RECIPES, "cnn-a", replace(RECIPES["cnn-a"], epochs=1, dtype="float32"))
    text = """
[[cells]]
backbone = "cnn-a"
weights = "trained"
head = ["network", "softmax"]
seed = [0, 1]
"""
    grid = Grid.parse(text, "trained")
    outcome = benchmark(grid, data, tmp_path, store="memory")
    assert outcome.failed == 0
    assert len(list((tmp_path / "networks").iterdir())) == 2
    network = next(row for row in outcome.rows if row["head"] == "network")
    assert network["runs"] == 2
    assert network["accuracy_min"] <= network["accuracy"] <= network["accuracy_max"]
    assert network["fit_seconds"] is None
    assert benchmark(grid, data, tmp_path, store="memory").fitted == 0


def test_a_backbone_without_weights_fails_its_own_cells_only(data, tmp_path, monkeypatch):
    monkeypatch.setenv("FEREMBED_WEIGHTS", str(tmp_path))
    text = HEADS_ALONE + '\n[[cells]]\nbackbone = "vggface2-resnet50"\nhead = "knn"\n'
    outcome = benchmark(Grid.parse(text, "absent"), data, tmp_path / "out", store="memory")
    assert outcome.failed == 1
    assert "ferembed models fetch vggface2-resnet50" in outcome.rows[-1]["error"]
