import json

import PIL.Image


def test_evaluate_writes_a_report_that_compare_reads(run, model, class_folders, faces, tmp_path):
    copied = tmp_path / "data" / "train" / "happy" / "copy.png"
    PIL.Image.fromarray(faces[18]).save(copied)
    other = tmp_path / "other"
    fit = ("fit", class_folders, "--backbone", "cnn-a", "--weights", "random:1", "--quiet")
    run(*fit, "--head", "knn", "--set", "head__n_neighbors=3", "--output", other)
    for name, path in (("one", model), ("two", other)):
        code, out, err = run(
            "evaluate", path, class_folders, "--training", class_folders, "--lang", "es", "--quiet",
            "--output", tmp_path / name,
        )  # fmt: skip
        assert (code, err) == (0, "")
        assert "1 de 6 caras tienen un duplicado en los datos de entrenamiento; sin ellas: " in out
        assert "Evaluado en la partición validation.\n" in out
        assert "\u00a0%" in out  # and not "\\xa0%"
        assert f"Escritos: {tmp_path / name / 'report.html'}, report.md, report.json." in out
        page = (tmp_path / name / "report.html").read_text("utf-8")
        assert f"Informe de {path}" in page
        assert "Los errores con más confianza" in page
        assert "Red base" in page
    two = tmp_path / "two" / "report.json"
    new = json.loads(run("compare", tmp_path / "one", two, "--deduplicated", "--json")[1])
    assert new["count"] == 5
    code, out, _ = run("compare", tmp_path / "one", two, "--json")
    comparison = json.loads(out)
    reports = [json.loads((tmp_path / name / "report.json").read_text()) for name in ("one", "two")]
    accuracies = [report["scores"]["accuracy"] for report in reports]
    assert code == 0
    assert comparison["count"] == 6
    assert [comparison["accuracy"][side] for side in "ab"] == accuracies
    same = run("compare", tmp_path / "one", tmp_path / "one")[1]
    assert same.endswith("A and B are right on the same faces.\n")


def test_evaluate_with_training_data_alone_prints_both_scores(run, model, class_folders):
    options = ("--training", class_folders, "--exact-only", "--json", "--quiet")
    code, out, _ = run("evaluate", model, class_folders, *options)
    facts = json.loads(out)
    assert (code, facts["duplicates"], facts["deduplicated"]["count"]) == (0, 0, 6)
    assert "page" not in facts


def test_evaluate_tries_the_folder_before_the_work(run, tmp_path):
    (tmp_path / "taken").write_text("")
    code, out, err = run("evaluate", "default", "nowhere", "--output", tmp_path / "taken")
    assert (code, out) == (2, "")
    assert err.startswith(
        f"ferembed: Cannot write to the folder {tmp_path / 'taken'}: File exists."
    )


def test_a_prior_changes_predictions_scores_and_their_calibration(run, faces, tmp_path):
    for index, face in enumerate(faces[:12]):
        place = tmp_path / "faces" / ("contempt" if index < 3 else "happy")
        place.mkdir(parents=True, exist_ok=True)
        PIL.Image.fromarray(face).save(place / f"{index}.png")
    data, model = tmp_path / "faces", tmp_path / "m"
    vectors = ("--backbone", "cnn-a", "--weights", "random", "--set", "detector=none")
    fit = ("fit", data, *vectors, "--head", "softmax", "--quiet", "--output", model)
    assert "'contempt' (3, first contempt/0.png). expressions=8, on the comm" in run(*fit)[2]
    assert run(*fit, "--expressions", 8)[0] == 0
    scored = [
        json.loads(run("evaluate", model, data, "--quiet", "--json", *prior)[1])
        for prior in ((), ("--prior", "uniform"), ("--prior", "happy=1,contempt=3"))
    ]
    assert scored[0]["labels"] == ["happy", "contempt"]
    plain, uniform, rare = (one["predicted"]["contempt"] for one in scored)
    assert plain <= uniform < rare == 12
    assert len({one["calibration_error"] for one in scored}) == 3
    predict = ("predict", data / "happy" / "3.png", "--model", model, "--json")
    seven, uniform, half = (
        json.loads(run(*predict, *prior)[1])[0]["faces"][0]["probabilities"]
        for prior in (
            ("--expressions", 7),
            ("--prior", "uniform"),
            ("--prior", "uniform", "--prior-strength", 0.5),
        )
    )
    assert seven == {"happy": 1.0}
    assert uniform["contempt"] > half["contempt"] > 0
    code, _, err = run(*predict, "--prior", "happy=1")
    assert (code, "The prior lacks contempt" in err) == (2, True)


def test_a_terminal_gets_aligned_text_and_a_missing_test_split_is_explained(
    run, model, class_folders
):
    code, out, _ = run("evaluate", model, class_folders, "--quiet")
    assert (code, "|" in out) == (0, False)
    assert "\nHappy " in out
    code, _, err = run("evaluate", model, class_folders, "--split", "test")
    assert code == 2
    assert "it has train 19, validation 6. FER2013's PublicTest is read as validation, its " in err
