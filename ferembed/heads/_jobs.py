"""How many threads a head starts."""

from joblib import effective_n_jobs
from joblib.parallel import get_active_backend


def threads_of(n_jobs: int | None) -> int:
    """How many threads to start: one in a worker of joblib, whose siblings have other cores."""
    backend, _ = get_active_backend()
    if n_jobs is not None and n_jobs < 0 and backend.nesting_level:
        return 1
    return int(effective_n_jobs(n_jobs))
