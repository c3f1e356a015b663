from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from ferembed.heads import HEADS
from ferembed.heads.batches import batches_of, summarize

STREAMED = ["softmax", "fourier-svm", "approximate-knn"]


EXACT = {"softmax": "softmax", "fourier-svm": "svm", "approximate-knn": "knn"}


@pytest.mark.slow
@pytest.mark.parametrize("name", STREAMED)
def test_batches_end_within_half_a_point_of_the_exact_head(name: str, rows: Any) -> None:
    X, codes, queries, classes = rows
    streamed = HEADS[name].make().fit_batches(batches_of(X, codes), classes)
    exact = HEADS[EXACT[name]].make().fit(X, classes[codes])
    assert streamed.score(queries, classes[codes]) > exact.score(queries, classes[codes]) - 0.005


@pytest.mark.slow
@pytest.mark.parametrize("name", STREAMED)
def test_a_head_fitted_twice_on_the_same_batches_is_the_same(name: str, rows: Any) -> None:
    X, codes, queries, classes = rows
    first, second = (
        HEADS[name].make().fit_batches(batches_of(X, codes), classes) for _ in range(2)
    )
    np.testing.assert_array_equal(
        first.predict_proba(queries[:50]), second.predict_proba(queries[:50])
    )


def test_a_summary_is_of_all_rows_and_samples_each_class(rows: Any) -> None:
    X, codes, _, _ = rows
    facts = summarize(batches_of(X, codes), 3, sample=50)
    assert facts.counts.tolist() == [2500, 1400, 100]
    np.testing.assert_allclose(facts.mean, X.mean(axis=0), atol=1e-5)
    np.testing.assert_allclose(facts.spread, X.std(axis=0), rtol=1e-4)
    assert 50 <= len(facts.sample) <= 50 + 3 * 16
    assert np.bincount(facts.codes, minlength=3).min() >= 16
    for row, code in zip(facts.sample, facts.codes, strict=True):
        assert (X[codes == code] == row).all(axis=1).any()


@pytest.mark.parametrize("name", ["softmax", "fourier-svm"])
def test_one_class_is_refused(name: str, rows: Any) -> None:
    X, codes, _, _ = rows
    with pytest.raises(ValueError, match=r"one class, \['sad'\]; give two"):
        HEADS[name].make().fit_batches(batches_of(X, 0 * codes), ["sad"])
