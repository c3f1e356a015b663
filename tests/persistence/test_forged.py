"""Models that somebody made to do harm: they are refused with a ModelError, or answer soundly."""

import hashlib
import io
import json
import subprocess
import sys
import zipfile

import numpy as np
import pytest
import skops.io
from sklearn.ensemble import GradientBoostingClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.svm import SVC

from ferembed import Pipeline
from ferembed.backbones.preprocess import Preprocess
from ferembed.errors import FerembedError, ModelError, UntrustedModel
from ferembed.faces import FaceRecipe
from ferembed.heads import HEADS
from ferembed.persistence.bundle import ARRAYS, HEAD, MANIFEST
from tests.conftest import ROOT

SMALL = {
    "approximate-knn": {"n_neighbors": 3},
    "knn": {"n_neighbors": 3},
    "bagged-svm": {"n_estimators": 2, "max_samples": 20},
    "forest": {"n_jobs": 1},
}


@pytest.fixture(scope="module")
def models(tmp_path_factory, faces, labels):
    """A small saved model of every head, by the head's name."""
    folder = tmp_path_factory.mktemp("models")
    for name in HEADS:
        head = HEADS[name].make().set_params(**SMALL.get(name, {}))
        made = Pipeline("cnn-a", head, weights="random", store="memory", detector=None)
        made.fit(faces, labels).save(folder / name)
    return folder


def forge(source, out, change=lambda arrays: None, content=None, name=ARRAYS, manifest=None):
    """A copy of a model with another head, whose size and hash are made to fit."""
    out.mkdir(exist_ok=True)
    facts = json.loads((source / MANIFEST).read_text())
    if content is None:
        arrays = dict(np.load(source / ARRAYS))
        change(arrays)
        packed = io.BytesIO()
        np.savez_compressed(packed, **arrays)
        content = packed.getvalue()
    (out / name).write_bytes(content)
    facts["files"] = {name: {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}}
    if manifest:
        manifest(facts)
    (out / MANIFEST).write_text(json.dumps(facts))
    return out


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
def test_mutated_heads_answer_soundly_or_are_refused(models, tmp_path, head):
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


@pytest.mark.parametrize(
    "head", [GradientBoostingClassifier(n_estimators=2), SVC(), LogisticRegression()]
)
def test_heads_of_scikit_learn_are_opened_only_by_name(models, tmp_path, faces, labels, head):
    fitted = head.fit(np.random.default_rng(0).normal(size=(24, 64)), labels)
    content = skops.io.dumps(fitted)
    model = forge(
        models / "svm",
        tmp_path / "model",
        content=content,
        name=HEAD,
        manifest=lambda facts: facts.update(head=type(head).__name__),
    )
    with pytest.raises(UntrustedModel) as error:
        Pipeline.load(model)
    assert f"{type(head).__module__}.{type(head).__name__}" in str(error.value)
    assert "scikit-learn reads the numbers of a fitted model unchecked" in str(error.value)
    assert "trusted=[...]" in str(error.value)


def test_a_head_that_answers_nonsense_is_a_model_error(faces, labels):
    made = Pipeline("cnn-a", "softmax", weights="random", store="memory").fit(faces, labels)
    made.head_.coef_ = np.full_like(made.head_.coef_, np.nan)
    with pytest.raises(ModelError, match="does not answer as it should: its probabilities are no"):
        made.predict_proba(faces)
    made.head_.coef_ = made.head_.coef_[:, :3]
    for ask in (made.predict, made.predict_proba):
        with pytest.raises(ModelError, match="Softmax does not answer as it should: ValueError"):
            ask(faces)


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
    """What a process says that loads a model, and by how many MB it grew."""
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


def test_a_member_that_the_manifest_does_not_name_is_refused(models, tmp_path):
    with zipfile.ZipFile(tmp_path / "m.ferembed", "w") as archive:
        for file in (models / "softmax").iterdir():
            archive.write(file, file.name)
        archive.writestr("weights-1.npz", b"anything")
    with pytest.raises(ModelError, match=r"holds weights-1\.npz, which its model\.json does not"):
        Pipeline.load(tmp_path / "m.ferembed")


