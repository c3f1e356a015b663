"""Heads saved as arrays: forged ones are refused, or predict soundly."""

import io
import json
import subprocess
import sys
import zipfile

import numpy as np
import pytest

from ferembed import Pipeline
from ferembed.errors import ModelError
from ferembed.heads import HEADS
from ferembed.heads.softmax import Softmax
from ferembed.persistence.bundle import ARRAYS
from tests.conftest import ROOT, run_python
from tests.helpers.models import fitted, forge


def test_every_head_of_ferembed_is_saved_as_arrays_and_opens(models, faces):
    for name in HEADS:
        assert (models / name / ARRAYS).exists(), name
        shares = Pipeline.load(models / name, store="memory").predict_proba(faces)
        assert shares.sum(axis=1) == pytest.approx(np.ones(len(faces)))


@pytest.mark.parametrize(
    ("head", "array", "change"),
    [
        ("softmax", "coef_", lambda a: a[:, :-1]),
        ("softmax", "coef_", lambda a: a * np.nan),
        ("softmax", "coef_", lambda a: a.astype(complex)),
        ("softmax", "classes_", lambda a: a[::-1]),
        ("softmax", "intercept_", lambda a: a[None]),
        ("svm", "vectors", lambda a: a[:0]),
        ("svm", "vectors", lambda a: a[:, 1:]),
        ("svm", "weights", lambda a: a[:, :-1]),
        ("svm", "lengths", lambda a: a[1:]),
        ("svm", "center", lambda a: a[1:]),
        ("svm", "intercepts", lambda a: np.full_like(a, np.inf)),
        ("svm", "gamma", lambda a: np.array(np.nan)),
        ("svm", "gamma", lambda a: np.array(-1.0)),
        ("svm", "kernel", lambda a: np.array("precomputed")),
        ("svm", "calibration_coef", lambda a: a.T[:2]),
        ("forest", "features_", lambda a: a[::-1]),
        ("forest", "features_", lambda a: a[:-2]),
        ("forest", "splits_", lambda a: a + 200),
        ("forest", "shares_", lambda a: a * 0),
        ("forest", "edges_", lambda a: a * np.nan),
        ("forest", "features", lambda a: np.array(9)),
        ("knn", "codes_", lambda a: a + 3),
        ("knn", "codes_", lambda a: a.astype(np.int64) - 1),
        ("knn", "rows_", lambda a: a[1:]),
        ("knn", "rows_", lambda a: np.full_like(a, np.nan)),
        ("knn", "scale_", lambda a: np.array(0.0)),
        ("bagged-svm", "0/classes_", lambda a: a + 5),
        ("bagged-svm", "1/vectors", lambda a: a[:, 1:]),
        ("bagged-svm", "classes_", lambda a: a[:2]),
    ],
)
def test_arrays_that_do_not_fit_each_other_are_refused(models, tmp_path, head, array, change):
    def forged(arrays):
        arrays[array] = change(arrays[array])

    with pytest.raises(ModelError):
        Pipeline.load(forge(models / head, tmp_path / "model", forged))


@pytest.mark.parametrize(
    ("head", "parameter", "value"),
    [
        ("knn", "n_neighbors", 10**9),
        ("knn", "n_neighbors", -1),
        ("knn", "metric", "precomputed"),
        ("knn", "weights", {"a": 1}),
        ("svm", "n_jobs", 10**9),
        ("svm", "nonsense", 1),
        ("svm", "class_weight", {"pairs": [["happy", [1]]]}),
        ("bagged-svm", "estimator", {"C": [1]}),
    ],
)
def test_parameters_out_of_range_are_refused(models, tmp_path, head, parameter, value):
    def forged(arrays):
        settings = {**json.loads(str(arrays["settings"])), parameter: value}
        arrays["settings"] = np.array(json.dumps(settings))

    with pytest.raises(ModelError, match="cannot be opened"):
        Pipeline.load(forge(models / head, tmp_path / "model", forged))


MUTATE = """
import sys
from pathlib import Path
import numpy as np
from ferembed import Pipeline
from ferembed.errors import ModelError
faces = np.random.default_rng(0).integers(0, 256, (3, 48, 48), dtype=np.uint8)
for folder in sorted(Path(sys.argv[1]).iterdir()):
    try:
        shares = Pipeline.load(folder, store="memory").predict_proba(faces)
    except ModelError:
        continue
    assert np.isfinite(shares).all() and abs(shares.sum(axis=1) - 1).max() < 1e-3, folder
print("done")
"""


