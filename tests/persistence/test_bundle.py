"""Saved models: round trips, refusals, and files that were made to do harm."""

import io
import json
import os
import shutil
import zipfile
from dataclasses import replace

import joblib
import numpy as np
import pytest
import skops.io
from sklearn.ensemble import GradientBoostingClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import FunctionTransformer
from sklearn.svm import SVC

from ferembed import BACKBONES, Pipeline
from ferembed.backbones.preprocess import Preprocess
from ferembed.errors import FerembedError, ModelError, UnknownName, UntrustedModel
from ferembed.faces import FaceRecipe
from ferembed.heads import HEADS
from ferembed.persistence.bundle import ARRAYS, HEAD, MANIFEST, shipped
from tests.conftest import ROOT
from tests.helpers.models import fitted, forge, rewrite, types_of


def replace_head(folder, content, name=HEAD):
    """Another head, with its hash set right: what somebody who means harm would do."""
    import hashlib

    for old in (HEAD, ARRAYS):
        (folder / old).unlink(missing_ok=True)
    (folder / name).write_bytes(content)
    fact = {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
    rewrite(folder, lambda manifest: manifest.update(files={name: fact}))


@pytest.mark.parametrize("name", ["model", "model.ferembed"])
@pytest.mark.parametrize(
    "head",
    [
        pytest.param(name, marks=[pytest.mark.slow] if name == "fourier-svm" else [])
        for name in HEADS.names()
    ],
)
def test_a_loaded_model_predicts_as_the_saved_one(head, name, tmp_path, faces, labels):
    options = {
        "normalize": True,
        "mirror_average": True,
        "layer": "dense2",
        "preprocess": Preprocess(equalize="clahe"),
    }
    cutting = FaceRecipe("mtcnn", margin=0.1, align="eyes")
    made = fitted(faces, labels, head, detector=cutting, **options)
    made.save(tmp_path / name)
    loaded = Pipeline.load(tmp_path / name, store="memory")
    assert loaded.predict_proba(faces) == pytest.approx(made.predict_proba(faces), abs=1e-12)
    assert loaded.embedder.recipe == made.embedder.recipe
    assert loaded.detector == cutting
    assert clone_fits(loaded, faces, labels)
    other = Pipeline.load(tmp_path / name, detector="haar")
    assert other.detector == "haar"
    assert other.recipe_ == loaded.recipe_


def clone_fits(pipeline, faces, labels):
    from sklearn.base import clone

    return clone(pipeline).fit(faces, labels)


@pytest.mark.parametrize("name", ["model", "model.ferembed"])
def test_custom_weights_are_saved_with_the_model(name, tmp_path, faces, labels):
    from ferembed.backbones.cnn_a_to_g import build
    from ferembed.backbones.weight_files import save_weights

    save_weights(build("cnn-a"), tmp_path / "mine.npz")
    made = fitted(faces, labels, weights=str(tmp_path / "mine.npz"))
    expected = made.predict_proba(faces)
    made.save(tmp_path / name)
    (tmp_path / "mine.npz").unlink()
    os.rename(tmp_path / name, tmp_path / f"moved-{name}")
    assert Pipeline.load(tmp_path / f"moved-{name}").predict_proba(faces) == pytest.approx(expected)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["model", "model.ferembed"])
def test_joined_backbones_and_their_weights_are_saved_with_the_model(name, tmp_path, faces, labels):
    from ferembed.backbones.cnn_a_to_g import build
    from ferembed.backbones.weight_files import save_weights

    paths = [tmp_path / "a.npz", tmp_path / "c.npz"]
    for path, network in zip(paths, ("cnn-a", "cnn-c"), strict=True):
        save_weights(build(network), path)
    made = Pipeline(
        ["cnn-a", "cnn-b", "cnn-c"],
        "knn",
        layer=["dense2", None, "flatten"],
        weights=[paths[0], "random:3", paths[1]],
        preprocess=[None, Preprocess(equalize="clahe"), None],
        store="memory",
    )
    made.set_params(head__n_neighbors=3).fit(faces, labels)
    expected = made.predict_proba(faces)
    made.save(tmp_path / name)
    for path in paths:
        path.unlink()
    os.rename(tmp_path / name, tmp_path / f"moved-{name}")
    loaded = Pipeline.load(tmp_path / f"moved-{name}", store="none")
    assert loaded.predict_proba(faces) == pytest.approx(expected)
    assert loaded.embedder.recipe == made.recipe_
    loaded.save(tmp_path / f"moved-{name}")  # over the files it was loaded from
    again = Pipeline.load(tmp_path / f"moved-{name}", store="none")
    assert again.predict_proba(faces) == pytest.approx(expected)


