"""The memory that this process may still take."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

_PROC = Path("/proc")
_GROUPS = Path("/sys/fs/cgroup")
# The files of a control group: the limit, the usage, and what of it may be dropped, by version.
_FILES = {
    1: ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
    2: ("memory.max", "memory.current", "inactive_file"),
}


def free_memory() -> int | None:
    """The free memory in bytes, limited by that of the container or job; None if unknown."""
    try:
        lines = (_PROC / "meminfo").read_text().splitlines()
    except OSError:
        return None
    free = [int(line.split()[1]) << 10 for line in lines if line.startswith("MemAvailable")]
    return max(0, min([*free, *_left_in_groups()])) if free else None


def _left_in_groups() -> Iterator[int]:
    """The bytes left of the limit of each control group of this process."""
    try:
        lines = (_PROC / "self" / "cgroup").read_text().splitlines()
    except OSError:
        return
    for line in lines:
        _, kinds, path = line.split(":", 2)
        if kinds and "memory" not in kinds.split(","):
            continue
        top, version = (_GROUPS / "memory", 1) if kinds else (_GROUPS, 2)
        limit, usage, droppable = _FILES[version]
        folder = top / path.strip("/")
        for group in [folder, *folder.parents]:
            if not group.is_relative_to(top):
                break
            try:
                most, used = (int((group / name).read_text()) for name in (limit, usage))
                stat = dict(row.split() for row in (group / "memory.stat").read_text().splitlines())
            except (OSError, ValueError):  # it has no limit
                continue
            yield most - used + int(stat.get(droppable, 0))