@pytest.mark.parametrize(
    "head",
    [
        pytest.param(name, marks=[] if name == "softmax" else [pytest.mark.slow])
        for name in HEADS.names()
    ],
)
def test_mutated_heads_predict_soundly_or_are_refused(models, tmp_path, head):
    """30 heads with a few values of an array changed, opened in a process of their own."""
    rng = np.random.default_rng(5)

    def forged(arrays):
        names = [name for name in arrays if name != "settings" and arrays[name].size]
        name = names[rng.integers(len(names))]
        raw = bytearray(arrays[name].tobytes())
        for _ in range(rng.integers(1, 4)):
            raw[rng.integers(len(raw))] = rng.integers(256)
        arrays[name] = np.frombuffer(bytes(raw), arrays[name].dtype).reshape(arrays[name].shape)

    for number in range(30):
        forge(models / head, tmp_path / f"{number:02d}", forged)
    done = subprocess.run(
        [sys.executable, "-c", MUTATE, str(tmp_path)], capture_output=True, text=True, cwd=ROOT
    )
    assert done.stdout == "done\n", done.stderr


def zip_bomb(name="coef_.npy", size=3 << 30):
    """An .npz of some kilobytes whose array would be gigabytes."""
    header = io.BytesIO()
    shape = {"descr": "<f8", "fortran_order": False, "shape": (7, size // 56)}
    np.lib.format.write_array_header_1_0(header, shape)
    packed = io.BytesIO()
    with (
        zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive,
        archive.open(name, "w", force_zip64=True) as file,
    ):
        file.write(header.getvalue())
        for _ in range(size >> 24):
            file.write(bytes(1 << 24))
    return packed.getvalue()


LIMITED = """
import resource, sys
from ferembed import Pipeline
from ferembed.errors import ModelError
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
try:
    Pipeline.load(sys.argv[1])
except ModelError as error:
    print(error)
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) >> 10)
"""


def load_measured(path):
    """Load a model in a new process. Return its output and the growth of its memory in MB."""
    done = subprocess.run(
        [sys.executable, "-c", LIMITED, str(path)], capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    said, grown = done.stdout.strip().rsplit("\n", 1)
    return said, int(grown)


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="needs the module resource")
def test_a_bomb_is_refused_before_it_is_unpacked(models, tmp_path):
    bomb = zip_bomb(size=512 << 20)
    assert len(bomb) < 1 << 20
    said, grown = load_measured(forge(models / "softmax", tmp_path / "a", content=bomb))
    assert "which no trained numbers do" in said
    assert grown < 200
    with zipfile.ZipFile(tmp_path / "b.ferembed", "w", zipfile.ZIP_DEFLATED) as archive:
        for file in (models / "softmax").iterdir():
            archive.write(file, file.name)
        archive.writestr("weights.npz", bytes(200 << 20))
    said, grown = load_measured(tmp_path / "b.ferembed")
    assert "which no trained numbers do" in said
    assert grown < 200


def test_a_softmax_head_is_opened_without_skops(tmp_path, faces, labels):
    made = fitted(faces, labels, Softmax(C=0.5, class_weight={"sad": 2.0}))
    made.save(tmp_path / "model")
    code = (
        "import sys; from ferembed import Pipeline; p = Pipeline.load(sys.argv[1]);"
        "print('skops' in sys.modules, p.head_.get_params() == {'C': 0.5, 'class_weight':"
        " {'sad': 2.0}, 'max_iter': 1000}, p.head_.n_iter_.tolist() > [1])"
    )
    result = run_python(code, str(tmp_path / "model"))
    assert result.stdout.split() == ["False", "True", "True"], result.stderr
    for weights in ({1: 2.0}, {np.int64(1): 2.0}):  # JSON has no such keys
        made = fitted(faces, np.arange(24) % 3, Softmax(class_weight=weights))
        made.save(tmp_path / "model")
        again = Pipeline.load(tmp_path / "model", store="memory")
        assert (again.predict_proba(faces) == made.predict_proba(faces)).all()


@pytest.mark.parametrize(
    ("head", "attribute", "change"),
    [
        ("forest", "features_", lambda features: features[:-2]),
        ("forest", "features_", lambda features: features[::-1]),
        ("forest", "splits_", lambda splits: splits + 99),
        ("forest", "shares_", lambda shares: shares[1:]),
        ("knn", "codes_", lambda codes: codes + 3),
        ("knn", "rows_", lambda rows: rows[1:]),
    ],
)
def test_forged_arrays_of_a_head_are_refused(head, attribute, change, tmp_path, faces, labels):
    made = fitted(faces, labels, head)
    setattr(made.head_, attribute, change(getattr(made.head_, attribute)))
    made.save(tmp_path / "model")
    with pytest.raises(ModelError, match="cannot be opened"):
        Pipeline.load(tmp_path / "model")
