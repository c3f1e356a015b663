"""The threads of heads. joblib is imported only where several of them start."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray


def threads_of(n_jobs: int | None) -> int:
    """The number of threads to start; one in a worker of joblib, if n_jobs is negative."""
    from joblib import effective_n_jobs
    from joblib.parallel import get_active_backend

    if n_jobs is not None and not isinstance(n_jobs, (int, np.integer)):
        raise ValueError(f"n_jobs is {n_jobs!r}; it is a whole number or None.")
    backend, _ = get_active_backend()
    if n_jobs is not None and n_jobs < 0 and backend.nesting_level:
        return 1
    return int(effective_n_jobs(n_jobs))


def map_row_blocks(
    work: Callable[[NDArray[Any]], tuple[NDArray[Any], ...]],
    rows: NDArray[Any],
    step: int,
    n_jobs: int | None,
) -> list[NDArray[Any]]:
    """The results of `work` on blocks of `step` rows, joined. Small blocks fit in the cache.

    Threads each process their own blocks, with one core for matrix products. They wait for each
    other once, while the threads of a matrix product wait at each.
    """
    parts = [rows[start : start + step] for start in range(0, len(rows), step)] or [rows]
    threads = threads_of(n_jobs) if len(parts) > 1 else 1
    if threads == 1:
        made = [work(part) for part in parts]
    else:
        from sklearn.utils.parallel import Parallel, delayed

        from ferembed.inference.matmul import one_blas_thread_per_worker

        with one_blas_thread_per_worker():
            made = Parallel(threads, require="sharedmem")(delayed(work)(part) for part in parts)
    return [np.concatenate(arrays) for arrays in zip(*made, strict=True)]
