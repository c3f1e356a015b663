import json
import os
import signal
import subprocess
import sys
from dataclasses import replace
from typing import ClassVar

import numpy as np
import pytest
from sklearn.dummy import DummyClassifier

from ferembed import Pipeline, datasets
from ferembed.backbones import BACKBONES, LoadRequest
from ferembed.benchmark import Cell, Grid, benchmark
from ferembed.datasets import Dataset
from ferembed.errors import DataError
from ferembed.evaluation import Predictions
from ferembed.heads import HEADS, Head
from ferembed.storage.weights import read_weights
from ferembed.training import RECIPES
from tests.conftest import ROOT

HEADS_ALONE = """
title = "Small"

[[cells]]
backbone = "mini-vgg"
head = "knn"
head__n_neighbors = [1, 3]

[[cells]]
backbone = "mini-vgg"
head = "softmax"
"""


COUNTING = "sklearn.neighbors.KNeighborsClassifier"  # knows how many rows it has


class Fatal(DummyClassifier):
    """What the kernel does to a process that takes too much memory."""

    def fit(self, X, y, sample_weight=None):
        os.kill(os.getpid(), signal.SIGKILL)


class Asked(DummyClassifier):
    """Remembers how many rows it was asked for."""

    rows: ClassVar = []

    def predict(self, X):
        self.rows.append(len(X))
        return super().predict(X)


class Unlucky(DummyClassifier):
    def fit(self, X, y, sample_weight=None):
        if not self.random_state:
            raise ValueError("bad luck")
        return super().fit(X, y)


@pytest.fixture(scope="module")
def data(faces, labels):
    """24 faces in three splits, those of each label a little alike; one copied across splits."""
    rng = np.random.default_rng(0)
    tones = {"happy": 100, "sad": 0, "angry": -100}
    shift = np.array([tones[label] for label in labels])[:, None, None]
    made = np.clip(faces * 0.5 + 64 + shift, 0, 255).astype(np.uint8)
    more = np.clip(made + rng.normal(0, 20, made.shape), 0, 255).astype(np.uint8)
    made = np.concatenate([made, more])
    splits = np.array((["train"] * 16 + ["validation"] * 5 + ["test"] * 3) * 2)
    made[18] = made[0]  # both happy
    return Dataset.from_images(made, np.concatenate([labels, labels]), splits)


@pytest.fixture(scope="module")
def grid():
    return Grid.parse(HEADS_ALONE, "small")


@pytest.fixture(scope="module")
def ran(data, grid, tmp_path_factory):
    folder = tmp_path_factory.mktemp("grid")
    return folder, benchmark(grid, data, folder, store=folder / "store.sqlite")


def cells(folder):
    return {file: json.loads(file.read_text()) for file in (folder / "cells").iterdir()}


def test_every_cell_is_a_file_and_the_best_is_chosen(ran, grid, data):
    folder, outcome = ran
    found = cells(folder)
    assert len(found) == 3 == outcome.fitted
    assert outcome.computed == 32 + 10 - 1  # the copy is not computed again
    for record in found.values():
        assert record["status"] == "done"
        assert 0 <= record["scores"]["accuracy"] <= 1
        assert record["scores"]["duplicates"] == 1
        assert record["costs"]["bytes"] > 1000
    scores = [row["accuracy"] for row in outcome.rows]
    assert scores == sorted(scores, reverse=True)
    assert max(scores) > 0.6
    model = Pipeline.load(folder / "model", store="none")
    validation = data.split("validation")
    answers = model.predict(validation.images)
    assert np.mean(answers == validation.labels) == pytest.approx(scores[0])


def test_the_page_and_the_tables_are_written(ran):
    folder, outcome = ran
    page = (folder / "grid.html").read_text()
    for row in outcome.rows:
        assert row["name"] in page
        assert row["name"] in outcome.table()
    assert "The test split was not scored." in page
    assert "1 of 10 validation faces have a duplicate or near-duplicate" in page
    kept = json.loads((folder / "grid.json").read_text())
    assert kept["chosen"] == outcome.rows[0]["name"]
    assert kept["chosen_by"] == "the validation split"


