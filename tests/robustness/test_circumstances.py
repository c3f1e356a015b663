"""Jobs in bad circumstances: each says what is wrong or ends well, and then it goes on."""

import shutil
import subprocess
import sys
from contextlib import contextmanager

import pytest

from tests.conftest import fill_disk
from tests.robustness import jobs, torture
from tests.robustness.conftest import JOBS

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="needs /proc and mount")
YEAR = 366 * 86400


@pytest.fixture
def site(request, tmp_path):
    with torture.shared_of(request.param) as shared:
        yield torture.Site(request.param, tmp_path, shared)


def refused_in_a_line_or_done(site, code):
    assert code in (0, 2), site.said()
    if code == 2:
        assert "Traceback" not in site.said()
        assert len(site.said().strip()) > 20
    return True


@pytest.mark.parametrize("job", JOBS)
def test_processes_in_one_folder_succeed_or_are_refused(job):
    tally = torture.Tally(job, None)
    torture.together(job, 3, tally)
    assert tally.problems == []
    assert sum(tally.counts.values()) == 3


@pytest.mark.parametrize("free", ["0", "2"])
@pytest.mark.parametrize("site", JOBS, indirect=True)
def test_without_free_file_descriptors(site, free):
    code = site.run(**{jobs.FREE_FILES: free})
    assert refused_in_a_line_or_done(site, code)
    assert code == 0 or "oo many open files" in site.said()
    assert site.faults() == ""


@pytest.mark.parametrize("shift", [-YEAR, YEAR])
@pytest.mark.parametrize("site", JOBS, indirect=True)
def test_a_clock_that_jumps(site, shift, shim):
    half = str(max(1, site.shared.calls // 2))
    killed = {"FAULT_AT": half, "FAULT_ERRNO": "0", "FAULT_IN": str(site.folder)}
    site.run(**killed, CLOCK_SHIFT=str(shift))
    assert site.faults() == ""


@pytest.mark.parametrize("site", JOBS, indirect=True)
def test_a_slow_disk(site, shim):
    assert site.run(FAULT_SLOW="5", FAULT_IN=str(site.folder)) == 0, site.said()
    assert site.faults() == ""


@contextmanager
def a_disk_at(folder, megabytes=24):
    """Mount a separate file system at the folder, which needs root."""
    folder.mkdir(parents=True)
    command = ["mount", "-t", "tmpfs", "-o", f"size={megabytes}m", "tmpfs", str(folder)]
    if not shutil.which("mount") or subprocess.run(command, capture_output=True).returncode:
        pytest.skip("mounting a file system needs root")
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


@pytest.mark.parametrize("job", JOBS)
def test_a_full_disk(job, tmp_path):
    with torture.shared_of(job) as shared, a_disk_at(tmp_path / "work"):
        site = torture.Site(job, tmp_path, shared)
        filler = fill_disk(site.folder)
        assert refused_in_a_line_or_done(site, site.run())
        filler.unlink()
        assert site.faults() == ""


@pytest.mark.parametrize("job", JOBS)
def test_a_read_only_disk(job, tmp_path):
    with torture.shared_of(job) as shared, a_disk_at(tmp_path / "work"):
        site = torture.Site(job, tmp_path, shared)
        for way in ("ro", "rw"):
            subprocess.run(["mount", "-o", f"remount,{way}", str(site.folder)], check=True)
            if way == "ro":
                assert refused_in_a_line_or_done(site, site.run())
        assert site.faults() == ""
