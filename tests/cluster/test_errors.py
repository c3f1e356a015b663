"""What goes wrong on a cluster: a clear error or a retry, and nothing is lost."""

from __future__ import annotations

import multiprocessing
import os
import pickle
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("distributed")

import ferembed
from ferembed import Embedder, cluster, datasets
from ferembed.cluster.plan import list_items, partitions
from ferembed.cluster.worker import Job, compute
from ferembed.errors import ClusterError, DataError, StoreError

EMBEDDER = Embedder("mini-vgg", store="none")
# Dask leaves a socket to the garbage collector when it starts a scheduler in this process.
pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]


def job(folder: Path, **changes: Any) -> bytes:
    facts = {
        "kind": "vectors",
        "model": EMBEDDER,
        "crop": None,
        "fingerprint": EMBEDDER.recipe.fingerprint,
        "version": ferembed.__version__,
        "folder": str(folder),
        "threads": 1,
    }
    return pickle.dumps(Job(**{**facts, **changes}))


def test_no_scheduler_and_no_workers_are_told() -> None:
    import distributed

    with (
        pytest.raises(ClusterError, match="No scheduler answers at 'tcp://127.0.0.1:9'"),
        cluster.connect("tcp://127.0.0.1:9", patience=1),
    ):
        pass

    with (
        distributed.LocalCluster(n_workers=0, dashboard_address="127.0.0.1:0") as local,
        distributed.Client(local) as client,
        pytest.raises(
            ClusterError, match=r"has no workers after 1 s. Start some with: dask worker"
        ),
    ):
        cluster.embed(["x.png"], EMBEDDER, client, "out", patience=1)


def test_workers_of_another_version_are_refused(
    client: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = ferembed.__version__
    monkeypatch.setattr(ferembed, "__version__", "9.9")
    with pytest.raises(ClusterError, match=rf"runs ferembed {here} \(here 9.9\). Install the same"):
        cluster.embed(["x.png"], EMBEDDER, client, tmp_path / "out")


def test_a_worker_without_the_weights_is_told(client: Any, tmp_path: Path) -> None:
    elsewhere = _OnlyHere("mini-vgg", store="none")
    with pytest.raises(ClusterError, match="cannot do this work: .*no file of weights at"):
        cluster.embed(["x.png"], elsewhere, client, tmp_path / "out")


class _OnlyHere(Embedder):
    """Weights that lie where no other process looks."""

    def __reduce__(self) -> Any:
        return Embedder, ("mini-vgg",), {**vars(self), "weights": "/nowhere/weights.npz"}


def test_a_worker_that_came_later_and_differs_returns_an_error(
    faces_on_disk: Path, tmp_path: Path
) -> None:
    (part,) = partitions(list_items(sorted(map(str, faces_on_disk.rglob("00*.png")))), 1000)
    late = compute(job(tmp_path, version="9.9"), part)
    assert late.error == f"The worker runs ferembed {ferembed.__version__}, the client 9.9."
    other = compute(job(tmp_path, fingerprint="another"), part)
    assert other.error == "The worker has other weights than the client."
    assert list(tmp_path.iterdir()) == []


def test_an_output_that_cannot_be_reached_stops_the_run(
    client: Any, faces_on_disk: Path, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("no folder")
    with pytest.raises((StoreError, OSError)):
        cluster.embed(faces_on_disk, EMBEDDER, client, tmp_path / "file" / "out")


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 128 KB."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=128k", "tmpfs", str(disk)]
    if subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("a file system cannot be mounted here")
    yield disk
    subprocess.run(["umount", str(disk)], check=True)


def test_a_full_disk_stops_the_run_and_keeps_what_is_written(client: Any, small_disk: Path) -> None:
    rng = np.random.default_rng(0)
    faces = rng.integers(0, 256, (200, 48, 48), dtype=np.uint8)
    with pytest.raises(StoreError, match="only what is missing is computed|Make room"):
        cluster.embed(faces, EMBEDDER, client, small_disk / "out", size=20)
    kept = sorted((small_disk / "out").glob("part-*.parquet"))
    assert kept
    subprocess.run(["mount", "-o", "remount,size=4m", str(small_disk)], check=True)
    done = cluster.embed(faces, EMBEDDER, client, small_disk / "out", size=20)
    assert done.found >= len(kept)
    assert done.rows == 200


def test_an_interrupted_client_keeps_what_is_done(
    client: Any, faces_on_disk: Path, tmp_path: Path
) -> None:
    def interrupt(done: int, total: int | None) -> None:
        if done >= 16:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        cluster.embed(faces_on_disk, EMBEDDER, client, tmp_path / "out", size=4, progress=interrupt)
    with pytest.raises(DataError, match="are not complete. Run the command"):
        datasets.open_vectors(tmp_path / "out")
    done = cluster.embed(faces_on_disk, EMBEDDER, client, tmp_path / "out", size=4)
    assert done.found >= 2
    assert done.rows == 60


@dataclass(frozen=True)
class Deadly:
    """A picture that ends the worker that reads it."""

    def __str__(self) -> str:
        return "deadly.png"

    def read_bytes(self) -> bytes:
        if multiprocessing.parent_process() is None:  # the client, which looks for changes
            return b"deadly"
        os._exit(1)


@pytest.mark.slow
def test_a_picture_that_kills_workers_costs_its_partition_alone(
    faces_on_disk: Path, tmp_path: Path
) -> None:
    good = sorted(map(str, faces_on_disk.rglob("0*.png")))[:8]
    with cluster.connect("local:2") as client:
        done = cluster.embed([*good, Deadly()], EMBEDDER, client, tmp_path / "out", size=1)
    assert done.rows >= 7
    assert "deadly.png" in dict(done.lost)
    assert done.rows + len(done.lost) == 9


def test_pictures_and_vectors_may_lie_in_any_file_system(faces_on_disk: Path) -> None:
    import distributed
    import fsspec

    memory = fsspec.filesystem("memory")
    memory.put(str(faces_on_disk), "/faces", recursive=True)
    with (
        distributed.LocalCluster(
            n_workers=1, threads_per_worker=1, processes=False, dashboard_address="127.0.0.1:0"
        ) as local,
        distributed.Client(local) as client,
    ):
        done = cluster.embed("memory://faces", EMBEDDER, client, "memory://out", size=16)
        again = cluster.embed("memory://faces", EMBEDDER, client, "memory://out", size=16)
    assert (done.rows, len(done.failures)) == (60, 1)
    assert again.computed == 0
    vectors = datasets.open_vectors("memory://out")
    names = {name.removeprefix("memory://") for name in vectors.sources().tolist()}
    assert names == {
        f"/faces/{p.relative_to(faces_on_disk)}" for p in faces_on_disk.rglob("0*.png")
    }
