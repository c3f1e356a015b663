import os

import pytest
from joblib import Parallel, delayed

from ferembed.heads._jobs import threads_of


@pytest.mark.parametrize("backend", ["loky", "threading"])
def test_a_head_in_a_worker_starts_no_threads_of_its_own(backend):
    assert threads_of(-1) == os.cpu_count()
    assert threads_of(None) == 1
    with Parallel(2, backend=backend) as workers:
        assert workers(delayed(threads_of)(-1) for _ in range(2)) == [1, 1]
