"""Work on one partition."""

from __future__ import annotations

import pickle
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from threadpoolctl import threadpool_limits

pytest.importorskip("distributed")

import ferembed
from ferembed import Embedder
from ferembed._threads import core_count
from ferembed.cluster.plan import list_items, partitions
from ferembed.cluster.worker import Job, compute

EMBEDDER = Embedder("mini-vgg", store="none")
pytestmark = pytest.mark.slow


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


@pytest.fixture(autouse=True)
def limits(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A worker limits the threads of its process, which is that of other tests here."""
    monkeypatch.setattr("ferembed._threads._limits", [])
    with threadpool_limits(core_count()):
        yield


def test_a_worker_that_came_later_and_differs_returns_an_error(
    faces_on_disk: Path, tmp_path: Path
) -> None:
    (part,) = partitions(list_items(sorted(map(str, faces_on_disk.rglob("00*.png")))), 1000)
    late = compute(job(tmp_path, version="9.9"), part)
    assert late.error == f"The worker runs ferembed {ferembed.__version__}, the client 9.9."
    other = compute(job(tmp_path, fingerprint="another"), part)
    assert other.error == "The worker has other weights than the client."
    assert list(tmp_path.iterdir()) == []