def test_cells_can_be_compared(ran):
    folder, _ = ran
    first, second = (Predictions.read(file) for file in list(cells(folder))[:2])
    assert first.faces == second.faces
    assert len(first.targets) == 10


def test_a_second_run_embeds_and_fits_nothing(ran, data, grid):
    folder, first = ran
    again = benchmark(grid, data, folder, store=folder / "store.sqlite")
    assert (again.computed, again.fitted) == (0, 0)
    assert again.rows == first.rows


def test_a_wider_grid_fits_only_what_is_new(ran, data):
    folder, _ = ran
    wider = Grid.parse(HEADS_ALONE.replace("[1, 3]", "[1, 3, 5]"), "wider")
    outcome = benchmark(wider, data, folder, store=folder / "store.sqlite")
    assert (outcome.computed, outcome.fitted) == (0, 1)


def test_other_labels_are_other_data(ran, data, grid):
    folder, _ = ran
    other = replace(data, label_codes=data.label_codes[::-1].copy())
    outcome = benchmark(grid, other, folder, store=folder / "store.sqlite")
    assert (outcome.computed, outcome.fitted) == (0, 3)


def test_damaged_cells_are_fitted_again(data, grid, tmp_path):
    benchmark(grid, data, tmp_path, store="memory")
    damaged, cut, *_ = (tmp_path / "cells").iterdir()
    damaged.write_text("{")
    cut.write_text("[]")
    seen = []
    again = benchmark(
        grid, data, tmp_path, store="memory", progress=lambda *counts: seen.append(counts)
    )
    assert again.fitted == 2
    assert (2, 2) in seen


def test_a_cell_that_cannot_be_kept_costs_itself_alone(data, grid, tmp_path):
    benchmark(grid, data, tmp_path, store="memory")
    lost, *kept = (tmp_path / "cells").iterdir()
    lost.unlink()
    lost.mkdir()  # nothing can be written there
    outcome = benchmark(grid, data, tmp_path, store="memory")
    assert outcome.failed == 0
    assert f"Cannot write {lost}: Is a directory." in outcome.table()
    assert all(file.is_file() for file in kept)


@pytest.fixture
def fatal():
    HEADS.add("fatal", Head("fatal", "kills its process", Fatal))
    yield
    del HEADS._things["fatal"]


@pytest.mark.slow
def test_a_killed_worker_costs_one_cell(data, fatal, tmp_path):
    text = HEADS_ALONE + '\n[[cells]]\nbackbone = "mini-vgg"\nhead = "fatal"\n'
    outcome = benchmark(Grid.parse(text, "fatal"), data, tmp_path, store="memory", jobs=2)
    assert outcome.failed == 1
    status = {record["cell"]["head"]: record["status"] for record in cells(tmp_path).values()}
    assert status == {"knn": "done", "softmax": "done", "fatal": "failed"}
    assert "its process was killed" in outcome.rows[-1]["error"]
    assert outcome.chosen is not None


def test_a_cell_that_fails_is_recorded_and_tried_again(data, tmp_path):
    text = HEADS_ALONE.replace("[1, 3]", "[1, 400]")  # of 32 faces
    outcome = benchmark(Grid.parse(text, "small"), data, tmp_path, store="memory")
    assert outcome.failed == 1
    assert "n_neighbors" in outcome.rows[-1]["error"]
    assert outcome.rows[0]["error"] is None
    again = benchmark(Grid.parse(text, "small"), data, tmp_path, store="memory")
    assert (again.fitted, again.failed) == (1, 1)


def test_folds_choose_where_there_is_no_validation_split(data, grid, tmp_path):
    whole = Dataset.from_images([data.images[i] for i in range(len(data))], data.labels)
    outcome = benchmark(grid, whole, tmp_path, store="memory")
    assert "was chosen by 5 folds of the training split" in outcome.table()
    assert all(len(r["scores"]["folds"]) == 5 for r in cells(tmp_path).values())
    assert outcome.rows[0]["accuracy"] is None
    assert outcome.rows[0]["accuracy_folds"] > 0.6


