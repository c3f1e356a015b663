"""Ordered maps whose next results are computed by threads while the last one is used."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import chain, islice
from typing import TypeVar

from ferembed._threads import thread_count

T = TypeVar("T")
R = TypeVar("R")

_MOST = 4  # threads; more of them hold more memory, and seldom save time
_SLOW = 0.005  # seconds; for faster tasks, threads cost more time than they save


def prefetch_map(work: Callable[[T], R], tasks: Iterable[T], threads: int = _MOST) -> Iterator[R]:
    """The results of `work` for each task, in order.

    The calling thread reads the tasks. At most `threads` of them run ahead, and no more than there
    are cores. A single task runs in the calling thread, as do all where there is one core. When the
    caller stops early, waiting tasks are cancelled.
    """
    tasks = iter(tasks)
    first = list(islice(tasks, 2))
    if len(first) < 2 or thread_count() == 1:
        yield from map(work, chain(first, tasks))
        return
    threads = min(threads, thread_count())
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
