from __future__ import annotations

from typing import Any

from ferembed.heads import HEADS
from ferembed.heads.batches import batches_of


def test_the_recall_of_approximate_neighbours_is_measured(rows: Any) -> None:
    X, codes, _, classes = rows
    head = HEADS["approximate-knn"].make().set_params(probes=2)
    head.fit_batches(batches_of(X, codes), classes)
    full = HEADS["approximate-knn"].make().set_params(probes=1024)
    assert 0.2 < head.recall_ < 0.9
    assert full.fit_batches(batches_of(X, codes), classes).recall_ == 1
