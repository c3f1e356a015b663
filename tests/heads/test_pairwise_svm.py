"""SVMs fitted with and without scikit-learn-intelex, and with kernels larger than memory."""

import importlib.util

import numpy as np
import pytest

from ferembed.heads import HEADS, pairwise_svm
from ferembed.heads.svm import CalibratedSVC
from tests.conftest import run_python

SCRIPT = """
import sys
from pathlib import Path
import numpy as np
task, intelex, folder = {arguments!r}
if intelex == "without":
    sys.modules.update(sklearnex=None, daal4py=None, onedal=None)
import ferembed.heads.pairwise_svm
from ferembed.persistence.head_arrays import pack, unpack
from ferembed.heads import HEADS
ferembed.heads.pairwise_svm._HELD = 100  # so that few rows are fitted as very many are
ferembed.heads.pairwise_svm.free_memory = lambda: None
rng = np.random.default_rng(0)
labels = np.array(["happy", "sad", "angry"] * 50)
vectors = rng.normal(size=(150, 8)) + 0.5 * rng.normal(size=(3, 8))[np.arange(150) % 3]
for name in HEADS:
    path = Path(folder) / f"{{name}} {{intelex}}"
    if task == "fit":
        np.savez(path, **pack(HEADS[name].make().fit(vectors, labels)))
    else:
        for saved in ("with", "without"):
            with (Path(folder) / f"{{name}} {{saved}}.npz").open("rb") as file:
                shares = unpack(type(HEADS[name].make()).__name__, file, 8).predict_proba(vectors)
            np.save(f"{{path}} reads {{saved}}.npy", shares)
print(bool(sys.modules.get("sklearnex")))
"""


@pytest.mark.slow
# It is not imported here, where OpenVINO may have loaded an older TBB.
@pytest.mark.skipif(importlib.util.find_spec("sklearnex") is None, reason="needs the extra intelex")
def test_scikit_learn_intelex_gives_the_same_predictions(tmp_path):
    for task in ("fit", "read"):
        for intelex in ("with", "without"):
            done = run_python(SCRIPT.format(arguments=(task, intelex, str(tmp_path))))
            assert done.returncode == 0, done.stderr
            assert done.stdout.split() == [str(task == "fit" and intelex == "with")]
    for head in HEADS:
        shares = {
            (saved, read): np.load(tmp_path / f"{head} {read} reads {saved}.npy")
            for saved in ("with", "without")
            for read in ("with", "without")
        }
        for saved in ("with", "without"):
            expected = pytest.approx(shares[saved, "without"], abs=1e-9)
            assert shares[saved, "with"] == expected, head
        expected = pytest.approx(shares["without", "without"], abs=0.01)
        assert shares["with", "without"] == expected, head


def test_a_kernel_larger_than_memory_gives_the_same_predictions(data, monkeypatch):
    X, unseen, y, _ = data
    expected = CalibratedSVC().fit(X, y).predict_proba(unseen)
    monkeypatch.setattr(pairwise_svm, "_HELD", 40_000)
    monkeypatch.setattr(pairwise_svm, "free_memory", lambda: None)
    assert CalibratedSVC().fit(X, y).predict_proba(unseen) == pytest.approx(expected, abs=1e-3)


def test_more_of_a_kernel_is_held_where_memory_is_free(monkeypatch):
    codes = np.repeat([0, 1], 10_000)
    chosen = np.ones((1, 20_000), bool)

    def most(jobs):
        problem = pairwise_svm._Problem(
            X=np.empty((20_000, 1), np.float32),
            codes=codes,
            weights=np.ones(20_000),
            members=[np.flatnonzero(codes == code) for code in (0, 1)],
            chosen=chosen,
            kernel=pairwise_svm.Kernel("rbf", 1.0),
            C=1.0,
            cache_size=200,
        )
        return pairwise_svm._most_held(problem, jobs)

    monkeypatch.setattr(pairwise_svm, "core_count", lambda: 4)
    monkeypatch.setattr(pairwise_svm, "free_memory", lambda: 64_000_000_000)
    within = 800_000_000  # bytes of the kernels within the two classes
    assert most(4) == (32_000_000_000 - within) // 8
    assert most(2) == (16_000_000_000 - within) // 8  # others may use the other cores
    chosen = np.ones((5, 20_000), bool)
    chosen[1:, :10_000] = False  # four parts of half the rows, two of which are solved at a time
    assert most(2) == int((16_000_000_000 - within) / (8 * 1.5))
    monkeypatch.setattr(pairwise_svm, "free_memory", lambda: None)
    assert most(4) == pairwise_svm._HELD