def test_a_model_of_format_1_predicts_as_before(faces):
    old = Pipeline.load(ROOT / "tests" / "fixtures" / "format-1.ferembed", store="none")
    assert old.detector == FaceRecipe("mtcnn", margin=0.1)
    assert old.predict(faces[:6]).tolist() == ["happy", "sad", "angry"] * 2
    expected = [[0.18317606, 0.7120104, 0.10481353]]
    assert old.predict_proba(faces[:1]) == pytest.approx(np.array(expected), abs=1e-5)


def test_a_model_of_format_2_predicts_as_before(faces, tmp_path):
    """It kept a softmax head as all others."""
    old = Pipeline.load(ROOT / "tests" / "fixtures" / "format-2.ferembed", store="none")
    assert old.predict(faces[:6]).tolist() == ["happy", "sad", "angry"] * 2
    old.save(tmp_path / "model")
    assert sorted(os.listdir(tmp_path / "model")) == [ARRAYS, MANIFEST]
    new = Pipeline.load(tmp_path / "model", store="none")
    assert (new.predict_proba(faces) == old.predict_proba(faces)).all()


def test_a_model_of_format_3_predicts_as_before_and_has_no_prior(faces, tmp_path):
    path = ROOT / "tests" / "fixtures" / "format-3.ferembed"
    old = Pipeline.load(path, store="none")
    assert old.predict(faces[:6]).tolist() == ["sad", "happy", "happy", "sad", "happy", "happy"]
    expected = np.array([[0.34477079, 0.22567161, 0.4295576]])
    assert old.predict_proba(faces[:1]) == pytest.approx(expected, abs=1e-5)
    assert old.training_prior_ is None
    with pytest.raises(ModelError, match="trained on are not known, so its prior cannot be"):
        Pipeline.load(path, prior="uniform")
    old.save(tmp_path / "model")
    assert Pipeline.load(tmp_path / "model", store="none").training_prior_ is None


