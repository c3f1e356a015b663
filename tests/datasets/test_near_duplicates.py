"""Near-duplicates are found, and different pictures are not."""

from __future__ import annotations

import tracemalloc
from itertools import chain
from pathlib import Path

import numpy as np
import pytest

from ferembed import datasets
from ferembed.datasets import Dataset, near_duplicates
from ferembed.datasets.audit import audit
from ferembed.datasets.cleaning import clean
from tests.helpers.datasets import smooth


def test_of_near_duplicates_one_is_kept(tmp_path: Path) -> None:
    """Three in a chain, two of them exact: both findings agree on which to keep."""
    pixels = [smooth(1), smooth(1), np.roll(smooth(1), 1, axis=0)]
    faces = Dataset.from_images(np.stack(pixels), ["sad"] * 3, ["train"] * 3)
    assert len(clean(faces, audit(faces))) == 1
    groups = audit(faces).groups
    assert len(set(groups)) == 1
    parts = datasets.split(faces, {"train": 50, "test": 50}, resplit=True, groups=groups)
    assert len(set(parts.splits)) == 1


def test_different_pictures_are_never_near_duplicates() -> None:
    many = np.stack([smooth(seed) for seed in range(400)])
    found = audit(Dataset.from_images(many, ["sad"] * 400))
    assert found.findings == ()
    assert "clean leaves 400 of 400 in unsplit" in found.table()


def test_near_duplicates_are_found_within_and_across_blocks() -> None:
    """1,024 pictures are compared at once: some copies lie in one block, some in two."""
    originals = [smooth(seed) for seed in range(1100)]
    copied = [*range(40), *range(1060, 1100)]
    copies = [np.roll(originals[n], 1, axis=1) for n in copied]
    found = audit(Dataset.from_images(np.stack(originals + copies), ["sad"] * 1180))
    pairs = {tuple(p.index for p in one.pictures) for one in found.findings}
    right = {(n, 1100 + place) for place, n in enumerate(copied)}
    assert pairs <= right
    assert len({pair for pair in pairs if pair[0] < 40}) > 35
    assert len({pair for pair in pairs if pair[0] >= 1060}) > 35


def test_comparing_many_pictures_takes_little_memory() -> None:
    """A block of pairs is held at a time, not a row of the whole matrix."""
    hashes = np.random.default_rng(0).integers(0, 1 << 63, 40_000, np.uint64)
    tracemalloc.start()
    try:
        found = next(next(near_duplicates._rounds_of_all(hashes)))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert found is not None
    assert peak < 100_000_000  # a row of blocks of 1,024 x 40,000 numbers takes 164 MB


def pairs(rounds):
    return {
        pair
        for ones, others in chain.from_iterable(rounds)
        for pair in zip(ones.tolist(), others.tolist(), strict=True)
    }


def test_buckets_find_nearly_all_pairs_of_similar_hashes_and_no_others():
    rng = np.random.default_rng(0)
    hashes = rng.integers(0, 1 << 63, 3000, np.uint64)
    for row in range(0, 1000, 2):  # a copy in which 2 to 12 bits differ
        changed = rng.choice(63, 2 * rng.integers(1, 7), replace=False).astype(np.uint64)
        hashes[row + 1] = hashes[row] ^ np.bitwise_or.reduce(np.uint64(1) << changed)
    every = pairs(near_duplicates._rounds_of_all(hashes))
    found = pairs(near_duplicates._rounds_of_buckets(hashes, np.not_equal))
    assert found <= every
    assert len(every) >= 500
    assert len(found) / len(every) > 0.95


@pytest.mark.parametrize("paired", [50_000, 100])
def test_few_pairs_of_many_copies_are_compared(monkeypatch, paired):
    """30 pictures of 40 copies each have 23,400 pairs."""
    monkeypatch.setattr(near_duplicates, "_MOST_PAIRED", paired)
    monkeypatch.setattr(near_duplicates, "_AT_ONCE", 200)
    monkeypatch.setattr(near_duplicates, "_MANY", 10)
    compared = []
    agree = near_duplicates._agree
    monkeypatch.setattr(near_duplicates, "_agree", lambda *two: compared.append(1) or agree(*two))
    rng = np.random.default_rng(0)
    thumbs = np.stack([near_duplicates.thumbnail(smooth(seed)) for seed in range(30)])
    copies = np.clip(np.repeat(thumbs, 40, axis=0) * rng.uniform(0.8, 1, (1200, 1, 1)), 0, 255)
    groups = near_duplicates.merge_groups(
        np.arange(1200), copies.astype(np.uint8), np.ones(1200, bool)
    )
    assert groups.tolist() == np.repeat(np.arange(30), 40).tolist()
    assert len(compared) < 15_000
