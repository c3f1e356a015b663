"""Work done ahead by threads, while what came before is in use."""

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
_SLOW = 0.005  # seconds; for less, threads that wait for each other take longer than they save


def prefetch_map(work: Callable[[T], R], tasks: Iterable[T], threads: int = THREADS) -> Iterator[R]:
    """What `work` makes of each task, in their order.

    Tasks are drawn by the thread that asks, and a single one is worked on by it. Of more, as many
    are under way as there are threads. None of those is left behind, however the caller leaves off.
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
    """The same, but by the thread that asks until a task is slow.

    It is for reading files: most often the system has them in memory.
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
