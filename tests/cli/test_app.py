import pytest

from ferembed.cli import data, main
from ferembed.cli.app import COMMANDS


def test_errors_are_one_line_and_no_traceback(run, model, portrait, tmp_path):
    for arguments, message in (
        (("predict", portrait, "--model", "defalt"), "No model is called 'defalt'"),
        (("predict", portrait, "--model", model, "--detector", "har"), "Did you mean 'haar'?"),
        (("predict", tmp_path, "--model", model), "No photo or video found at"),
        (
            ("predict", portrait, "--model", model, "--annotate", portrait.parent),
            "in the folder of the photo",
        ),
        (("predict", portrait, "--model", model, "--output", tmp_path), "is a folder"),
        (("cache", "clear", "--recipe", "abc"), "--recipe and --days go with prune"),
        (("fit", tmp_path / "gone", "--output", tmp_path / "m"), "gone"),
        (("cache", "prune"), "Name what to remove"),
    ):
        code, out, err = run(*arguments)
        assert (code, out) == (2, "")
        assert err.startswith("ferembed: ")
        assert message in err
        assert len(err.splitlines()) == 1


def test_help_has_examples(run, capsys):
    with pytest.raises(SystemExit):
        main(["--help"])
    assert "ferembed predict party.jpg" in capsys.readouterr().out
    names = [module.__name__.removeprefix("ferembed.cli.") for module in COMMANDS]
    inner = [f"data {module.__name__.rpartition('.')[2]}" for module in data.COMMANDS]
    for command in [*names, *inner]:
        with pytest.raises(SystemExit) as exit:
            main([*command.split(), "--help"])
        assert exit.value.code == 0
        assert f"example:\n  ferembed {command}" in capsys.readouterr().out
    assert run()[0] == 2


@pytest.mark.parametrize(
    ("arguments", "wrong", "meant"),
    [
        (["predic", "x.jpg"], "predic", "predict"),
        (["data", "audits", "faces/"], "audits", "audit"),
    ],
)
def test_an_unknown_command_gets_a_suggestion(run, arguments, wrong, meant):
    code, out, err = run(*arguments)
    assert (code, out) == (2, "")
    assert err.startswith(f"ferembed: No command is called {wrong!r}. Did you mean {meant!r}?")
