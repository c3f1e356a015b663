"""The number of threads that this process may use."""

from __future__ import annotations

import os

_limits: list[int] = []  # the last one holds


def limit_threads(count: int) -> None:
    """Let BLAS, threads that run ahead and networks compiled from now on use this many at most."""
    from threadpoolctl import threadpool_limits

    threadpool_limits(count)
    _limits.append(count)


def thread_limit() -> int | None:
    """The limit that was set last, None if there is none."""
    return _limits[-1] if _limits else None


def thread_count() -> int:
    """The limit, or else the number of cores."""
    return thread_limit() or core_count()


def core_count() -> int:
    """The number of cores that this process may use; fewer than there are in a job of a cluster."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
