"""Partitions: which pictures a task reads."""

from __future__ import annotations

import statistics

import pytest

from ferembed.cluster.plan import Item, partitions
from ferembed.errors import DataError


def items(folder: int, count: int = 400) -> list[Item]:
    names = [f"{folder}/{number:03}.png" for number in range(count)]
    return [Item(name, name, "content") for name in names]


@pytest.mark.parametrize("size", [1, 8, 1000])
def test_a_partition_has_half_to_twice_the_given_size(size):
    whole = items(0)
    parts = list(partitions(whole, size))
    assert [item for part in parts for item in part.items] == whole
    assert all(size // 2 <= len(part) <= 2 * size for part in parts[:-1])
    assert len(parts[-1]) <= 2 * size


def test_a_new_picture_changes_few_partitions():
    changed = []
    for folder in range(100):
        whole = items(folder)
        more = [*whole[:200], Item("new.png", "new.png", "content"), *whole[200:]]
        before = {part.key for part in partitions(whole, 8)}
        changed.append(sum(part.key not in before for part in partitions(more, 8)))
    assert statistics.mean(changed) < 2
    assert max(changed) < 10  # of about 50


def test_a_partition_of_no_pictures_is_refused():
    with pytest.raises(DataError, match="The size of a partition is 0; give 1 or more"):
        list(partitions(items(0), 0))
