def test_compare_refuses_what_cannot_be_compared(run, model, class_folders, tmp_path):
    for name in ("train", "validation"):
        options = ("--split", name, "--output", tmp_path / name, "--quiet")
        run("evaluate", model, class_folders, *options)
    code, out, err = run("compare", tmp_path / "train", tmp_path / "validation")
    assert (code, out) == (2, "")
    assert "results are of different faces" in err
    assert "train has 18 (" in err
    assert "validation has 6 (" in err
    code, _, err = run("compare", tmp_path / "train", tmp_path / "nowhere")
    assert code == 2
    assert err == f"ferembed: {tmp_path / 'nowhere'} cannot be read: No such file or directory.\n"