def test_damaged_arrays_of_a_head_are_refused(tmp_path, faces, labels):
    fitted(faces, labels, "softmax").save(tmp_path / "model")
    file = tmp_path / "model" / ARRAYS
    whole = file.read_bytes()
    arrays = dict(np.load(file))
    evil = io.BytesIO()
    np.savez(evil, **{**arrays, "coef_": np.array([Bomb(tmp_path / "sprung")], dtype=object)})
    short, nothing = io.BytesIO(), io.BytesIO()
    np.savez(short, **{**arrays, "intercept_": arrays["intercept_"][1:]})
    np.savez(nothing, settings=arrays["settings"])
    for content, message in (
        (whole[: len(whole) // 2], "cannot be opened"),
        (b"", "cannot be opened"),
        (evil.getvalue(), "Object arrays cannot be loaded"),
        (short.getvalue(), "its arrays do not fit each other"),
        (nothing.getvalue(), "cannot be opened: it holds no classes_"),
    ):
        replace_head(tmp_path / "model", content, ARRAYS)
        with pytest.raises(ModelError, match=message):
            Pipeline.load(tmp_path / "model")
    assert not (tmp_path / "sprung").exists()


def test_settings_that_only_count_as_true_are_saved_as_such(tmp_path, faces, labels):
    made = fitted(faces, labels, normalize=1, mirror_average=np.True_)
    made.save(tmp_path / "model")
    loaded = Pipeline.load(tmp_path / "model", store="memory")
    assert (loaded.normalize, loaded.mirror_average) == (True, True)
    assert np.array_equal(loaded.predict_proba(faces), made.predict_proba(faces))


def test_a_preprocessing_of_its_own_kind_is_loaded_as_one(tmp_path, faces, labels):
    ours = replace(BACKBONES["regions"].preprocess, equalize="clahe")
    made = Pipeline("regions", "softmax", weights="random", preprocess=ours, store="memory")
    made.fit(faces[:6], labels[:6]).save(tmp_path / "model")
    loaded = Pipeline.load(tmp_path / "model", store="memory")
    assert loaded.preprocess == ours
    assert np.array_equal(loaded.predict_proba(faces[:6]), made.predict_proba(faces[:6]))


def test_a_saved_model_is_readable_json(saved):
    manifest = json.loads((saved / MANIFEST).read_text())
    assert manifest["labels"] == ["angry", "happy", "sad"]
    assert manifest["head"] == "Neighbors"
    assert manifest["vectors"]["backbone"] == "cnn-a"
    assert manifest["vectors"]["preprocess"]["size"] == 48
    assert set(manifest["versions"]) == {"python", "ferembed", "numpy", "scikit-learn", "skops"}
    assert sorted(os.listdir(saved)) == [ARRAYS, MANIFEST]


@pytest.mark.parametrize("head", ["forest", "knn", "softmax", "svm", "plain"])
def test_a_head_of_a_newer_scikit_learn_is_refused_unless_it_is_arrays(
    tmp_path, faces, labels, head
):
    path = tmp_path / "model"
    plain = LogisticRegression()
    fitted(faces, labels, plain if head == "plain" else head).save(path)
    manifest = json.loads((path / MANIFEST).read_text())
    manifest["versions"]["scikit-learn"] = "99.1.2"
    (path / MANIFEST).write_text(json.dumps(manifest))
    if head != "plain":
        assert len(Pipeline.load(path).predict(faces)) == len(faces)
    else:
        with pytest.raises(ModelError, match=r"saved with scikit-learn 99\.1\.2, and here is"):
            Pipeline.load(path, trusted=types_of(path))


def test_saving_again_replaces_and_leaves_nothing_else(saved, faces, labels):
    fitted(faces, labels, "softmax").save(saved)
    assert Pipeline.load(saved).head_.__class__.__name__ == "Softmax"
    assert os.listdir(saved.parent) == ["model"]


def test_a_folder_of_other_things_is_not_overwritten(tmp_path, faces, labels):
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(ModelError, match="holds thesis.txt and was left alone. Save under"):
        fitted(faces, labels).save(tmp_path)
    assert (tmp_path / "thesis.txt").read_text() == "years of work"


def test_a_changed_byte_is_noticed_before_the_file_is_opened(saved):
    content = bytearray((saved / ARRAYS).read_bytes())
    content[len(content) // 2] ^= 1
    (saved / ARRAYS).write_bytes(content)
    with pytest.raises(ModelError, match=r"sha256 of head\.npz in .* is .*, expected"):
        Pipeline.load(saved)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda m: m.update(format=9), "is of model format 9; this version of ferembed reads"),
        (lambda m: m.pop("labels"), "cannot be understood: 'labels'"),
        (lambda m: m.update(files=[]), "cannot be understood: files is a list"),
        (lambda m: m["files"].clear(), "holds head.npz, which its model.json does not name"),
        (lambda m: m["training_prior"].update(sad=-1), "training_prior is {'angry': "),
        (lambda m: m["training_prior"].update(sad="x"), "cannot be understood"),
        (lambda m: m["files"].update({"x.npz": {}}), "files names 'x.npz', which is no part of"),
        (
            lambda m: m["files"].update({"weights.npz": {"sha256": "", "bytes": 1}}),
            "weights.npz is missing",
        ),
        (lambda m: m["labels"].reverse(), "The two do not belong together"),
        (
            lambda m: (m["vectors"].update(revision=9), m.update(fingerprint="0")),
            "was fitted on other vectors than are made here: revision was 9, here 1",
        ),
    ],
)
def test_a_manifest_that_does_not_match_is_refused(saved, change, message):
    rewrite(saved, change)
    with pytest.raises(ModelError) as error:
        Pipeline.load(saved)
    assert message in str(error.value)


