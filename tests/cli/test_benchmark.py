import json

GRID = (
    '[[cells]]\nbackbone = "cnn-a"\nweights = "random"\nhead = "knn"\nhead__n_neighbors = [1, 3]\n'
)


def test_a_grid_is_run_and_the_best_is_saved(run, class_folders, tmp_path):
    (tmp_path / "grid.toml").write_text(GRID)
    command = ("benchmark", tmp_path / "grid.toml", class_folders, "--output", tmp_path / "out")
    code, out, err = run(*command, "--quiet", "--json")
    facts = json.loads(out)
    assert (code, err) == (0, "")
    assert (facts["fitted"], facts["failed"], len(facts["rows"])) == (2, 0, 2)
    assert (tmp_path / "out" / "model" / "model.json").exists()
    code, out, _ = run(*command, "--quiet", "--set", "head__n_neighbors=[3, 5]")
    assert (code, out.splitlines()[-1]) == (0, facts["page"])
    assert len(list((tmp_path / "out" / "cells").iterdir())) == 3


def test_a_failing_cell_is_reported_and_sets_the_exit_code(run, class_folders, tmp_path):
    (tmp_path / "grid.toml").write_text(GRID.replace("3]", "400]"))
    command = ("benchmark", tmp_path / "grid.toml", class_folders, "--output", tmp_path / "out")
    code, _, err = run(*command, "--quiet")
    assert code == 1
    assert err.startswith("ferembed: cell failed: ")
    assert "n_neighbors" in err


def test_an_unknown_grid_is_met_with_a_suggestion(run, class_folders, tmp_path):
    code, _, err = run("benchmark", "quik", class_folders, "--output", tmp_path / "out")
    assert (code, "No grid is called 'quik'. Did you mean 'quick'?" in err) == (2, True)
