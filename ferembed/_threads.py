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
    return thread_limit() or os.cpu_count() or 1
