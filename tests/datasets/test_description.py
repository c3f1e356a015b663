from __future__ import annotations

import json
from pathlib import Path

import PIL.Image

from ferembed import datasets
from tests.helpers.datasets import TREE, write_tree


def test_describe_counts_and_draws(tmp_path: Path) -> None:
    write_tree(tmp_path / "set", [*TREE, "train/sad/broken.png"])
    (tmp_path / "set/train/sad/broken.png").write_bytes(b"no picture")
    described = datasets.describe(datasets.open(tmp_path / "set"))
    assert described.table().splitlines()[:7] == [
        "             train    test   total   share",
        "angry            1       0       1   25.0%",
        "happy            1       1       2   50.0%",
        "sad              1       0       1   25.0%",
        "total            3       1       4  100.0%",
        "sizes      48x48 3",
        "unreadable 1 (audit lists them)",
    ]
    assert json.loads(described.to_json())["counts"]["test"] == {"angry": 0, "happy": 1, "sad": 0}
    with PIL.Image.open(described.picture(tmp_path / "bars.png")) as bars:
        colours = {colour for _, colour in bars.convert("RGB").getcolors(1 << 20) or []}
    assert {(66, 103, 172), (102, 163, 92)} <= colours  # train and test
    assert (237, 152, 60) not in colours  # no validation