def test_a_manifest_of_gigabytes_is_refused_by_its_size(models, tmp_path):
    model = forge(models / "softmax", tmp_path / "model")
    with (model / MANIFEST).open("r+b") as file:
        file.truncate(1 << 30)
    with pytest.raises(ModelError, match=r"model\.json .* cannot be understood: it has 1,073,741,"):
        Pipeline.load(model)


@pytest.mark.parametrize(
    "change",
    [
        {"preprocess": {"clahe_tiles": 100_000}},
        {"preprocess": {"clahe_clip": float("nan")}},
        {"preprocess": {"size": 10**9}},
        {"preprocess": {"size": 48.5}},
        {"preprocess": {"scale": float("inf")}},
        {"preprocess": {"scale": -1}},
        {"preprocess": {"mean": [float("nan")]}},
        {"preprocess": {"mean": "x"}},
        {"preprocess": {"whiten": 7}},
        {"detector": {"margin": float("nan")}},
        {"detector": {"margin": 1e300}},
        {"detector": {"width": 10**9}},
        {"detector": {"square": "yes"}},
        {"detector": {"detector": ["haar"]}},
        {"backbone": ["cnn-a"] * 1000},
    ],
)
def test_numbers_out_of_range_in_a_manifest_are_refused(models, tmp_path, change):
    model = forge(
        models / "softmax", tmp_path / "m", manifest=lambda facts: facts["pipeline"].update(change)
    )
    with pytest.raises(FerembedError):
        Pipeline.load(model)


@pytest.mark.parametrize("label", ["\x1b[2Jhappy", "a\nb", "x" * 101])
def test_labels_that_would_move_the_cursor_are_refused(models, tmp_path, label, faces):
    model = forge(
        models / "softmax", tmp_path / "m", manifest=lambda facts: facts["labels"].append(label)
    )
    with pytest.raises(ModelError, match="printable characters"):
        Pipeline.load(model)
    with pytest.raises(FerembedError, match="printable characters"):
        Pipeline("cnn-a", "knn", weights="random", store="memory").fit(faces[:2], [label, "sad"])


@pytest.mark.parametrize(
    "field",
    [
        {"size": 0},
        {"size": True},
        {"clahe_tiles": 0},
        {"clahe_clip": 0},
        {"scale": float("nan")},
        {"mean": (1e300,)},
        {"mean": ("1",)},
    ],
)
def test_every_number_of_a_preprocess_is_checked_when_it_is_made(field):
    with pytest.raises(ValueError, match=f"{next(iter(field))} is "):
        Preprocess(**field)
    with pytest.raises(ValueError, match="equalize is 3"):
        FaceRecipe(equalize=3)


@pytest.mark.parametrize("stopped", [True, False])
def test_a_stop_between_the_two_moves_of_saving_loses_no_model(
    models, tmp_path, faces, labels, monkeypatch, stopped
):
    """An exception there brings the old model back; after a kill it is read where it lies."""
    import ferembed.persistence.bundle as bundle

    old = Pipeline.load(models / "knn", store="memory")
    old.save(tmp_path / "model")
    expected = old.predict_proba(faces)
    new = Pipeline.load(models / "softmax", store="memory")
    moves = []

    class Stop(BaseException):
        pass

    def replace(source, target):
        moves.append(target)
        if len(moves) == 2 or (len(moves) > 2 and stopped):
            raise Stop
        real(source, target)

    real = bundle.os.replace
    monkeypatch.setattr(bundle.os, "replace", replace)
    with pytest.raises(Stop):
        new.save(tmp_path / "model")
    monkeypatch.undo()
    assert (tmp_path / "model").exists() != stopped
    again = Pipeline.load(tmp_path / "model", store="memory")
    assert np.array_equal(again.predict_proba(faces), expected)
    new.save(tmp_path / "model")
    assert Pipeline.load(tmp_path / "model", store="memory").head_.__class__ is new.head_.__class__
