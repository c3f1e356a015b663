from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("distributed")

from ferembed import cluster
from ferembed.benchmark import benchmark
from ferembed.benchmark.grid import Grid
from ferembed.datasets import Dataset

GRID = """
title = "Small"
[[cells]]
backbone = "mini-vgg"
head = "knn"
head__n_neighbors = [1, 3, 5]
[[cells]]
backbone = "mini-vgg"
head = "softmax"
head__C = [0.01, 0.1, 1]
"""


@pytest.fixture(scope="module")
def data() -> Dataset:
    rng = np.random.default_rng(0)
    faces = rng.integers(0, 256, (90, 48, 48), dtype=np.uint8)
    labels = ["happy", "sad", "angry"] * 30
    return Dataset.from_images(faces, labels, ["train"] * 60 + ["validation"] * 30)


def scores(folder: Path) -> dict[str, Any]:
    """What each cell scored, without what it cost."""
    cells = [json.loads(file.read_text()) for file in folder.glob("cells/*.json")]
    for cell in cells:
        assert cell["status"] == "done", cell["error"]
        assert cell.pop("costs")["predict_ms"] > 0
    return {json.dumps(cell["cell"]): cell for cell in cells}


def test_the_grid_equals_the_local_one_cell_for_cell(
    client: Any, data: Dataset, tmp_path: Path
) -> None:
    grid = Grid.parse(GRID, "small")
    local = benchmark(grid, data, tmp_path / "local")
    spread = benchmark(
        grid, data, tmp_path / "spread", score_cells=partial(cluster.score_cells, client=client)
    )
    assert scores(tmp_path / "spread") == scores(tmp_path / "local")
    assert len(scores(tmp_path / "local")) == 6
    names = [[(row["name"], row["accuracy"]) for row in one.rows] for one in (local, spread)]
    assert sorted(names[0]) == sorted(names[1])
    assert spread.fitted == 6
    again = benchmark(
        grid, data, tmp_path / "spread", score_cells=partial(cluster.score_cells, client=client)
    )
    assert again.fitted == 0