def test_a_folder_that_is_no_model_is_refused(tmp_path, saved):
    with pytest.raises(ModelError, match="There is no model at .*nowhere/model"):
        Pipeline.load(tmp_path / "nowhere" / "model")
    with pytest.raises(ModelError, match=r"is no saved model: it has no model\.json"):
        Pipeline.load(tmp_path)
    with pytest.raises(UnknownName, match="No model is called 'defalt'"):
        Pipeline.load("defalt")
    (saved / MANIFEST).write_text("{")
    with pytest.raises(ModelError, match=r"model\.json of .* cannot be understood"):
        Pipeline.load(saved)
    with zipfile.ZipFile(tmp_path / "x.ferembed", "w") as archive:
        archive.writestr("other", "")
    with pytest.raises(ModelError, match=r"it has no model\.json"):
        Pipeline.load(tmp_path / "x.ferembed")


class Bomb:
    """Unpickled, it makes a folder: the trap that a foreign model may be."""

    def __init__(self, path):
        self.path = str(path)

    def __reduce__(self):
        return os.mkdir, (self.path,)


def test_a_booby_trapped_pickle_does_not_run(tmp_path):
    trap, path = tmp_path / "sprung", tmp_path / "model.pkl"
    joblib.dump(Bomb(trap), path)
    with pytest.raises(UntrustedModel) as error:
        Pipeline.load(path)
    assert "Opening a pickle can run any code in it." in str(error.value)
    assert "allow_pickle=True" in str(error.value)
    assert not trap.exists()
    with pytest.raises(ModelError, match="holds a NoneType, not a Pipeline"):
        Pipeline.load(path, allow_pickle=True)
    assert trap.exists()  # the trap is a real one


def test_a_pickle_in_the_place_of_the_head_does_not_run(tmp_path, saved):
    trap, buffer = tmp_path / "sprung", io.BytesIO()
    joblib.dump(Bomb(trap), buffer)
    replace_head(saved, buffer.getvalue())
    with pytest.raises(ModelError, match="cannot be opened"):
        Pipeline.load(saved)
    assert not trap.exists()


def test_a_booby_trapped_skops_file_does_not_run(tmp_path, saved):
    trap = tmp_path / "sprung"
    content = skops.io.dumps(FunctionTransformer(os.mkdir, check_inverse=False))
    replace_head(saved, content)
    with pytest.raises(
        UntrustedModel, match=r"calls functions, such as (posix|os)\.mkdir"
    ) as error:
        Pipeline.load(saved)
    assert "trusted" not in str(error.value)  # nobody is told to trust that
    replace_head(saved, skops.io.dumps({"x": Bomb(trap)}))
    with pytest.raises(UntrustedModel, match=r"test_bundle\.Bomb"):
        Pipeline.load(saved)
    assert not trap.exists()


class Stranger(type(HEADS["knn"].make())):
    """A head of somebody's own."""


