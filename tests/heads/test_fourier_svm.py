from __future__ import annotations

from typing import Any

import pytest

from ferembed.heads import HEADS
from ferembed.heads.batches import batches_of


@pytest.mark.slow
def test_probabilities_of_the_fourier_svm_are_calibrated(rows: Any) -> None:
    X, codes, queries, classes = rows
    head = HEADS["fourier-svm"].make().fit_batches(batches_of(X, codes), classes)
    probabilities = head.predict_proba(queries)
    right = float((probabilities.argmax(axis=1) == codes).mean())
    assert probabilities.max(axis=1).mean() == pytest.approx(right, abs=0.03)