def test_copies_of_a_face_are_never_in_two_folds(faces, tmp_path):
    """Labels by chance: only who has seen a copy can know them."""
    rng = np.random.default_rng(1)
    labels = rng.choice(["happy", "sad"], len(faces))
    copies = Dataset.from_images(np.concatenate([faces] * 3), np.tile(labels, 3))
    text = '[[cells]]\nbackbone = "mini-vgg"\nhead = "knn"\nhead__n_neighbors = 1\n'
    outcome = benchmark(Grid.parse(text, "one"), copies, tmp_path, folds=3, store="memory")
    assert outcome.rows[0]["accuracy_folds"] < 0.85


def test_the_test_split_is_scored_once(data, grid, tmp_path):
    first = benchmark(grid, data, tmp_path, test=True, refit=True, store="memory")
    assert first.test["count"] == 6
    assert "Test split, scored once: accuracy" in first.table()
    assert "fitted on training and validation together" in first.table()
    kept = json.loads((tmp_path / "test.json").read_text())
    ((key, scores),) = kept.items()
    (tmp_path / "test.json").write_text(json.dumps({key: {**scores, "accuracy": 0.123}}))
    again = benchmark(grid, data, tmp_path, test=True, refit=True, store="memory")
    assert again.test["accuracy"] == 0.123  # it is read, not scored
    assert "scores on the test split are from an earlier run" in again.table()


@pytest.mark.slow
def test_another_test_split_or_network_is_scored_anew(data, tmp_path):
    weights = tmp_path / "own.npz"
    arrays = read_weights(BACKBONES["mini-vgg"].weights.path())
    np.savez(weights, **arrays)
    text = f'[[cells]]\nbackbone = "mini-vgg"\nhead = "softmax"\nweights = "{weights}"\n'
    grid = Grid.parse(text, "own")

    def scored(data):
        outcome = benchmark(grid, data, tmp_path / "grid", test=True, store="memory")
        return "from an earlier run" not in outcome.table()

    assert scored(data)
    assert not scored(data)
    assert scored(data.select(np.arange(len(data)) != 23))  # of the test split
    np.savez(weights, **{name: array * 0.9 for name, array in arrays.items()})
    assert scored(data)


def test_rounded_vectors_are_cells_of_their_own(data, grid, tmp_path, monkeypatch):
    assert benchmark(grid, data, tmp_path, store="memory").fitted == 3
    monkeypatch.setattr(LoadRequest, "precision_tag", "bf16")
    assert benchmark(grid, data, tmp_path, store="memory").fitted == 3


def test_folds_ask_for_the_same_faces_whatever_is_learned_from(data, tmp_path, monkeypatch):
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


def test_the_chosen_cell_is_one_that_was_fitted(data, tmp_path, monkeypatch):
    monkeypatch.setitem(HEADS._things, "unlucky", Head("unlucky", "fails at times", Unlucky))
    text = '[[cells]]\nbackbone = "mini-vgg"\nhead = "unlucky"\nseed = [0, 1]\n'
    outcome = benchmark(Grid.parse(text, "luck"), data, tmp_path, jobs=1, store="memory")
    assert (outcome.failed, outcome.chosen.seed) == (1, 1)


def test_too_few_faces_for_the_classes_cost_their_own_cells(data, tmp_path):
    text = '[[cells]]\nbackbone = "mini-vgg"\nhead = "softmax"\nfaces = [2, 9]\n'
    outcome = benchmark(Grid.parse(text, "few"), data, tmp_path, store="memory")
    assert outcome.failed == 1
    assert "2 of 32 faces cannot keep the shares of the classes" in outcome.rows[-1]["error"]


