"""connect: a Dask client whose workers can do this version's work, or an error that says why not.

Everything of Dask is imported here and in the modules beside it, and nowhere else in ferembed.
"""

from __future__ import annotations

import platform
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version
from typing import Any

from ferembed._threads import core_count
from ferembed.datasets.vectors import missing_extra
from ferembed.errors import ClusterError, FerembedError

PATIENCE = 60.0  # seconds to wait for a scheduler, and for a first worker
_LOCAL = {
    # Or Dask gives up a worker that is just being started again when it looks.
    "distributed.deploy.lost-worker-timeout": "1 day",
    "distributed.worker.profile.enabled": False,  # it takes 3 % of a worker's time
}


@contextmanager
def connect(scheduler: str, patience: float = PATIENCE) -> Iterator[Any]:
    """A client of the scheduler at an address, or of workers started here by "local" or "local:N".

    Local workers have one thread each; "local" starts one for each core. They end with the `with`.
    """
    distributed = import_distributed()
    kind, _, count = scheduler.partition(":")
    if kind == "local":
        if count and not (count.isdecimal() and int(count)):
            raise ClusterError(
                f"The scheduler is {scheduler!r}; local:N starts N workers here, such as local:2."
            )
        workers = int(count) if count else core_count()
        import dask

        with (
            dask.config.set(_LOCAL),
            distributed.LocalCluster(
                n_workers=workers, threads_per_worker=1, dashboard_address="127.0.0.1:0"
            ) as cluster,
            distributed.Client(cluster) as client,
        ):
            yield client
        return
    try:
        client = distributed.Client(scheduler, timeout=patience)
    except (OSError, ValueError) as error:  # a TimeoutError is an OSError
        raise ClusterError(
            f"No scheduler answers at {scheduler!r}: {error or 'timed out'}. Give the address that "
            "dask scheduler prints, such as tcp://10.0.0.1:8786, or local:N for workers here."
        ) from None
    with client:
        yield client


def check_workers(client: Any, need: Any = None, patience: float = PATIENCE) -> int:
    """Refuse workers that would compute something else; the threads that each task may use.

    `need` is called on each worker and returns what must be the same there as here, such as the
    fingerprint of a recipe: it fails where weights are missing.
    """
    distributed = import_distributed()
    try:
        client.wait_for_workers(1, timeout=patience)
    except (TimeoutError, distributed.TimeoutError):
        raise ClusterError(
            f"The scheduler at {client.scheduler.address} has no workers after {patience:.0f} s. "
            "Start some with: dask worker ADDRESS --nthreads 1"
        ) from None
    here = _versions()
    there = client.run_on_scheduler(_dask_versions)
    _compare(f"The scheduler at {client.scheduler.address}", there, _dask_versions())
    facts = client.run(_worker_facts, need, on_error="return")
    expected = need() if need is not None else None
    for address, found in facts.items():
        if isinstance(found, ModuleNotFoundError):
            raise ClusterError(
                f"The worker {address} has no module {found.name!r}. Install what is here on every "
                f"worker, too: pip install 'ferembed[dask]=={here['ferembed']}'"
            )
        if isinstance(found, FerembedError):
            raise ClusterError(
                f"The worker {address} cannot do this work: {found} Each needs what is here."
            )
        if isinstance(found, distributed.comm.CommClosedError):  # it died; its tasks check again
            continue
        if isinstance(found, BaseException):
            raise ClusterError(f"The worker {address} failed: {found!r}.")
        _compare(f"The worker {address}", found["versions"], here)
        if found["need"] != expected:
            raise ClusterError(
                f"The worker {address} would compute other results: its weights or its model are "
                f"others than here ({found['need']} instead of {expected}). Copy them there."
            )
    alive = {key: found for key, found in facts.items() if isinstance(found, dict)}
    return _threads_per_task(client, alive)


def _versions() -> dict[str, str]:
    from ferembed import __version__

    return {"ferembed": __version__, **_dask_versions()}


def _dask_versions() -> dict[str, str]:
    """The versions that must agree for pickles and messages to be understood."""
    return {
        "python": ".".join(platform.python_version_tuple()[:2]),
        "dask": version("dask"),
        "distributed": version("distributed"),
    }


def _worker_facts(need: Any) -> dict[str, Any]:
    return {
        "versions": _versions(),
        "need": need() if need is not None else None,
        "cores": core_count(),
    }


def _compare(who: str, found: dict[str, str], here: dict[str, str]) -> None:
    odd = [name for name in here if found[name] != here[name]]
    if odd:
        differing = ", ".join(f"{name} {found[name]} (here {here[name]})" for name in odd)
        raise ClusterError(f"{who} runs {differing}. Install the same versions everywhere.")


def _threads_per_task(client: Any, facts: dict[str, Any]) -> int:
    """So many that all tasks of a machine together use its cores once."""
    threads: Counter[str] = Counter()
    cores: dict[str, int] = {}
    for address, worker in client.scheduler_info(n_workers=-1)["workers"].items():
        threads[worker["host"]] += worker["nthreads"]
        if address in facts:
            cores[worker["host"]] = facts[address]["cores"]
    return max(1, min((count // threads[host] for host, count in cores.items()), default=1))


def worker_address() -> str:
    """The address of the worker that runs this; "" outside of one."""
    try:
        return str(import_distributed().get_worker().address)
    except ValueError:
        return ""


def import_distributed() -> Any:
    try:
        import distributed
    except ImportError:
        raise missing_extra() from None
    return distributed
