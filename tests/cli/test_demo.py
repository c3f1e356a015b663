import os


def test_the_demo_writes_a_drawn_photo_and_its_facts(run, tmp_path):
    code, out, err = run("demo", "--output", tmp_path / "out")
    assert (code, err) == (0, "")
    assert "grace_hopper.jpg: face 1" in out
    assert sorted(os.listdir(tmp_path / "out")) == ["grace_hopper.json", "grace_hopper.png"]
