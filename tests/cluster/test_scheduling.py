"""SIGKILL of workers and of the client at random moments: nothing is lost and nothing is double."""

from __future__ import annotations

import multiprocessing
import os
import random
import signal
import subprocess
import sys
import threading
import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest

from ferembed import Embedder
from ferembed.benchmark import benchmark
from ferembed.benchmark.grid import Grid
from ferembed.datasets import Dataset
from ferembed.datasets.vectors import open_vectors
from tests.cluster.slow import slow_files

pytest.importorskip("distributed")

from ferembed import cluster

pytestmark = pytest.mark.slow
EMBEDDER = Embedder("mini-vgg", store="none")


@pytest.fixture(scope="module")
def many_faces(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("many")
    noise = np.random.default_rng(0).integers(0, 256, (400, 12, 12), dtype=np.uint8)
    for number, face in enumerate(noise):
        PIL.Image.fromarray(face).save(root / f"{number:04}.png")
    return root


def kill_workers(client: Any, kills: int, rng: random.Random, stop: threading.Event) -> list[int]:
    """Kill workers that are at work, each at a random moment, and return their process ids."""
    killed: list[int] = []
    while len(killed) < kills and not stop.wait(rng.uniform(0.3, 6)):
        # A nanny whose worker dies while it starts gives up, as Dask means it to.
        nannies = [one for one in client.cluster.workers.values() if one.status.name == "running"]
        pids = [nanny.pid for nanny in nannies if nanny.pid is not None]
        if pids:
            killed.append(rng.choice(pids))
            os.kill(killed[-1], signal.SIGKILL)
    return killed


def test_workers_killed_at_20_random_moments_cost_no_row(many_faces: Path, tmp_path: Path) -> None:
    files = slow_files(many_faces, 0.2)
    stop, killed = threading.Event(), []
    with cluster.connect("local:2") as client:
        killer = threading.Thread(
            target=lambda: killed.extend(kill_workers(client, 20, random.Random(1), stop))
        )
        killer.start()
        done = cluster.embed(files, EMBEDDER, client, tmp_path / "out", size=4)
        stop.set()
        killer.join()
    assert len(killed) == 20
    assert done.lost == ()
    vectors = open_vectors(tmp_path / "out")
    assert vectors.sources().tolist() == [str(file) for file in files]
    local = EMBEDDER.transform([str(file) for file in files])
    np.testing.assert_array_equal(np.asarray(vectors), local)
    names = [file.name for file in (tmp_path / "out").iterdir() if file.name != ".lock"]
    assert sorted(names) == sorted([*vectors.files, "manifest.json"])


def test_workers_killed_during_a_grid_change_no_cell(tmp_path: Path) -> None:
    faces = np.random.default_rng(0).integers(0, 256, (900, 48, 48), dtype=np.uint8)
    splits = ["train"] * 600 + ["validation"] * 300
    data = Dataset.from_images(faces, ["happy", "sad", "angry"] * 300, splits)
    forests = ", ".join(str(trees) for trees in range(100, 700, 20))
    grid = Grid.parse(
        f'[[cells]]\nbackbone = "mini-vgg"\nhead = "forest"\nhead__n_estimators = [{forests}]\n',
        "forests",
    )
    local = benchmark(grid, data, tmp_path / "local")
    stop, killed = threading.Event(), []
    with cluster.connect("local:2") as client:
        killer = threading.Thread(
            target=lambda: killed.extend(kill_workers(client, 20, random.Random(2), stop))
        )
        killer.start()
        score_cells = partial(cluster.score_cells, client=client)
        spread = benchmark(grid, data, tmp_path / "spread", score_cells=score_cells)
        stop.set()
        killer.join()
    print(len(killed), "workers killed")
    assert killed
    found = {row["name"]: row["accuracy"] for row in spread.rows}
    assert found == {row["name"]: row["accuracy"] for row in local.rows}
    assert len(found) == spread.fitted == 30


CLIENT = """
import sys
from pathlib import Path
from ferembed import Embedder, cluster
from tests.cluster.slow import slow_files
if __name__ == "__main__":
    with cluster.connect("local:2") as client:
        files = slow_files(Path(sys.argv[1]), 0.05)
        embedder = Embedder("mini-vgg", store="none")
        cluster.embed(files, embedder, client, sys.argv[2], size=4)
"""


def test_after_the_client_was_killed_only_what_is_missing_is_computed(
    many_faces: Path, tmp_path: Path
) -> None:
    script, out = tmp_path / "client.py", tmp_path / "out"
    script.write_text(CLIENT)
    process = subprocess.Popen(
        [sys.executable, script, many_faces, out],
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
        stderr=subprocess.DEVNULL,
    )
    while len(list(out.glob("part-*.parquet"))) < 10:
        assert process.poll() is None
        time.sleep(0.05)
    process.kill()
    process.wait()
    time.sleep(3)  # until its workers have noticed
    there = {file.name: file.stat().st_mtime_ns for file in out.glob("part-*.parquet")}
    files = slow_files(many_faces, 0.05)
    with cluster.connect("local:2") as client:
        done = cluster.embed(files, EMBEDDER, client, out, size=4)
    assert done.found == len(there)
    after = {file.name: file.stat().st_mtime_ns for file in out.glob("part-*.parquet")}
    assert {name: after[name] for name in there} == there
    assert done.computed == len(after) - len(there) > 0
    assert open_vectors(out).sources().tolist() == [str(file) for file in files]


@dataclass(frozen=True)
class Deadly:
    """A picture that ends the worker that reads it."""

    def __str__(self) -> str:
        return "deadly.png"

    def read_bytes(self) -> bytes:
        if multiprocessing.parent_process() is None:  # the client, which looks for changes
            return b"deadly"
        os._exit(1)


def test_a_picture_that_kills_workers_costs_its_partition_alone(
    faces_on_disk: Path, tmp_path: Path
) -> None:
    good = sorted(map(str, faces_on_disk.rglob("0*.png")))[:8]
    with cluster.connect("local:2") as client:
        done = cluster.embed([*good, Deadly()], EMBEDDER, client, tmp_path / "out", size=1)
    assert done.rows >= 7
    assert "deadly.png" in dict(done.lost)
    assert done.rows + len(done.lost) == 9
