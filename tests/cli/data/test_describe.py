import json
import shutil

import pytest


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
