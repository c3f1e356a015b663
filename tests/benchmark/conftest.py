"""The faces and the grid that most tests run."""

import numpy as np
import pytest

from ferembed.benchmark import Grid, benchmark
from ferembed.datasets import Dataset
from tests.helpers.grids import HEADS_ALONE


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