def test_a_custom_head_is_opened_if_it_is_trusted(tmp_path, faces, labels):
    made = Pipeline("cnn-a", Stranger(n_neighbors=1), weights="random", store="memory")
    made.fit(faces, labels).save(tmp_path / "model")
    with pytest.raises(UntrustedModel, match=r"own: .*test_bundle\.Stranger\. It was not opened"):
        Pipeline.load(tmp_path / "model")
    loaded = Pipeline.load(tmp_path / "model", trusted=["tests.persistence.test_bundle.Stranger"])
    assert (loaded.predict(faces) == labels).all()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"store": "/tmp/elsewhere.sqlite"}, "pipeline has or lacks store"),
        ({"max_pixels": 10**15}, "pipeline has or lacks max_pixels"),
        ({"margin": 0.1}, "pipeline has or lacks margin"),
        ({"detector": "haar"}, "detector is 'haar'"),
        ({"detector": {"margin": "x"}}, "margin is 'x'"),
        ({"detector": {"margin": 1e9}}, "margin is 1000000000.0; it is a number from 0 to 10"),
        ({"detector": {"cut": 3}}, "cannot be understood"),
        ({"weights": "/etc/passwd"}, "weights are outside of the model"),
        ({"weights": 3}, "weights is 3"),
        ({"preprocess": {"sizes": 3}}, "cannot be understood"),
        ({"detector": {"detector": "har"}}, "Did you mean 'haar'"),
        ({"backbone": "cnn-z"}, "No backbone is called 'cnn-z'"),
        ({"backbone": ["cnn-a", "cnn-z"]}, "No backbone is called 'cnn-z'"),
        ({"backbone": ["cnn-a", 3]}, "backbone is ['cnn-a', 3]"),
        ({"backbone": []}, "backbone is []"),
        ({"prior": 3}, "prior is 3"),
        ({"prior_strength": "all"}, "prior_strength is 'all'"),
        ({"normalize": [True]}, "normalize is [True]"),
        ({"weights": ["random", "/etc/passwd"]}, "weights are outside of the model"),
        ({"weights": "random/../../etc/passwd"}, "weights are outside of the model"),
        ({"weights": "weights-2.npz"}, "names no weights-2.npz"),
        ({"backbone": ["cnn-a"] * 2, "layer": ["dense1"] * 3}, "There are 2 of backbone, 3 of"),
    ],
)
def test_a_manifest_sets_only_what_makes_vectors(saved, change, message):
    rewrite(saved, lambda manifest: manifest["pipeline"].update(change))
    with pytest.raises(FerembedError) as error:
        Pipeline.load(saved)
    assert message in str(error.value)


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 cut short", b"\xff\xd8\xff a photo"])
@pytest.mark.parametrize("name", ["model.ferembed", "model"])
def test_a_damaged_file_is_not_called_a_pickle(tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ModelError) as error:
        Pipeline.load(tmp_path / name)
    assert not isinstance(error.value, UntrustedModel)
    assert "is no readable .ferembed file" in str(error.value)


def test_saving_never_destroys_what_is_no_model(tmp_path, faces, labels):
    made = fitted(faces, labels)
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(ModelError, match="thesis.txt is no model and was left alone"):
        made.save(tmp_path / "thesis.txt")
    made.save(tmp_path / "model")
    (tmp_path / "model" / "notes.md").write_text("notes")
    with pytest.raises(ModelError, match="holds notes.md and was left alone"):
        made.save(tmp_path / "model")
    (tmp_path / "model" / "notes.md").unlink()
    (tmp_path / "link").symlink_to(tmp_path / "model")
    made.save(tmp_path / "link")
    assert (tmp_path / "link").is_symlink()
    assert Pipeline.load(tmp_path / "link").classes_.size == 3


def test_a_folder_of_the_same_name_does_not_hide_what_ships(tmp_path, monkeypatch):
    (tmp_path / "default").mkdir()
    monkeypatch.chdir(tmp_path)
    assert Pipeline.load("default").classes_.size == 7


def test_weights_whose_name_begins_like_random_are_saved_too(tmp_path, faces, labels):
    from ferembed.backbones.cnn_a_to_g import build
    from ferembed.backbones.weight_files import save_weights

    save_weights(build("cnn-a"), tmp_path / "random_net.npz")
    monkey = fitted(faces, labels, weights=str(tmp_path / "random_net.npz"))
    monkey.save(tmp_path / "model")
    assert "weights.npz" in os.listdir(tmp_path / "model")


def test_every_shipped_model_can_be_loaded(tmp_path):
    assert "default" in shipped()
    for name in shipped():
        assert Pipeline.load(name, store="memory").classes_.size == 7
    shutil.copytree(Pipeline.load.__func__.__globals__["bundle"].find("default"), tmp_path / "copy")
    assert Pipeline.load(tmp_path / "copy").classes_.size == 7


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


@pytest.mark.parametrize("stopped", [True, False])
def test_an_interruption_between_the_two_renames_of_saving_loses_no_model(
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
