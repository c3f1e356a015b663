import pytest

from ferembed import _memory
from ferembed._memory import free_memory


@pytest.fixture
def machine(monkeypatch, tmp_path):
    """A machine with 6 GB of free memory, whose files can be written."""
    monkeypatch.setattr(_memory, "_PROC", tmp_path / "proc")
    monkeypatch.setattr(_memory, "_GROUPS", tmp_path / "groups")
    (tmp_path / "proc" / "self").mkdir(parents=True)
    (tmp_path / "proc" / "meminfo").write_text("MemTotal: 8000000 kB\nMemAvailable: 6000000 kB\n")
    return tmp_path


def group(machine, cgroup, folder, **files):
    """A control group of this process, by the line of /proc/self/cgroup."""
    (machine / "proc" / "self" / "cgroup").write_text(f"1:cpu:/x\n{cgroup}\n")
    place = machine / "groups" / folder
    place.mkdir(parents=True)
    for name, text in files.items():
        (place / name.replace("_", ".", 1)).write_text(text)


def test_without_limits_it_is_what_the_machine_has(machine):
    assert free_memory() == 6000000 << 10
    group(machine, "0::/job", "job", memory_max="max\n", memory_current="5\n")
    assert free_memory() == 6000000 << 10


@pytest.mark.parametrize("folder", ["job", "job/step"])
def test_a_job_has_what_is_left_of_its_limit_or_of_that_above(machine, folder):
    files = {
        "memory_max": "1000\n",
        "memory_current": "700\n",
        "memory_stat": "anon 500\ninactive_file 200\n",  # which is dropped when it is needed
    }
    group(machine, "0::/job/step", folder, **files)
    assert free_memory() == 500


def test_limits_of_the_first_version_count_too(machine):
    files = {
        "memory_limit_in_bytes": "1000\n",
        "memory_usage_in_bytes": "1200\n",
        "memory_stat": "total_inactive_file 0\n",
    }
    group(machine, "4:hugetlb,memory:/job", "memory/job", **files)
    assert free_memory() == 0


def test_it_is_unknown_without_a_count(machine):
    (machine / "proc" / "meminfo").write_text("MemTotal: 8000000 kB\n")
    assert free_memory() is None
    (machine / "proc" / "meminfo").unlink()
    assert free_memory() is None


def test_this_machine_has_some():
    assert (free_memory() or 1 << 30) > 1 << 20
