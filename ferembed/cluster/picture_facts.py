"""gather_facts: the pictures of an audit read by the workers of a cluster."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

from ferembed._progress import Progress
from ferembed.cluster.connection import PATIENCE, check_workers, worker_address
from ferembed.cluster.scheduling import run_tasks
from ferembed.datasets import picture_facts
from ferembed.datasets.picture_facts import FindFaces, PictureFacts
from ferembed.errors import ClusterError
from ferembed.images import Source

_SIZE = 1000  # pictures in a task


@dataclass(frozen=True, kw_only=True)
class _Gathered:
    worker: str
    facts: PictureFacts | None = None
    error: str = ""


def gather_facts(
    images: Sequence[Source],
    near: bool,
    find_faces: FindFaces | None,
    progress: Progress | None = None,
    *,
    client: Any,
    patience: float = PATIENCE,
) -> PictureFacts:
    """The facts of each picture that `datasets.audit` needs; pass this function to it.

    A worker that dies costs the tasks under way, which are done by others.
    """
    check_workers(client, patience=patience)
    mark, starts = uuid4().hex[:8], range(0, len(images), _SIZE)
    tasks = (
        (f"ferembed-facts-{mark}-{start}", (start, list(images[start : start + _SIZE])))
        for start in starts
    )
    facts, done = PictureFacts.empty(len(images), near), 0
    for (start, some), result in run_tasks(client, _gather, (near, find_faces), tasks, patience):
        if isinstance(result, Exception) or result.facts is None:
            raise ClusterError(
                f"No worker can read the pictures {start:,} to {start + len(some) - 1:,}: "
                f"{getattr(result, 'error', result)}"
            )
        facts.put(start, result.facts)
        done += len(some)
        if progress:
            progress(done, len(images))
    facts.unreadable = dict(sorted(facts.unreadable.items()))  # tasks end in any order
    facts.faceless.sort()
    return facts


def _gather(how: tuple[bool, FindFaces | None], task: tuple[int, list[Source]]) -> _Gathered:
    try:
        return _Gathered(worker=worker_address(), facts=picture_facts.gather_facts(task[1], *how))
    except Exception as error:  # another worker may have what is missing here
        return _Gathered(worker=worker_address(), error=f"{type(error).__name__}: {error}")
