"""The process that the processes of these tests are forked from."""

import pytest

from tests.robustness import jobs, torture, worker

_QUICK = ("store", "save", "predict")  # the other jobs are slow tests
JOBS = [pytest.param(job, marks=() if job in _QUICK else pytest.mark.slow) for job in jobs.JOBS]


@pytest.fixture(scope="session", autouse=True)
def library(tmp_path_factory):
    """The shim, which all processes of these tests have loaded; None without a C compiler."""
    library = torture.compile_shim(tmp_path_factory.mktemp("shim"))
    torture.prepare(library, [*worker.MODULES, "ferembed.cli.app", "ferembed.benchmark"])
    return library


@pytest.fixture
def shim(library):
    return library or pytest.skip("needs a C compiler on Linux")
