"""The options of data sets that several commands share."""

import json

import numpy as np
import PIL.Image
import pytest

from ferembed import Pipeline
from ferembed.cli import main

HEAD = "Image name,neutral,happiness,surprise,sadness,anger,disgust,fear,contempt,unknown,NF"
ROWS = ["7,3,0,0,0,0,0,0,0,0", "0,8,0,0,0,0,0,2,0,0", "0,2,0,0,0,0,0,8,0,0"]


@pytest.fixture
def voted(faces, tmp_path):
    """Class folders, and what people said of their pictures in a file beside."""
    lines = [HEAD]
    for index, face in enumerate(faces):
        place = tmp_path / "faces" / "train" / "angry" / f"{index}.png"
        place.parent.mkdir(parents=True, exist_ok=True)
        PIL.Image.fromarray(face).save(place)
        lines.append(f"{index}.png,{ROWS[index % 3]}")
    (tmp_path / "said.csv").write_text("\n".join(lines))
    return tmp_path / "faces"


def test_a_head_is_fitted_on_votes(voted, tmp_path, capsys):
    votes = ["--votes", "probability", "--votes-file", str(tmp_path / "said.csv")]
    eight = ["--expressions", "8"]
    network = ["--backbone", "cnn-a", "--weights", "random", "--store", "none", "--quiet"]
    fit = ["fit", str(voted), *votes, *eight, *network, "--head", "softmax"]
    assert main([*fit, "--output", str(tmp_path / "m")]) == 0
    made = Pipeline.load(tmp_path / "m", store="none")
    shares = {"contempt": (0.2 + 0.8) / 3, "happy": (0.3 + 0.8 + 0.2) / 3, "neutral": 0.7 / 3}
    assert made.training_prior_ == pytest.approx(shares)
    capsys.readouterr()
    score = ["evaluate", str(tmp_path / "m"), str(voted), *votes, "--split", "train", "--json"]
    assert main([*score, "--store", "none", "--quiet"]) == 0  # in eight, as the model
    assert json.loads(capsys.readouterr().out)["labels"] == ["happy", "neutral", "contempt"]


def test_a_built_data_set_has_its_votes(voted, tmp_path, capsys):
    votes = ["--votes", "probability", "--votes-file", str(tmp_path / "said.csv")]
    build = ["data", "build", str(voted), *votes, "--label", "contempt=disgust", "--mirror"]
    assert main([*build, "--output", str(tmp_path / "built"), "--quiet"]) == 0
    capsys.readouterr()
    describe = ["data", "describe", str(tmp_path / "built"), "--votes", "majority", "--json"]
    assert main([*describe, "--quiet"]) == 0
    counts = json.loads(capsys.readouterr().out)["counts"]["train"]
    assert {label: n for label, n in counts.items() if n} == {
        "disgust": 16,
        "happy": 16,
        "neutral": 16,
    }
    rows = (tmp_path / "built" / "ferplus.csv").read_text().splitlines()
    assert len(rows) == 49
    assert np.array(rows[1].split(",")[2:], float).sum() == pytest.approx(1000)


def test_rules_for_votes_that_are_not_known_are_one_error(voted, tmp_path, capsys):
    assert main(["data", "describe", str(voted), "--votes", "most"]) == 2
    assert "No rule for votes (mode) is called 'most'." in capsys.readouterr().err
