"""The memory that this process may still take."""

from __future__ import annotations

from pathlib import Path

_MEMINFO = Path("/proc/meminfo")
_LIMITS = (  # of a container or a job, by the version of control groups
    Path("/sys/fs/cgroup/memory.max"),
    Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"),
)


def free_memory() -> int | None:
    """The bytes that are free, and at most what a container or a job may have; None if unknown."""
    try:
        lines = _MEMINFO.read_text().splitlines()
    except OSError:
        return None
    free = next(int(line.split()[1]) << 10 for line in lines if line.startswith("MemAvailable"))
    for path in _LIMITS:
        try:
            free = min(free, int(path.read_text()))
        except (OSError, ValueError):  # there is no such file, or it says "max"
            continue
    return free
