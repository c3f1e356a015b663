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
    monkeypatch.setattr(pairwise_svm, "core_count", lambda: 4)
    monkeypatch.setattr(pairwise_svm, "free_memory", lambda: 64_000_000_000)
    assert pairwise_svm._most_held(4) == 4_000_000_000  # half of it, 8 bytes each
    assert pairwise_svm._most_held(2) == 2_000_000_000  # others may use the other cores
    monkeypatch.setattr(pairwise_svm, "free_memory", lambda: None)
    assert pairwise_svm._most_held(4) == pairwise_svm._HELD
