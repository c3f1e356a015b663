import json


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
