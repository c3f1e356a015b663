"""The number of threads that a head starts."""

import numpy as np
from joblib import effective_n_jobs
from joblib.parallel import get_active_backend


def threads_of(n_jobs: int | None) -> int:
    """The number of threads to start; one in a worker of joblib, if n_jobs is negative."""
    if n_jobs is not None and not isinstance(n_jobs, (int, np.integer)):
        raise ValueError(f"n_jobs is {n_jobs!r}; it is a whole number or None.")
    backend, _ = get_active_backend()
    if n_jobs is not None and n_jobs < 0 and backend.nesting_level:
        return 1
    return int(effective_n_jobs(n_jobs))
