import json


def test_the_demo_prints_its_prediction_and_its_files(run, tmp_path):
    code, out, err = run("demo", "--output", tmp_path / "out")
    drawn, table = (tmp_path / "out" / f"grace_hopper.{kind}" for kind in ("png", "json"))
    assert (code, err) == (0, "")
    assert "grace_hopper.jpg: face 1" in out
    assert out.endswith(f"Written: {drawn} and {table}\n")
    assert drawn.exists()


def test_as_json_it_prints_the_content_of_its_file(run, tmp_path):
    code, out, err = run("demo", "--json", "--lang", "es", "--output", tmp_path)
    assert (code, err) == (0, "")
    assert json.loads(out) == json.loads((tmp_path / "grace_hopper.json").read_text())
