"""Options that several commands share."""

import json

import numpy as np
import pytest

from ferembed import Pipeline


def test_backbones_given_several_times_are_joined(run, class_folders, tmp_path):
    options = ("--backbone", "cnn-a", "--weights", "random", "--quiet", "--json")
    counts = json.loads(run("embed", class_folders, *options, "--layer", "dense2")[1])
    assert (counts["computed"], counts["from_store"]) == (24, 0)
    both = (*options, "--backbone", "cnn-b", "--layer", "dense2", "--layer", "")
    output = tmp_path / "joined.npz"
    counts = json.loads(run("embed", class_folders, *both, "--output", output)[1])
    assert (counts["computed"], counts["from_store"], counts["failed"]) == (24, 24, 1)  # once
    assert np.load(output)["vectors"].shape == (24, 128)
    model = tmp_path / "model"
    facts = json.loads(run("fit", class_folders, *both, "--head", "softmax", "--output", model)[1])
    assert facts["computed"] == 0
    assert "accuracy" in run("evaluate", model, class_folders, "--quiet")[1]
    code, _, err = run("embed", class_folders, *both, "--layer", "dense1")
    assert code == 2
    assert "There are 2 of backbone, 3 of layer. Give one for all, or a list of one for" in err


def test_settings_are_taken_as_python_writes_them(run, class_folders, tmp_path):
    options = "--head", "forest", "--backbone", "cnn-a", "--weights", "random"
    for number, setting in enumerate(["normalize=True", "head__bootstrap=False"]):
        output = tmp_path / f"mine{number}"
        code, _, _ = run("fit", class_folders, *options, "--set", setting, "--output", output)
        assert code == 1  # the letter
        name, _, value = setting.rpartition("__")[2].partition("=")
        loaded = Pipeline.load(output)
        assert str({**loaded.get_params(), **loaded.head_.get_params()}[name]) == value


def test_unknown_choices_are_refused(run, class_folders, tmp_path):
    run("embed", class_folders, "--backbone", "cnn-a", "--weights", "random")
    with pytest.raises(SystemExit):
        run("embed", class_folders, "--engine", "nope")
    code, _, err = run("data", "describe", class_folders, "--column", "foo=image")
    assert (code, "No meaning of a column is called 'foo'" in err) == (2, True)
    options = "--backbone", "cnn-a", "--weights", "random", "--set", "head__gamma=foo"
    code, _, err = run("fit", class_folders, *options, "--output", tmp_path / "mine")
    assert (code, "gamma is 'foo'; it is a number, 'scale' or 'auto'." in err) == (2, True)
