import json

import numpy as np
import PIL.Image
import pytest

from ferembed.heads import HEADS, Head
from ferembed.heads.softmax import Softmax


def test_fit_evaluate_and_a_second_fit_from_the_store(run, class_folders, tmp_path):
    options = ("--backbone", "cnn-a", "--weights", "random", "--quiet", "--json")
    fit = ("fit", class_folders, "--head", "knn", "--set", "head__n_neighbors=3", *options)
    code, out, err = run(*fit, "--output", tmp_path / "one")
    assert code == 1
    assert "letter.png is not a picture" in err
    assert json.loads(out) == {
        "model": str(tmp_path / "one"), "faces": 18, "computed": 18, "from_store": 0,
        "duplicates": 0, "backbone": "cnn-a", "failed": 1,
    }  # fmt: skip
    counts = json.loads(run(*fit, "--output", tmp_path / "two.ferembed")[1])
    assert (counts["computed"], counts["from_store"]) == (0, 18)
    for model in ("one", "two.ferembed"):
        code, out, _ = run("evaluate", tmp_path / model, class_folders, "--json", "--quiet")
        report = json.loads(out)
        assert code == 0
        assert (report["count"], report["split"]) == (6, "validation")
        assert np.sum(report["confusion"]) == 6
    table = run("evaluate", tmp_path / "one", class_folders)[1]
    assert table.startswith("6 faces: accuracy ")


def test_a_folder_without_splits_is_taken_whole(run, class_folders, tmp_path):
    folder = f"{class_folders}/validation"
    options = (
        "--backbone",
        "cnn-a",
        "--weights",
        "random",
        "--quiet",
        "--json",
        "--head",
        "softmax",
    )
    counts = json.loads(run("fit", folder, *options, "--output", tmp_path / "m")[1])
    assert counts["faces"] == 6
    report = json.loads(run("evaluate", tmp_path / "m", folder, "--json", "--quiet")[1])
    assert (report["count"], report["split"]) == (6, "unsplit")
    code, _, err = run("evaluate", tmp_path / "m", folder, "--split", "test")
    assert code == 2
    assert "The data set has no test split; it has unsplit 6." in err


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("foo=1", "foo"),
        ("head__foo=1", "No parameter of a pipeline is called 'head__foo'."),
        ("head__c=3", "'head__c'. Did you mean 'head__C'?"),
        ("head__C=-1", "'C'"),
        ("C=3", "No parameter of a pipeline is called 'C'. Did you mean 'head__C'? Known: "),
        ("preprocess__size=3", "preprocess__size cannot be set: preprocess has no parameters"),
        ("detector=har", "Did you mean 'haar'"),
    ],
)
def test_a_parameter_that_does_not_fit_is_one_error(run, class_folders, tmp_path, setting, message):
    options = ("--backbone", "cnn-a", "--weights", "random", "--quiet", "--head", "softmax")
    fit = ("fit", class_folders, *options, "--set", setting, "--output", tmp_path / "m")
    code, out, err = run(*fit)
    assert (code, out) == (2, "")
    assert message in err
    assert "Traceback" not in err


def test_pictures_in_no_split_are_counted(run, faces, tmp_path):
    for number, label in enumerate(["happy", "sad"] * 12):
        folder = tmp_path / "mixed" / label
        folder.mkdir(parents=True, exist_ok=True)
        name = f"Training_{number}.png" if number < 14 else f"test_{number}.png"
        PIL.Image.fromarray(faces[number]).save(folder / name)
    code, out, err = run(
        *("fit", tmp_path / "mixed", "--head", "softmax", "--backbone", "cnn-a"),
        *("--weights", "random", "--output", tmp_path / "mine"),
    )
    assert (code, "fitted on 14 faces" in out) == (0, True)
    assert err == (
        "ferembed: left out: 10 pictures that are in no split; --split unsplit takes those.\n"
    )


def test_a_bug_in_a_head_keeps_its_traceback(run, class_folders, tmp_path, monkeypatch):
    class Buggy(Softmax):
        def fit(self, X, y):
            return len(None)

    monkeypatch.setitem(HEADS._things, "buggy", Head("buggy", "has a bug", Buggy))
    options = "--backbone", "cnn-a", "--weights", "random", "--head", "buggy"
    with pytest.raises(TypeError, match="has no len"):
        run("fit", class_folders, *options, "--output", tmp_path / "mine")
