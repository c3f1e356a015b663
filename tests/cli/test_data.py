import json
import os
import re
import shutil

import pytest

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


def test_a_data_set_is_not_built_into_itself(run, class_folders):
    code, _, err = run("data", "build", class_folders, "--clean", "-o", f"{class_folders}/clean")
    assert (code, "Choose a folder outside it." in err) == (2, True)
    assert "clean" not in os.listdir(class_folders)


def test_audit_lists_doubtful_labels(run, class_folders, tmp_path):
    audit = ("data", "audit", class_folders, "--labels", "--quiet", "--output", tmp_path / "a.json")
    network = ("--backbone", "cnn-a", "--weights", "random", "--store", "none")
    code, out, err = run(*audit, *network, "--skip-bad")
    assert (code, err) == (0, "")
    assert "doubtful label" in out
    assert "doubtful label          not looked for" not in out
    found = json.loads((tmp_path / "a.json").read_text())
    kinds = [one["kind"] for one in found["findings"]]
    assert kinds.count("doubtful label") == found["summary"]["doubtful label"]["findings"]
