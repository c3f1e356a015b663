"""Products by OpenVINO equal NumPy's."""

import multiprocessing
import os

import numpy as np
import pytest

from ferembed.heads import HEADS
from ferembed.inference import matmul
from ferembed.inference.matmul import matmul_transposed, one_blas_thread_per_worker


def rows(count, dim, seed):
    return np.random.default_rng(seed).normal(size=(count, dim)).astype(np.float32)


@pytest.fixture
def made(monkeypatch):
    """Products of few rows are large here; a list of those that OpenVINO was asked for."""
    pytest.importorskip("openvino")
    found, made_by = [], matmul._compiled_tile

    def products():
        found.append(1)
        return made_by()

    monkeypatch.setattr(matmul, "_LARGE", 1)
    monkeypatch.setattr(matmul, "_TILE", (8, 16))
    monkeypatch.setattr(matmul, "_compiled_tile", products)
    monkeypatch.setattr(matmul, "_openvino_is_usable", lambda: True)
    made_by.cache_clear()
    yield found
    made_by.cache_clear()


def test_a_large_product_runs_on_openvino_and_is_the_same(made, monkeypatch):
    a, b = rows(33, 64, 0), rows(70, 128, 1)[:, ::2]
    b.flags.writeable = False
    assert not b.flags.c_contiguous
    with one_blas_thread_per_worker():
        assert matmul_transposed(a, b) == pytest.approx(a @ b.T, abs=1e-4)
        assert len(made) == 1
        for few, others in ((a[:7], b), (a, b[:15])):
            assert (matmul_transposed(few, others) == few @ others.T).all()
        monkeypatch.setattr(matmul, "_LARGE", 33 * 70 * 64 + 1)
        assert (matmul_transposed(a, b) == a @ b.T).all()
    monkeypatch.setattr(matmul, "_LARGE", 1)
    assert (matmul_transposed(a, b) == a @ b.T).all()  # NumPy has all cores
    assert len(made) == 1


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs a system that forks")
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
def test_a_forked_process_multiplies_by_numpy(made):
    a, b = rows(40, 32, 0), rows(50, 32, 1)
    with one_blas_thread_per_worker():
        here = matmul_transposed(a, b)
        context = multiprocessing.get_context("fork")
        receiver, sender = context.Pipe(duplex=False)
        answer = lambda: sender.send((matmul_transposed(a, b), len(made)))  # noqa: E731
        context.Process(target=answer, daemon=True).start()
    assert receiver.poll(30)
    there, count = receiver.recv()
    assert there == pytest.approx(here, abs=1e-4)
    assert count == len(made) == 1


def test_heads_predict_the_same_with_openvino_and_numpy(made, monkeypatch):
    X, unseen = rows(300, 16, 0), rows(600, 16, 1)
    labels = np.where(X[:, 0] > 0, "happy", "sad")
    answers = {}
    for by_openvino in (True, False):
        monkeypatch.setattr(matmul, "_openvino_is_usable", lambda answer=by_openvino: answer)
        for name in ("svm", "knn", "bagged-svm"):
            head = HEADS[name].make()
            parts = {key for key in head.get_params() if key.split("__")[-1] == "n_jobs"}
            head.set_params(**dict.fromkeys(parts, 2)).fit(X, labels)
            answers[name, by_openvino] = head.predict_proba(unseen)
    assert made
    for name in ("svm", "knn", "bagged-svm"):
        assert answers[name, True] == pytest.approx(answers[name, False], abs=1e-4), name


def test_an_openvino_that_does_not_load_is_replaced_by_numpy(monkeypatch):
    def broken():
        raise ImportError("a library is missing")

    monkeypatch.setattr(matmul, "_LARGE", 1)
    monkeypatch.setattr(matmul, "_TILE", (8, 16))
    monkeypatch.setattr(matmul, "_compiled_tile", broken)
    a, b = rows(33, 64, 0), rows(70, 64, 1)
    with one_blas_thread_per_worker():
        assert (matmul_transposed(a, b) == a @ b.T).all()
