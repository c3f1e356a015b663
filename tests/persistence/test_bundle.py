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
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import FunctionTransformer

from ferembed import BACKBONES, Pipeline
from ferembed.backbones.preprocess import Preprocess
from ferembed.errors import FerembedError, ModelError, UnknownName, UntrustedModel
from ferembed.faces import FaceRecipe
from ferembed.heads import HEADS
from ferembed.heads.softmax import Softmax
from ferembed.persistence.bundle import ARRAYS, HEAD, MANIFEST, shipped
from ferembed.persistence.soundness import foreign_types, is_sound
from tests.conftest import ROOT, run_python


def fitted(faces, labels, head="knn", **options):
    options = {"weights": "random", **options}
    made = Pipeline("cnn-a", head, store="memory", **options)
    neighbors = {"head__n_neighbors": 3}
    small = {
        "knn": neighbors,
        "approximate-knn": neighbors,
        "bagged-svm": {"head__max_samples": 20},
    }
    return made.set_params(**small.get(head, {})).fit(faces, labels)


@pytest.fixture
def saved(tmp_path, faces, labels):
    fitted(faces, labels).save(tmp_path / "model")
    return tmp_path / "model"


def rewrite(folder, change):
    manifest = json.loads((folder / MANIFEST).read_text())
    change(manifest)
    (folder / MANIFEST).write_text(json.dumps(manifest))


