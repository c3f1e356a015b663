"""Near-duplicates: a perceptual hash proposes pairs of pictures, and their pixels decide."""

from __future__ import annotations

from collections.abc import Iterator
from math import comb

import cv2
import numpy as np
from numpy.typing import NDArray

from ferembed.images import Image

_SIDE = 32  # pixels of the thumbnails that are compared
_SHIFT = 3  # pixels that a near-duplicate may be shifted by
_MOST_BITS = 12  # of the 63 of the hash that may differ
_LEAST_CORRELATION = 0.92
_MOST_PAIRED = 50_000  # pictures of which all pairs are compared
_MOST_NEIGHBOURS = 256  # of a picture in a bucket
_BITS_SET = np.unpackbits(np.arange(256, dtype=np.uint8)[:, None], axis=1).sum(axis=1)
_ROWS, _COLUMNS = 1024, 8192  # of the pairs that are compared at once: 32 MB


def thumbnails(count: int) -> NDArray[np.uint8]:
    """Room for the thumbnails of so many pictures."""
    return np.zeros((count, _SIDE, _SIDE), np.uint8)


def thumbnail(gray: NDArray[np.uint8]) -> Image:
    """The thumbnail of a gray picture."""
    small = cv2.resize(gray, (_SIDE, _SIDE), interpolation=cv2.INTER_AREA)
    return np.asarray(small, np.uint8)


def merge_groups(
    groups: NDArray[np.int64], thumbs: NDArray[np.uint8], compared: NDArray[np.bool_]
) -> NDArray[np.int64]:
    """The groups with those joined that have near-duplicate pictures.

    `groups` has a number for each picture, the same for exact duplicates. Only pictures that are
    marked in `compared` are compared with others.
    """
    from scipy.sparse import coo_matrix
    from scipy.sparse.csgraph import connected_components

    _, firsts = np.unique(groups, return_index=True)
    places = np.sort(firsts)
    places = places[compared[places]]
    pairs = np.array(list(_near_pairs(thumbs[places])), np.int64).reshape(-1, 2)
    ones, others = groups[places[pairs]].T
    count = int(groups.max(initial=-1)) + 1
    graph = coo_matrix((np.ones(len(ones), np.bool_), (ones, others)), (count, count))
    _, numbers = connected_components(graph, directed=False)
    return np.asarray(numbers[groups], np.int64)


def _near_pairs(thumbs: NDArray[np.uint8]) -> Iterator[tuple[int, int]]:
    """Pairs with similar hashes whose pixels agree up to a small shift."""
    signs = _hash(thumbs)
    inner = slice(_SHIFT, _SIDE - _SHIFT)
    similar = _similar if len(signs) <= _MOST_PAIRED else _similar_in_buckets
    for ones, others in similar(signs):
        for one, other in zip(ones.tolist(), others.tolist(), strict=True):
            match = cv2.matchTemplate(
                thumbs[one], thumbs[other][inner, inner], cv2.TM_CCOEFF_NORMED
            )
            if match.max() >= _LEAST_CORRELATION:
                yield one, other


def _similar(
    signs: NDArray[np.float32],
) -> Iterator[tuple[NDArray[np.intp], NDArray[np.intp]]]:
    """Positions of pairs of hashes that differ in few bits, block by block."""
    bits = signs.shape[1]
    for top in range(0, len(signs), _ROWS):
        for left in range(top, len(signs), _COLUMNS):
            # The product of two hashes is the number of equal bits less that of different ones.
            agree = signs[top : top + _ROWS] @ signs[left : left + _COLUMNS].T
            ones, others = np.nonzero(agree >= bits - 2 * _MOST_BITS)
            ones, others = ones + top, others + left
            upper = ones < others
            yield ones[upper], others[upper]


def _similar_in_buckets(
    signs: NDArray[np.float32],
) -> Iterator[tuple[NDArray[np.intp], NDArray[np.intp]]]:
    """The same for most of those pairs, without comparing all.

    Each table sorts the hashes into buckets by a random choice of their bits. The number of tables
    is such that a pair that differs in the most bits allowed shares a bucket with a probability of
    90 %; pairs that differ in fewer bits do so more often. In a very full bucket, each hash is
    compared only with those that follow it.
    """
    count, bits = signs.shape
    hashes = np.packbits(np.pad(signs > 0, ((0, 0), (0, 64 - bits))), axis=1)
    taken = max(1, int(np.log2(count)) - 2)
    shared = comb(bits - _MOST_BITS, taken) / comb(bits, taken)
    rng = np.random.default_rng(0)
    known = np.empty(0, np.int64)
    for _ in range(int(np.ceil(np.log(0.1) / np.log1p(-shared)))):
        columns = rng.choice(bits, taken, replace=False)
        keys = (signs[:, columns] > 0) @ (1 << np.arange(taken))
        order = np.argsort(keys, kind="stable")
        keys, places, found = keys[order], np.arange(count), [np.empty(0, np.int64)]
        for step in range(1, _MOST_NEIGHBOURS + 1):
            places = places[places < count - step]
            places = places[keys[places] == keys[places + step]]
            if not len(places):
                break
            ones, others = np.sort([order[places], order[places + step]], axis=0)
            different = _BITS_SET[hashes[ones] ^ hashes[others]].sum(axis=1)
            similar = different <= _MOST_BITS
            found.append(ones[similar] * count + others[similar])
        fresh = np.setdiff1d(np.concatenate(found), known)
        known = np.union1d(known, fresh)
        yield fresh // count, fresh % count


def _hash(thumbs: NDArray[np.uint8]) -> NDArray[np.float32]:
    """A perceptual hash: +1 for each of the 63 lowest frequencies above their median, else -1."""
    places = np.arange(_SIDE)
    waves = np.cos(np.pi * (2 * places + 1) * places[:8, None] / (2 * _SIDE)).astype(np.float32)
    strength = np.empty((len(thumbs), 63), np.float32)
    for start in range(0, len(thumbs), 4096):
        block = thumbs[start : start + 4096].astype(np.float32)
        strength[start : start + 4096] = (waves @ block @ waves.T).reshape(-1, 64)[:, 1:]
    typical = np.median(strength, axis=1, keepdims=True) if len(thumbs) else strength
    return np.asarray(np.where(strength > typical, 1, -1), np.float32)
