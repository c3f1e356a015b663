import json

import pytest


def test_a_network_is_trained_resumed_and_predicts(run, class_folders, tmp_path):
    def settings(epochs):
        return "--set", f"epochs={epochs}", "--set", "dtype=float32", "--set", "stop_after=0"

    command = ["train", class_folders, "--backbone", "cnn-a", "--output", tmp_path / "run"]
    code, out, error = run(*command, *settings(2), "--json")
    facts = json.loads(out)
    assert (code, facts["epochs"], facts["failed"]) == (1, 2, 1)
    assert "letter.png" in error
    assert (tmp_path / "run" / "curves.png").stat().st_size > 5_000
    code, out, _ = run(*command, *settings(2), "--json")
    assert json.loads(out) == facts  # it was done
    code, _, error = run(*command, *settings(3))
    assert (code, "a run with a different setting: recipe" in error) == (2, True)
    code, _, error = run(*command, *settings(2), "--classes", "happy", "sad")
    assert (code, "different setting: classes" in error) == (2, True)
    code, _, error = run(*command, *settings(2), "--set", "dtype=foo")
    assert (code, "dtype is 'foo'" in error) == (2, True)
    code, _, error = run(*command, "--set", "epoch=3")
    assert "No setting of a recipe is called 'epoch'. Did you mean 'epochs'?" in error
    code, out, _ = run("evaluate", facts["model"], class_folders, "--json")
    assert json.loads(out)["accuracy"] == pytest.approx(facts["best_validation_accuracy"])


@pytest.mark.slow
def test_training_opens_without_the_messages_of_tensorflow(class_folders, tmp_path):
    from tests.conftest import run_python

    settings = ["--set", "epochs=1", "--set", "dtype=float32", "--set", "stop_after=0"]
    command = ["train", class_folders, "--backbone", "cnn-a", "--quiet", *settings]
    code = "import sys; from ferembed.cli import main; main(sys.argv[1:])"
    result = run_python(code, *command, "--output", str(tmp_path / "run"))
    assert "1 epochs" in result.stdout
    assert result.stderr.splitlines() == [f"ferembed: left out: {_letter(class_folders)}"]


def _letter(class_folders):
    name = f"{class_folders}/train/sad/letter.png"
    return f"{name} is not a picture in a known format (it starts like text: 'a letter')."