def replace_head(folder, content, name=HEAD):
    """Another head, with its hash set right: what somebody who means harm would do."""
    import hashlib

    for old in (HEAD, ARRAYS):
        (folder / old).unlink(missing_ok=True)
    (folder / name).write_bytes(content)
    fact = {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
    rewrite(folder, lambda manifest: manifest.update(files={name: fact}))


def types_of(folder):
    """Every type in a head that is not ferembed's own: what its maker would name as trusted."""
    return sorted(set().union(*foreign_types((folder / HEAD).read_bytes())))


@pytest.mark.parametrize("name", ["model", "model.ferembed"])
@pytest.mark.parametrize(
    "head",
    [
        pytest.param(name, marks=[pytest.mark.slow] if name == "fourier-svm" else [])
        for name in HEADS.names()
    ],
)
def test_a_loaded_model_answers_as_the_saved_one(head, name, tmp_path, faces, labels):
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
def test_weights_of_ones_own_travel_with_the_model(name, tmp_path, faces, labels):
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
def test_joined_vectors_and_the_weights_of_each_travel_with_the_model(
    name, tmp_path, faces, labels
):
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


def test_a_model_of_format_1_answers_as_it_did(faces):
    old = Pipeline.load(ROOT / "tests" / "fixtures" / "format-1.ferembed", store="none")
    assert old.detector == FaceRecipe("mtcnn", margin=0.1)
    assert old.predict(faces[:6]).tolist() == ["happy", "sad", "angry"] * 2
    expected = [[0.18317606, 0.7120104, 0.10481353]]
    assert old.predict_proba(faces[:1]) == pytest.approx(np.array(expected), abs=1e-5)


def test_a_model_of_format_2_answers_as_it_did(faces, tmp_path):
    """It kept a softmax head as all others."""
    old = Pipeline.load(ROOT / "tests" / "fixtures" / "format-2.ferembed", store="none")
    assert old.predict(faces[:6]).tolist() == ["happy", "sad", "angry"] * 2
    old.save(tmp_path / "model")
    assert sorted(os.listdir(tmp_path / "model")) == [ARRAYS, MANIFEST]
    new = Pipeline.load(tmp_path / "model", store="none")
    assert (new.predict_proba(faces) == old.predict_proba(faces)).all()


def test_a_model_of_format_3_answers_as_it_did_and_knows_no_prior(faces, tmp_path):
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


def test_a_person_can_read_what_was_saved(saved):
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


def test_what_is_no_model_is_refused(tmp_path, saved):
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


def test_a_head_of_ones_own_is_opened_when_named(tmp_path, faces, labels):
    made = Pipeline("cnn-a", Stranger(n_neighbors=1), weights="random", store="memory")
    made.fit(faces, labels).save(tmp_path / "model")
    with pytest.raises(UntrustedModel, match=r"own: .*test_bundle\.Stranger\. It was not opened"):
        Pipeline.load(tmp_path / "model")
    loaded = Pipeline.load(tmp_path / "model", trusted=["tests.persistence.test_bundle.Stranger"])
    assert (loaded.predict(faces) == labels).all()


def test_a_forged_tree_is_refused(tmp_path, faces, labels):
    from sklearn.ensemble import RandomForestClassifier

    made = fitted(faces, labels, RandomForestClassifier(30, random_state=0))
    for attribute, value in (("children_left", 10**6), ("feature", 9999), ("children_right", 0)):
        made.fit(faces, labels)
        tree = next(t.tree_ for t in made.head_.estimators_ if t.tree_.node_count > 1)
        getattr(tree, attribute)[0] = value
        made.save(tmp_path / "model")
        with pytest.raises(ModelError, match="contains indices that are out of range"):
            Pipeline.load(tmp_path / "model", trusted=types_of(tmp_path / "model"))


def sound_models():
    from sklearn.ensemble import GradientBoostingClassifier, RandomForestClassifier
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler
    from sklearn.tree import DecisionTreeClassifier

    forest = RandomForestClassifier(3, random_state=0)
    boosting = GradientBoostingClassifier(n_estimators=2)
    return [DecisionTreeClassifier(), make_pipeline(StandardScaler(), forest), boosting]


@pytest.mark.parametrize("head", sound_models(), ids=lambda head: type(head).__name__)
def test_a_forged_tree_is_found_wherever_it_hides(head, tmp_path, faces, labels):

    made = Pipeline("cnn-a", head, weights="random", store="memory").fit(faces, labels)
    assert is_sound(made.head_)
    trees, seen = [], [made.head_]
    while seen:
        thing = seen.pop()
        if hasattr(thing, "tree_"):
            trees.append(thing.tree_)
        elif isinstance(thing, (list, tuple, np.ndarray)):
            seen += list(np.ravel(np.array(thing, dtype=object)))
        elif hasattr(thing, "__dict__"):
            seen += [v for k, v in vars(thing).items() if k in ("steps", "estimators_")]
    grown = next(tree for tree in trees if tree.node_count > 1)
    grown.feature[0] = 64
    assert not is_sound(made.head_)


@pytest.mark.parametrize("bagged", [False, True])
def test_a_forged_support_vector_machine_is_refused(bagged, tmp_path, faces, labels):
    from sklearn.ensemble import BaggingClassifier
    from sklearn.svm import SVC

    made = fitted(faces, labels, BaggingClassifier(SVC(), random_state=0) if bagged else SVC())
    inner = made.head_.estimators_[3] if bagged else made.head_
    inner._n_support = np.array([10**6, -2 * 10**6, 10**6 + 24], np.int32)
    made.save(tmp_path / "model")
    with pytest.raises(ModelError, match="contains indices that are out of range"):
        Pipeline.load(tmp_path / "model", trusted=types_of(tmp_path / "model"))


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
        ({"weights": "/etc/passwd"}, "weights lie outside of the model"),
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
        ({"weights": ["random", "/etc/passwd"]}, "weights lie outside of the model"),
        ({"weights": "random/../../etc/passwd"}, "weights lie outside of the model"),
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


def test_weights_whose_name_begins_like_random_travel_too(tmp_path, faces, labels):
    from ferembed.backbones.cnn_a_to_g import build
    from ferembed.backbones.weight_files import save_weights

    save_weights(build("cnn-a"), tmp_path / "random_net.npz")
    monkey = fitted(faces, labels, weights=str(tmp_path / "random_net.npz"))
    monkey.save(tmp_path / "model")
    assert "weights.npz" in os.listdir(tmp_path / "model")


def test_an_export_is_read_by_joblib_and_answers_the_same(tmp_path, faces, labels):
    made = fitted(faces, labels, "svm")
    made.export(tmp_path / "model.pkl")
    for copy in (
        joblib.load(tmp_path / "model.pkl"),
        Pipeline.load(tmp_path / "model.pkl", allow_pickle=True),
    ):
        assert (copy.predict_proba(faces) == made.predict_proba(faces)).all()
    assert os.listdir(tmp_path) == ["model.pkl"]


def test_an_export_that_answers_otherwise_is_not_written(tmp_path, faces, labels, monkeypatch):
    made = fitted(faces, labels, "softmax")

    def forgetful(self):
        return {**vars(self), "coef_": np.zeros_like(self.coef_)}

    monkeypatch.setattr(type(made.head_), "__getstate__", forgetful, raising=False)  # Python 3.10
    with pytest.raises(ModelError, match="does not predict as the original does"):
        made.export(tmp_path / "model.pkl")
    assert os.listdir(tmp_path) == []


def test_an_unknown_export_format_is_met_with_a_suggestion(tmp_path, faces, labels):
    with pytest.raises(UnknownName, match="No export format is called 'pikle'. Did you mean 'pick"):
        fitted(faces, labels).export(tmp_path / "m", format="pikle")


def test_what_ships_can_be_loaded(tmp_path):
    assert "default" in shipped()
    for name in shipped():
        assert Pipeline.load(name, store="memory").classes_.size == 7
    shutil.copytree(Pipeline.load.__func__.__globals__["bundle"].find("default"), tmp_path / "copy")
    assert Pipeline.load(tmp_path / "copy").classes_.size == 7
