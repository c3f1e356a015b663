import json
import os
import signal
import subprocess
import sys

import numpy as np
import pytest
from sklearn.dummy import DummyClassifier

from ferembed import Pipeline, datasets
from ferembed.backbones import BACKBONES
from ferembed.benchmark import Grid, benchmark
from ferembed.datasets import Dataset
from ferembed.errors import DataError
from ferembed.evaluation import Predictions
from ferembed.heads import HEADS, Head
from ferembed.storage.weights import read_weights
from tests.conftest import ROOT
from tests.helpers.grids import HEADS_ALONE, cells


class Fatal(DummyClassifier):
    """What the kernel does to a process that takes too much memory."""

    def fit(self, X, y, sample_weight=None):
        os.kill(os.getpid(), signal.SIGKILL)


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


@pytest.fixture
def fatal():
    HEADS.add("fatal", Head("fatal", "kills its process", Fatal))
    yield
    del HEADS._things["fatal"]


@pytest.mark.slow
def test_a_killed_worker_fails_one_cell_only(data, fatal, tmp_path):
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


def test_what_cannot_run_is_an_error_at_once(data, grid, tmp_path):
    training = data.split("train")
    with pytest.raises(DataError, match="has no test split to score: omit --test"):
        benchmark(grid, training, tmp_path, test=True)
    with pytest.raises(DataError, match="folds is 1; it is 0 or a number from 2"):
        benchmark(grid, data, tmp_path, folds=1)


@pytest.mark.slow
def test_an_interrupted_grid_resumes_and_the_script_is_the_command(data, tmp_path):
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
