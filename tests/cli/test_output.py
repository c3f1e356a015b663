import os
import shutil


def test_outputs_spare_what_is_read(run, model, portrait, class_folders, tmp_path):
    photo = tmp_path / "p.jpg"
    shutil.copy(portrait, photo)
    before = photo.read_bytes()
    os.link(photo, tmp_path / "p.csv")
    audit = ["data", "audit", class_folders, "--output", tmp_path / "x", "--sheet", tmp_path / "x"]
    for command, told in (
        (["predict", photo, "--output", tmp_path / "p.csv"], "would overwrite the input"),
        (["predict", tmp_path, "--output", tmp_path / "p.csv"], "would overwrite the input"),
        (
            ["embed", photo, "--output", photo],
            "is not a name for an .npz file: it must end in .npz.",
        ),
        (audit, "Give them different names."),
    ):
        code, _, error = run(*command)
        assert code == 2, command
        assert told in error
    assert photo.read_bytes() == before


def test_outputs_of_unknown_endings_are_refused_before_the_work(run, model, portrait, tmp_path):
    code, _, err = run("predict", portrait, "--model", model, "--output", tmp_path / "x.parquet")
    assert (code, "x.parquet ends in .parquet: give .json, .csv or .txt." in err) == (2, True)
    code, _, err = run("embed", portrait, "--output", tmp_path / "x.txt")
    assert (code, "is not a name for an .npz file: it must end in .npz." in err) == (2, True)
    (tmp_path / "x.npz").mkdir()
    code, _, err = run(
        *("embed", portrait, "--output", tmp_path / "x.npz"),
        *("--backbone", "cnn-a", "--weights", "random"),
    )
    assert (code, err) == (2, f"ferembed: {tmp_path / 'x.npz'}: Is a directory\n")


def test_json_that_contradicts_the_output_is_refused(run, model, portrait, tmp_path):
    for command in ("predict", "watch"):
        csv = tmp_path / "x.csv"
        code, _, err = run(command, portrait, "--model", model, "--json", "--output", csv)
        assert (code, "--json contradicts --output" in err) == (2, True)
        assert not csv.exists()
    out = tmp_path / "x.json"
    assert run("predict", portrait, "--model", model, "--json", "--output", out)[0] == 0
