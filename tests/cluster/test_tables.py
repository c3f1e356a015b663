from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ferembed import Embedder, datasets
from ferembed.datasets.vectors import open_vectors, read_table
from ferembed.errors import DataError, StoreError

pytest.importorskip("distributed")

from ferembed import cluster

EMBEDDER = Embedder("cnn-a", weights="random", store="none")


def parts(folder: Path) -> dict[str, int]:
    """The Parquet files and when each was written."""
    return {file.name: file.stat().st_mtime_ns for file in folder.glob("part-*.parquet")}


def test_vectors_labels_and_splits_equal_the_local_ones(
    client: Any, faces_on_disk: Path, tmp_path: Path
) -> None:
    data = datasets.open(faces_on_disk)
    done = cluster.embed(data, EMBEDDER, client, tmp_path / "out", size=8)
    local = EMBEDDER.embed(data.images)
    vectors = open_vectors(tmp_path / "out")
    np.testing.assert_array_equal(np.asarray(vectors), local.vectors)
    assert vectors.labels.tolist() == data.labels[local.positions].tolist()
    assert vectors.splits.tolist() == data.splits[local.positions].tolist()
    assert vectors.sources().tolist() == [str(data.images[i]) for i in local.positions]
    assert vectors.fingerprint == EMBEDDER.recipe.fingerprint
    assert (done.rows, done.pictures, done.found) == (60, 61, 0)
    assert [reason for _, reason in done.failures] == [f.reason for f in local.failures]


def test_a_second_run_computes_only_what_is_missing_or_new(
    client: Any, faces_on_disk: Path, tmp_path: Path
) -> None:
    faces, out = tmp_path / "faces", tmp_path / "out"
    shutil.copytree(faces_on_disk, faces)
    first = cluster.embed(faces, EMBEDDER, client, out, size=8)
    written = parts(out)
    again = cluster.embed(faces, EMBEDDER, client, out, size=8)
    assert (again.computed, again.found) == (0, first.computed)
    assert (again.rows, again.failures) == (first.rows, first.failures)
    os.unlink(out / min(written))
    one = cluster.embed(faces, EMBEDDER, client, out, size=8)
    assert one.computed == 1
    changed = [name for name, when in parts(out).items() if written[name] != when]
    assert changed == [min(written)]
    shutil.copy(faces / "train" / "sad" / "004.png", faces / "train" / "sad" / "0041.png")
    more = cluster.embed(faces, EMBEDDER, client, out, size=8)
    assert more.rows == first.rows + 1
    assert more.found  # how many depends on the names, of which the folder is a part
    assert len(parts(out)) == more.computed + more.found  # what is out of date was removed


def test_predictions_equal_the_local_ones(client: Any, portrait: Path, tmp_path: Path) -> None:
    from ferembed import Pipeline
    from ferembed.media.photos import read_photos

    pipeline = Pipeline.load("default", store="none")
    photos = tmp_path / "photos"
    photos.mkdir()
    shutil.copy(portrait, photos / f"a{portrait.suffix}")
    (photos / "b.png").write_bytes(b"no picture")
    done = cluster.predict(photos, pipeline, client, tmp_path / "out", size=1)
    rows = [
        row
        for file in sorted((tmp_path / "out").glob("part-*"), key=lambda f: f.name)
        for row in read_table(str(tmp_path / "out"), file.name, None).to_pylist()
    ]
    rows.sort(key=lambda row: row["source"])
    first, second = read_photos(pipeline, [str(path) for path in sorted(photos.iterdir())])
    assert len(rows) == len(first.predictions) + 1
    for row, one in zip(rows, first.predictions, strict=False):
        assert tuple(row["box"]) == one.box
        assert row["predicted"] == one.label
        assert {label: row[f"p_{label}"] for label in one.probabilities} == one.probabilities
    assert rows[-1]["error"] == second.error
    assert done.failures == ((str(photos / "b.png"), second.error),)


def test_another_recipe_or_a_foreign_folder_is_refused(
    client: Any, faces_on_disk: Path, tmp_path: Path
) -> None:
    cluster.embed(faces_on_disk, EMBEDDER, client, tmp_path / "out")
    other = Embedder("cnn-a", weights="random:1", store="none")
    with pytest.raises(DataError, match="made by another recipe or model. Give another folder"):
        cluster.embed(faces_on_disk, other, client, tmp_path / "out")
    with pytest.raises(DataError, match=r"and no manifest.json. Give a folder that is empty"):
        cluster.embed(faces_on_disk, EMBEDDER, client, faces_on_disk)
    (tmp_path / "out" / "manifest.json").write_text("[" * 100_000)
    with pytest.raises(DataError, match="manifest.json cannot be understood: RecursionError"):
        open_vectors(tmp_path / "out")


def test_batches_hold_every_row_once_in_any_order(
    client: Any, faces_on_disk: Path, tmp_path: Path
) -> None:
    cluster.embed(faces_on_disk / "train", EMBEDDER, client, tmp_path / "out", size=4)
    vectors = open_vectors(tmp_path / "out")
    every = np.asarray(vectors)
    in_order = np.concatenate([X for X, _ in vectors.batches(7)])
    np.testing.assert_array_equal(in_order, every)
    mixed = [X for X, _ in vectors.batches(7, seed=1)]
    assert {len(X) for X in mixed[:-1]} == {7}
    assert sorted(np.concatenate(mixed).tolist()) == sorted(every.tolist())
    chosen = vectors.select([3, 5, 29])
    np.testing.assert_array_equal(np.asarray(chosen), every[[3, 5, 29]])
    in_order = np.concatenate([X for X, _ in chosen.batches(2)])
    np.testing.assert_array_equal(in_order, every[[3, 5, 29]])


@pytest.mark.slow
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


@pytest.mark.slow
def test_a_full_disk_stops_the_run_and_keeps_what_is_written(client: Any, small_disk: Path) -> None:
    embedder = Embedder("mini-vgg", store="none")  # of which 200 vectors fill the disk
    rng = np.random.default_rng(0)
    faces = rng.integers(0, 256, (200, 48, 48), dtype=np.uint8)
    with pytest.raises(StoreError, match="only what is missing is computed|Make room"):
        cluster.embed(faces, embedder, client, small_disk / "out", size=20)
    kept = sorted((small_disk / "out").glob("part-*.parquet"))
    assert kept
    subprocess.run(["mount", "-o", "remount,size=4m", str(small_disk)], check=True)
    done = cluster.embed(faces, embedder, client, small_disk / "out", size=20)
    assert done.found >= len(kept)
    assert done.rows == 200


@pytest.mark.slow
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


# Dask leaves a socket to the garbage collector when it starts a scheduler in this process.
@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::ResourceWarning")
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
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
