"""run_tasks: many small tasks on a cluster, with few of them under way, retries and progress."""

from __future__ import annotations

import queue
import time
import warnings
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Protocol, TypeVar

from ferembed.cluster.connection import PATIENCE, import_distributed
from ferembed.errors import ClusterError

TRIES = 3  # of a task, each on another worker where there is one
_PER_THREAD = 3  # tasks under way for each thread of the cluster
_LOOK = 5.0  # seconds between two looks at whether any worker is left


class Result(Protocol):
    """The result of a task: `error` says why it failed on the worker at this address."""

    @property
    def error(self) -> str: ...
    @property
    def worker(self) -> str: ...


T = TypeVar("T")


def run_tasks(
    client: Any,
    work: Callable[[Any, T], Any],
    shared: Any,
    tasks: Iterable[tuple[str, T]],
    patience: float = PATIENCE,
) -> Iterator[tuple[T, Any]]:
    """Each task with what `work(shared, task)` returned for it, in the order in which they end.

    Tasks come with a key each and are drawn as workers get free, so that neither the client nor
    the scheduler holds many. One whose worker dies, or that returns an error, is tried on another
    worker; after three times its last error is yielded as an `Exception` or as the result. If the
    caller stops, what is under way is cancelled.
    """
    return _Run(client, work, shared, patience).results(iter(tasks))


class _Run:
    """The tasks under way."""

    def __init__(self, client: Any, work: Callable[..., Any], shared: Any, patience: float) -> None:
        self.client, self.work, self.patience = client, work, patience
        self.ended: queue.Queue[Any] = queue.Queue()
        self.under_way: dict[Any, tuple[str, Any, set[str]]] = {}  # key, task, who failed it
        self.threads, self.looked = 1, 0.0
        self.value = shared
        self.shared = self._share()

    def _share(self) -> Any:
        """The data that all tasks need, as a future on the workers.

        It is the result of a task rather than scattered data: if all that hold it die, the
        scheduler has it computed again.
        """
        with warnings.catch_warnings():  # a large head makes a large task, and is needed
            warnings.simplefilter("ignore")
            return self.client.submit(_same, self.value, pure=False)

    def results(self, tasks: Iterator[tuple[str, Any]]) -> Iterator[tuple[Any, Any]]:
        try:
            more = True
            while more or self.under_way:
                while more and len(self.under_way) < self._wanted():
                    key, task = next(tasks, ("", None))
                    more = bool(key)
                    if more:
                        self._submit(key, task, set())
                if self.under_way and (ended := self._next()) is not None:
                    yield ended
        finally:
            for future in list(self.under_way):
                future.release()
            self.shared.release()

    def _wanted(self) -> int:
        """The number of tasks that keeps the present workers busy."""
        if time.monotonic() - self.looked > _LOOK:
            self.looked = time.monotonic()
            self.threads = sum(self.client.nthreads().values())
        return max(2, _PER_THREAD * self.threads)

    def _submit(self, key: str, task: Any, failed_on: set[str]) -> None:
        others = sorted(self.client.nthreads().keys() - failed_on) if failed_on else []
        future = self.client.submit(
            self.work,
            self.shared,
            task,
            key=f"{key}-{len(failed_on)}-{time.monotonic_ns()}",
            workers=others or None,
            allow_other_workers=bool(others),
        )
        self.under_way[future] = key, task, failed_on
        future.add_done_callback(self.ended.put)

    def _next(self) -> tuple[Any, Any] | None:
        """The next task that is over; None where it is tried again."""
        future = self._wait()
        key, task, failed_on = self.under_way.pop(future)
        result: Any
        try:
            result = future.result()
            failed, worker = bool(result.error), result.worker
        except import_distributed().CancelledError:
            raise self._lost() from None
        except Exception as error:  # its worker died several times, or the task cannot travel
            result, failed, worker = error, True, f"killed {len(failed_on)}"
            if self.shared.status == "error":  # those who died were about to get what is shared
                self.shared = self._share()
                worker = ""
        finally:
            future.release()
        if failed and not worker:
            self._submit(key, task, failed_on)
            return None
        if failed and len(failed_on) + 1 < TRIES:
            self._submit(key, task, {*failed_on, worker})
            return None
        return task, result

    def _wait(self) -> Any:
        """The next future that is done; a ClusterError if no worker is left to do one."""
        alone_since = None
        while True:
            try:
                return self.ended.get(timeout=_LOOK)
            except queue.Empty:
                if self.client.status != "running":
                    raise self._lost() from None
                if self.client.nthreads():
                    alone_since = None
                    continue
                alone_since = alone_since or time.monotonic()
                if time.monotonic() - alone_since > self.patience:
                    raise ClusterError(
                        f"The cluster has had no worker for {self.patience:.0f} s. What is done "
                        "is kept: start workers and run again."
                    ) from None

    def _lost(self) -> ClusterError:
        return ClusterError(
            "The scheduler is gone. What is done is kept: start it and its workers and run again."
        )


def _same(value: Any) -> Any:
    return value
