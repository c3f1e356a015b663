"""Clusters that cannot be reached, or whose workers differ from the client."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("distributed")

import ferembed
from ferembed import Embedder, cluster
from ferembed.errors import ClusterError

EMBEDDER = Embedder("mini-vgg", store="none")
# Dask leaves a socket to the garbage collector when it starts a scheduler in this process.
pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]


def test_a_missing_scheduler_and_missing_workers_are_errors() -> None:
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


def test_a_worker_without_the_weights_is_an_error(client: Any, tmp_path: Path) -> None:
    elsewhere = _OnlyHere("mini-vgg", store="none")
    with pytest.raises(ClusterError, match="cannot do this work: .*no file of weights at"):
        cluster.embed(["x.png"], elsewhere, client, tmp_path / "out")


class _OnlyHere(Embedder):
    """Weights that lie where no other process looks."""

    def __reduce__(self) -> Any:
        return Embedder, ("mini-vgg",), {**vars(self), "weights": "/nowhere/weights.npz"}
