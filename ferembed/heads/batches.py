"""Rows in batches: what heads that are fitted on more rows than memory have in common."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from ferembed.inference.openvino import Floats

Codes: TypeAlias = NDArray[np.integer]
Batches: TypeAlias = Callable[[int, "int | None"], Iterable[tuple[Floats, Codes]]]
"""Called with a size and a seed: batches of so many rows, with the numbers of their classes.
They come shuffled by the seed, or as they lie for None."""

_READ = 8192
_FEWEST = 16  # rows of each class in a sample, where there are as many
_TINY = 1e-6


@dataclass(frozen=True, kw_only=True)
class Summary:
    """The results of one pass over all rows: their number, their spread and a random sample."""

    counts: NDArray[np.int64]  # of each class
    mean: Floats
    spread: Floats
    sample: Floats  # in random order
    codes: Codes

    @property
    def rows(self) -> int:
        return int(self.counts.sum())


def batches_of(X: Floats, codes: Codes) -> Batches:
    """The batches of rows that are in memory."""

    def batches(size: int, seed: int | None) -> Iterable[tuple[Floats, Codes]]:
        order = np.arange(len(X))
        if seed is not None:
            order = np.random.default_rng(seed).permutation(len(X))
        for start in range(0, len(X), size):
            some = order[start : start + size]
            yield X[some], codes[some]

    return batches


def summarize(batches: Batches, classes: int, sample: int, seed: int = 0) -> Summary:
    """One pass over all rows. The sample has so many, and some of each class."""
    rng = np.random.default_rng(seed)
    counts = np.zeros(classes, np.int64)
    total, squares = np.float64(0), np.float64(0)
    rows, codes, keys = np.empty((0, 0), np.float32), np.empty(0, np.int64), np.empty(0)
    for X, numbers in batches(_READ, None):
        if not len(rows):
            rows = np.empty((0, X.shape[1]), np.float32)
        counts += np.bincount(numbers, minlength=classes)
        total = total + X.sum(axis=0, dtype=np.float64)
        squares = squares + np.square(X, dtype=np.float64).sum(axis=0)
        rows, codes = np.concatenate([rows, X]), np.concatenate([codes, numbers])
        keys = np.concatenate([keys, rng.random(len(X))])
        order = np.argsort(keys)
        kept = np.zeros(len(keys), bool)
        kept[order[:sample]] = True
        for code in range(classes):
            kept[order[codes[order] == code][:_FEWEST]] = True
        order = order[kept[order]]
        rows, codes, keys = rows[order], codes[order], keys[order]
    count = max(1, int(counts.sum()))
    mean = total / count
    spread = np.sqrt(np.maximum(squares / count - mean**2, 0))
    return Summary(
        counts=counts,
        mean=np.asarray(mean, np.float32),
        spread=np.maximum(spread, _TINY).astype(np.float32),
        sample=rows,
        codes=codes,
    )
