import json
import os
import re

from ferembed.images import load_image


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
    build = ("data", "build", *source, "--clean", "--resplit", "--split", "50/25/25")
    options = ("--balance", 6, "--classes", "happy", "sad", "--output", tmp_path / "built")
    assert run(*build, *options)[0] == 0
    facts = json.loads(run("data", "describe", tmp_path / "built", "--json", "--quiet")[1])
    assert facts["counts"] == {
        "train": {"happy": 6, "sad": 6},
        "validation": {"happy": 2, "sad": 2},
        "test": {"happy": 2, "sad": 2},
    }


def test_a_data_set_is_not_built_into_itself(run, class_folders):
    code, _, err = run("data", "build", class_folders, "--clean", "-o", f"{class_folders}/clean")
    assert (code, "Choose a folder outside it." in err) == (2, True)
    assert "clean" not in os.listdir(class_folders)
