from __future__ import annotations

import numpy as np

from ferembed.datasets import near_duplicates


def pairs(similar, signs):
    return {
        pair
        for ones, others in similar(signs)
        for pair in zip(ones.tolist(), others.tolist(), strict=True)
    }


def test_buckets_find_nearly_all_pairs_of_similar_hashes_and_no_others():
    rng = np.random.default_rng(0)
    signs = rng.choice([-1, 1], (3000, 63)).astype(np.float32)
    for row in range(0, 1000, 2):  # a copy in which 2 to 12 bits differ
        changed = rng.choice(63, 2 * rng.integers(1, 7), replace=False)
        signs[row + 1] = signs[row]
        signs[row + 1, changed] *= -1
    every = pairs(near_duplicates._similar, signs)
    found = pairs(near_duplicates._similar_in_buckets, signs)
    assert found <= every
    assert len(every) >= 500
    assert len(found) / len(every) > 0.95
