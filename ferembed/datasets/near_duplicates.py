"""Near-duplicates: a perceptual hash proposes pairs of pictures, and their pixels decide."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import chain
from math import comb
from typing import TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

from ferembed._prefetch import prefetch_map
from ferembed.images import Image

_SIDE = 32  # pixels of the thumbnails that are compared
_SHIFT = 3  # pixels that a near-duplicate may be shifted by
_BITS, _MOST_BITS = 63, 12  # of a hash; and those that may differ
_HASHED = 4096  # pictures at a time
_LEAST_CORRELATION = 0.92
_MOST_PAIRED = 50_000  # pictures of which all pairs are compared
_MOST_NEIGHBOURS = 256  # of a picture in a bucket
_BITS_SET = np.unpackbits(np.arange(256, dtype=np.uint8)[:, None], axis=1).sum(axis=1)
_AT_ONCE, _EACH = 20_000, 500  # pairs whose pixels are compared, and by a thread
_MANY = 1000  # pairs that are joined at once; fewer wait for the end of a round
_ROWS, _COLUMNS = 1024, 8192  # of the pairs that are compared at once: 32 MB


_Pairs: TypeAlias = tuple[NDArray[np.intp], NDArray[np.intp]]
_Apart: TypeAlias = Callable[[NDArray[np.intp], NDArray[np.intp]], NDArray[np.bool_]]


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
    _, firsts = np.unique(groups, return_index=True)
    firsts = np.sort(firsts)
    firsts = firsts[compared[firsts]]  # a group is compared by its first picture
    parts = _joined(thumbs, firsts)
    _, leaders = np.unique(parts, return_index=True)
    numbers = np.arange(int(groups.max(initial=-1)) + 1)
    numbers[groups[firsts]] = groups[firsts[leaders[parts]]]
    return np.asarray(np.unique(numbers[groups], return_inverse=True)[1], np.int64)


def _joined(thumbs: NDArray[np.uint8], places: NDArray[np.intp]) -> NDArray[np.int64]:
    """A number for the thumbnail at each place, the same for those that near-duplicates join.

    Pairs with similar hashes are compared pixel by pixel, unless others have joined them already:
    of many pictures of one kind, few pairs are compared.
    """
    count = len(places)
    joined, refused = np.arange(count), np.empty(0, np.int64)

    def apart(ones: NDArray[np.intp], others: NDArray[np.intp]) -> NDArray[np.bool_]:
        return np.asarray(joined[ones] != joined[others])

    hashes = _hash(thumbs, places)
    few = count <= _MOST_PAIRED
    for pairs in _rounds_of_all(hashes) if few else _rounds_of_buckets(hashes, apart):
        near, far = [refused[:0]], [refused]
        for ones, others in _portions(pairs):
            still = apart(ones, others)
            codes = _without(ones[still] * count + others[still], refused)
            ones, others = np.divmod(codes, count)
            agree = _agreeing(thumbs[places[ones]], thumbs[places[others]])
            near.append(codes[agree])
            far.append(codes[~agree])
            if np.count_nonzero(agree) > _MANY:
                joined = _with_pairs(joined, *np.divmod(np.concatenate(near), count))
                near = [refused[:0]]
        joined = _with_pairs(joined, *np.divmod(np.concatenate(near), count))
        refused = np.sort(np.concatenate(far), kind="stable")  # which merges what is sorted
    return joined


def _portions(pairs: Iterator[_Pairs]) -> Iterator[_Pairs]:
    """The same pairs, a limited number at a time."""
    for ones, others in pairs:
        for start in range(0, len(ones), _AT_ONCE):
            yield ones[start : start + _AT_ONCE], others[start : start + _AT_ONCE]


def _without(codes: NDArray[np.int64], known: NDArray[np.int64]) -> NDArray[np.int64]:
    """The codes that are not among the known ones, which are sorted."""
    places = np.searchsorted(known, codes)
    inside = places < len(known)
    inside[inside] = known[places[inside]] == codes[inside]
    return codes[~inside]


def _with_pairs(
    joined: NDArray[np.int64], ones: NDArray[np.int64], others: NDArray[np.int64]
) -> NDArray[np.int64]:
    """The numbers after these pairs are joined, too."""
    from scipy.sparse import coo_matrix
    from scipy.sparse.csgraph import connected_components

    if not len(ones):
        return joined
    count = int(joined.max()) + 1
    graph = coo_matrix((np.ones(len(ones), np.bool_), (joined[ones], joined[others])), (count,) * 2)
    return np.asarray(connected_components(graph, directed=False)[1][joined], np.int64)


def _agreeing(ones: NDArray[np.uint8], others: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """The pairs of thumbnails that agree."""

    def compare(start: int) -> list[bool]:
        some = slice(start, start + _EACH)
        return [_agree(*pair) for pair in zip(ones[some], others[some], strict=True)]

    found = prefetch_map(compare, range(0, len(ones), _EACH))
    return np.fromiter(chain.from_iterable(found), np.bool_, len(ones))


def _agree(one: Image, other: Image) -> bool:
    """True if two thumbnails are the same picture up to a small shift."""
    inner = slice(_SHIFT, _SIDE - _SHIFT)
    match = cv2.matchTemplate(one, other[inner, inner], cv2.TM_CCOEFF_NORMED)
    return bool(match.max() >= _LEAST_CORRELATION)


def _rounds_of_all(hashes: NDArray[np.uint64]) -> Iterator[Iterator[_Pairs]]:
    """Positions of pairs of hashes that differ in few bits, block by block."""
    signs = 2 * _bits(hashes, np.arange(_BITS)).astype(np.float32) - 1

    def blocks(top: int) -> Iterator[_Pairs]:
        for left in range(top, len(signs), _COLUMNS):
            # The product of two hashes is the number of equal bits less that of different ones.
            agree = signs[top : top + _ROWS] @ signs[left : left + _COLUMNS].T
            similar = np.flatnonzero(agree >= _BITS - 2 * _MOST_BITS)  # 5 times as fast as in 2D
            ones, others = np.divmod(similar, agree.shape[1])
            ones, others = ones + top, others + left
            upper = ones < others
            yield ones[upper], others[upper]

    return map(blocks, range(0, len(signs), _ROWS))


def _rounds_of_buckets(hashes: NDArray[np.uint64], apart: _Apart) -> Iterator[Iterator[_Pairs]]:
    """The same for most of those pairs that are `apart`, without comparing all.

    Each round sorts the hashes into buckets by a random choice of their bits. The number of rounds
    is such that a pair that differs in the most bits allowed shares a bucket with a probability of
    90 %; pairs that differ in fewer bits do so more often. In a very full bucket, each hash is
    compared only with those that follow it. A pair may come in several rounds.
    """
    count = len(hashes)
    taken = max(1, int(np.log2(count)) - 2)
    shared = comb(_BITS - _MOST_BITS, taken) / comb(_BITS, taken)
    rng = np.random.default_rng(0)

    def buckets() -> Iterator[_Pairs]:
        keys = _bits(hashes, rng.choice(_BITS, taken, replace=False)) @ (1 << np.arange(taken))
        order = np.argsort(keys, kind="stable")
        keys, places = keys[order], np.arange(count)
        for step in range(1, _MOST_NEIGHBOURS + 1):
            places = places[places < count - step]
            places = places[keys[places] == keys[places + step]]
            if not len(places):
                break
            two = order[places], order[places + step]
            ones, others = np.minimum(*two), np.maximum(*two)
            still = apart(ones, others)
            ones, others = ones[still], others[still]
            similar = _bits_set(hashes[ones] ^ hashes[others]) <= _MOST_BITS
            yield ones[similar], others[similar]

    return (buckets() for _ in range(int(np.ceil(np.log(0.1) / np.log1p(-shared)))))


def _bits_set(numbers: NDArray[np.uint64]) -> NDArray[np.uint8]:
    """The number of bits that are set in each number."""
    if hasattr(np, "bitwise_count"):  # since NumPy 2
        return np.asarray(np.bitwise_count(numbers), np.uint8)
    set_in_bytes = _BITS_SET[numbers.view(np.uint8).reshape(-1, 8)]
    return np.asarray(set_in_bytes.sum(axis=1), np.uint8)


def _bits(hashes: NDArray[np.uint64], chosen: NDArray[np.intp]) -> NDArray[np.bool_]:
    """A column for each of the chosen bits of the hashes."""
    return np.asarray(hashes[:, None] >> chosen.astype(np.uint64) & np.uint64(1), np.bool_)


def _hash(thumbs: NDArray[np.uint8], places: NDArray[np.intp]) -> NDArray[np.uint64]:
    """A perceptual hash: a bit for each of the 63 lowest frequencies, set above their median."""
    sides = np.arange(_SIDE)
    waves = np.cos(np.pi * (2 * sides + 1) * sides[:8, None] / (2 * _SIDE)).astype(np.float32)
    hashes = np.empty(len(places), np.uint64)
    values = np.uint64(1) << np.arange(_BITS, dtype=np.uint64)
    for start in range(0, len(places), _HASHED):
        block = thumbs[places[start : start + _HASHED]].astype(np.float32)
        strength = (waves @ block @ waves.T).reshape(-1, 64)[:, 1:]
        above = strength > np.median(strength, axis=1, keepdims=True)
        hashes[start : start + _HASHED] = above @ values
    return hashes
