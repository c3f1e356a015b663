"""The faces of a cell: folds, classes, mirror images."""

from typing import ClassVar

import numpy as np
import pytest
from sklearn.dummy import DummyClassifier

from ferembed import Pipeline, datasets
from ferembed.benchmark import Cell, Grid, benchmark
from ferembed.datasets import Dataset
from ferembed.errors import DataError
from ferembed.heads import HEADS, Head
from tests.helpers.grids import COUNTING, cells


class Asked(DummyClassifier):
    """Remembers how many rows it was asked for."""

    rows: ClassVar = []

    def predict(self, X):
        self.rows.append(len(X))
        return super().predict(X)


def test_duplicates_of_a_face_are_never_in_two_folds(faces, tmp_path):
    """Labels by chance: only who has seen a copy can know them."""
    rng = np.random.default_rng(1)
    labels = rng.choice(["happy", "sad"], len(faces))
    copies = Dataset.from_images(np.concatenate([faces] * 3), np.tile(labels, 3))
    text = '[[cells]]\nbackbone = "mini-vgg"\nhead = "knn"\nhead__n_neighbors = 1\n'
    outcome = benchmark(Grid.parse(text, "one"), copies, tmp_path, folds=3, store="memory")
    assert outcome.rows[0]["accuracy_folds"] < 0.85


def test_folds_predict_the_same_faces_whatever_the_training_set(data, tmp_path, monkeypatch):
    monkeypatch.setattr(Asked, "rows", asked := [])
    monkeypatch.setitem(HEADS._things, "asked", Head("asked", "counts rows", Asked))
    text = """
[[cells]]
backbone = "mini-vgg"
head = "asked"
balance = [0, 5, 20]
mirrored = [false, true]
"""
    outcome = benchmark(Grid.parse(text, "folds"), data, tmp_path, folds=2, jobs=1, store="memory")
    assert outcome.failed == 0
    assert [sum(asked[i : i + 2]) for i in range(0, 12, 2)] == [32] * 6


def test_too_few_faces_for_the_classes_cost_their_own_cells(data, tmp_path):
    text = '[[cells]]\nbackbone = "mini-vgg"\nhead = "softmax"\nfaces = [2, 9]\n'
    outcome = benchmark(Grid.parse(text, "few"), data, tmp_path, store="memory")
    assert outcome.failed == 1
    assert "2 of 32 faces cannot keep the shares of the classes" in outcome.rows[-1]["error"]


def test_classes_balance_faces_and_mirror_images(data, tmp_path):
    text = """
[[cells]]
backbone = "mini-vgg"
head = "knn"
head__n_neighbors = 1
classes = ["all", "happy+sad"]
balance = [0, 12]
mirrored = [false, true]

[[cells]]
backbone = "mini-vgg"
head = "knn"
head__n_neighbors = 1
faces = 9
"""
    outcome = benchmark(Grid.parse(text, "data"), data, tmp_path, store="memory")
    assert outcome.failed == 0
    validation = data.split("validation").labels
    records = list(cells(tmp_path).values())
    assert len(records) == 9
    two = [r for r in records if r["cell"]["classes"] == "happy+sad"]
    assert [r["predictions"]["labels"] for r in two] == [["happy", "sad"]] * 4
    assert {r["scores"]["faces"] for r in two} == {int(np.sum(validation != "angry"))}
    sizes = [
        benchmark(Grid("one", (cell,)), data, tmp_path / "one", store="memory")
        and Pipeline.load(
            tmp_path / "one" / "model",
            store="none",
            trusted=["sklearn.neighbors._classification.KNeighborsClassifier"],
        ).head_.n_samples_fit_
        for cell in (
            Cell("mini-vgg", head=COUNTING, parameters=(("n_neighbors", 1),), **changed)
            for changed in ({"faces": 9}, {"balance": 12}, {"balance": 12, "mirrored": True})
        )
    ]
    assert sizes == [9, 36, 72]


def test_pictures_of_one_name_are_not_taken_for_one_another(data, grid, tmp_path):
    with pytest.raises(DataError, match="Several pictures are called picture 0, and a grid needs"):
        benchmark(grid, datasets.merge(data, data), tmp_path)


def test_pictures_that_were_changed_before_are_originals_of_the_grid(data, tmp_path):
    text = '[[cells]]\nbackbone = "mini-vgg"\nhead = "softmax"\nmirrored = true\n'
    mirrored = datasets.mirror(data)
    outcome = benchmark(Grid.parse(text, "twice"), mirrored, tmp_path, folds=2, store="memory")
    assert outcome.failed == 0
