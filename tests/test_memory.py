import pytest

from ferembed import _memory
from ferembed._memory import free_memory


@pytest.fixture
def machine(monkeypatch, tmp_path):
    """A machine with 6 GB of free memory, and files for the limits of a container."""
    (tmp_path / "meminfo").write_text("MemTotal: 8000000 kB\nMemAvailable: 6000000 kB\n")
    monkeypatch.setattr(_memory, "_MEMINFO", tmp_path / "meminfo")
    monkeypatch.setattr(_memory, "_LIMITS", (tmp_path / "max",))
    return tmp_path


@pytest.mark.parametrize(
    ("limit", "free"),
    [(None, 6000000 << 10), ("max\n", 6000000 << 10), ("1000000\n", 1000000)],
)
def test_free_memory_is_that_of_the_machine_or_of_its_container(machine, limit, free):
    if limit:
        (machine / "max").write_text(limit)
    assert free_memory() == free


def test_free_memory_is_unknown_without_a_count(machine):
    (machine / "meminfo").unlink()
    assert free_memory() is None
