"""score_cells: the cells of a grid as tasks of a cluster, for `ferembed.benchmark`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar
from uuid import uuid4

from ferembed._threads import limit_threads
from ferembed.cluster.connection import PATIENCE, check_workers, worker_address
from ferembed.cluster.scheduling import run_tasks

Record = dict[str, Any]


class CellTask(Protocol):
    """A cell that knows how to score itself, from vectors in files that all workers see."""

    def score(self) -> Record: ...
    def failure(self, reason: str) -> Record: ...
    def prepare(self) -> CellTask: ...


Task = TypeVar("Task", bound=CellTask)


@dataclass(frozen=True, kw_only=True)
class _Scored:
    worker: str
    record: Record
    error: str = ""


def score_cells(
    tasks: Sequence[Task], client: Any, patience: float = PATIENCE
) -> Iterator[tuple[Task, Record]]:
    """The record of each cell, as they come; a worker that dies costs the cells it had begun.

    Those are begun again elsewhere; after three workers a cell is recorded as failed.
    """
    threads = check_workers(client, patience=patience)
    mark = uuid4().hex[:8]
    named = ((f"ferembed-cell-{mark}-{number}", task) for number, task in enumerate(tasks))
    for task, result in run_tasks(client, _score, threads, named, patience):
        if isinstance(result, Exception):
            yield task, task.failure(f"its worker was lost: {result}")
        elif result.error:
            yield task, task.failure(result.error)
        else:
            yield task, result.record


def _score(threads: int, task: CellTask) -> _Scored:
    limit_threads(threads)
    try:
        task = task.prepare()
    except OSError as error:
        return _Scored(worker=worker_address(), record={}, error=str(error))
    return _Scored(worker=worker_address(), record=task.score())
