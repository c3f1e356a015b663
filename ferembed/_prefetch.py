"""Ordered maps whose next results are computed by threads while the last one is used."""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import chain, islice
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")

THREADS = min(4, os.cpu_count() or 1)
_SLOW = 0.005  # seconds; for faster tasks, threads cost more time than they save


def prefetch_map(work: Callable[[T], R], tasks: Iterable[T], threads: int = THREADS) -> Iterator[R]:
    """The results of `work` for each task, in order.

    The calling thread reads the tasks, and runs a single one itself. Otherwise at most `threads`
    tasks run ahead. When the caller stops early, waiting tasks are cancelled.
    """
    tasks = iter(tasks)
    first = list(islice(tasks, 2))
    if len(first) < 2:
        yield from map(work, first)
        return
    with ThreadPoolExecutor(threads) as pool:
        under_way: deque[Future[R]] = deque()
        try:
            for task in chain(first, tasks):
                under_way.append(pool.submit(work, task))
                if len(under_way) > threads:
                    yield under_way.popleft().result()
            while under_way:
                yield under_way.popleft().result()
        finally:
            for one in under_way:
                one.cancel()


def prefetch_when_slow(work: Callable[[T], R], tasks: Iterable[T]) -> Iterator[R]:
    """Like `prefetch_map`, but without threads until a task is slow.

    It is meant for reading files, which are usually in the system's cache.
    """
    tasks = iter(tasks)
    for task in tasks:
        started = time.perf_counter()
        done = work(task)
        slow = time.perf_counter() - started > _SLOW
        yield done
        if slow:
            break
    yield from prefetch_map(work, tasks)