def test_refitting_learns_from_the_validation_split_too(data, tmp_path):
    text = f'[[cells]]\nbackbone = "mini-vgg"\nhead = "{COUNTING}"\nhead__n_neighbors = 1\n'
    for refit, knows in ((False, 32), (True, 42)):
        benchmark(Grid.parse(text, "one"), data, tmp_path, refit=refit, store="memory")
        model = Pipeline.load(
            tmp_path / "model",
            store="none",
            trusted=["sklearn.neighbors._classification.KNeighborsClassifier"],
        )
        assert model.head_.n_samples_fit_ == knows


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


def test_a_backbone_without_weights_costs_its_own_cells(data, tmp_path, monkeypatch):
    monkeypatch.setenv("FEREMBED_WEIGHTS", str(tmp_path))
    text = HEADS_ALONE + '\n[[cells]]\nbackbone = "vggface2-resnet50"\nhead = "knn"\n'
    outcome = benchmark(Grid.parse(text, "absent"), data, tmp_path / "out", store="memory")
    assert outcome.failed == 1
    assert "ferembed models fetch vggface2-resnet50" in outcome.rows[-1]["error"]


def test_pictures_of_one_name_are_not_taken_for_one_another(data, grid, tmp_path):
    with pytest.raises(DataError, match="Several pictures are called picture 0, and a grid needs"):
        benchmark(grid, datasets.merge(data, data), tmp_path)


def test_unreadable_pictures_are_noted_once_in_every_run(data, tmp_path):
    pictures = [*data.images]
    pictures[3] = b"no picture"
    broken = Dataset.from_images(pictures, data.labels, data.splits)
    text = HEADS_ALONE + '\n[[cells]]\nbackbone = "mini-vgg"\npreprocess = "clahe"\nhead = "knn"\n'
    grid = Grid.parse(text, "two groups of vectors")
    first = benchmark(grid, broken, tmp_path, store="memory")
    again = benchmark(grid, broken, tmp_path, store="memory")
    assert again.fitted == 0
    for outcome in (first, again):
        notes = [note for note in outcome.notes if note.startswith("Skipped in train: ")]
        assert len(notes) == 1
        assert "not a picture in a known format" in notes[0]
        assert outcome.page.read_text("utf-8").count("Skipped in train") == 1


def test_pictures_that_were_changed_before_are_originals_of_the_grid(data, tmp_path):
    text = '[[cells]]\nbackbone = "mini-vgg"\nhead = "softmax"\nmirrored = true\n'
    mirrored = datasets.mirror(data)
    outcome = benchmark(Grid.parse(text, "twice"), mirrored, tmp_path, folds=2, store="memory")
    assert outcome.failed == 0


def test_what_cannot_run_is_said_at_once(data, grid, tmp_path):
    training = data.split("train")
    with pytest.raises(DataError, match="has no test split to score: omit --test"):
        benchmark(grid, training, tmp_path, test=True)
    with pytest.raises(DataError, match="folds is 1; it is 0 or a number from 2"):
        benchmark(grid, data, tmp_path, folds=1)


@pytest.mark.slow
def test_an_interrupted_grid_goes_on_and_the_script_is_the_command(data, tmp_path):
    datasets.write(data, tmp_path / "faces")
    grid = tmp_path / "small.toml"
    grid.write_text(HEADS_ALONE)
    out = tmp_path / "out"
    command = ["benchmark", str(grid), str(tmp_path / "faces"), "--output", str(out), "--quiet"]
    code = (
        "import os, signal, ferembed.benchmark.run as b\n"
        "write = b.write_record\n"
        "def dying(file, facts):\n"
        "    write(file, facts)\n"
        "    if file.parent.name == 'cells': os.kill(os.getpid(), signal.SIGKILL)\n"
        "b.write_record = dying\n"
        "from ferembed.cli import main\n"
        f"main({[*command, '--jobs', '1']!r})\n"
    )
    died = subprocess.run([sys.executable, "-c", code], capture_output=True)
    assert died.returncode == -signal.SIGKILL
    assert len(cells(out)) == 1
    script = [sys.executable, str(ROOT / "benchmarks" / "benchmark.py"), *command[1:], "--json"]
    done = subprocess.run(script, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["fitted"] == 2
    assert len(cells(out)) == 3
    assert not list(out.glob(".vectors-*"))
