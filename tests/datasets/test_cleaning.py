"""Cleaning drops what the audit found, and a build merges, cleans, splits and balances."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from ferembed import datasets
from ferembed.datasets.audit import Audit, audit
from ferembed.datasets.cleaning import build, clean
from ferembed.errors import DataError
from ferembed.images import load_image
from tests.helpers.datasets import encoded, put, smooth


@pytest.mark.parametrize("through_json", [False, True])
def test_clean_applies_an_audit_or_its_json(
    faulty: Path, tmp_path: Path, through_json: bool
) -> None:
    faces = datasets.open(faulty)
    found: Audit | Path = audit(faces)
    if through_json:
        assert isinstance(found, Audit)
        (tmp_path / "audit.json").write_text(found.to_json(), encoding="utf-8")
        found = tmp_path / "audit.json"
    cleaned = clean(faces, found)
    left = {cleaned.images.name(index).rpartition("/")[2] for index in range(len(cleaned))}
    assert left == {
        "copy.bmp",  # the first of two copies
        "leak.png",  # the copy in validation, not the one in training
        "near-bright.png",  # the copy in the test split
        "good03.png",
        "good06.png",
        "good07.png",
        "good08.png",
        "good09.png",
        "good10.png",
        "good11.png",
        "large.png",
    }
    assert cleaned.provenance[-1] == {"step": "clean", "dropped": {"train": 13}}
    again = audit(cleaned)
    assert [one.kind for one in again.findings] == ["odd size"]


def test_clean_may_be_limited(faulty: Path) -> None:
    faces = datasets.open(faulty)
    found = audit(faces)
    assert len(faces) - len(clean(faces, found, kinds=["unreadable"])) == 3
    assert len(faces) - len(clean(faces, found, kinds=["across splits"])) == 2
    assert len(faces) - len(clean(faces, found, kinds=["blank", "contradictory labels"])) == 6
    assert len(clean(faces, found, splits=["test"])) == len(faces)
    with pytest.raises(DataError, match="No kind of finding is called 'blnk'. Did you mean 'blan"):
        clean(faces, found, kinds=["blnk"])


def test_a_finding_taken_out_of_the_json_is_not_applied(faulty: Path, tmp_path: Path) -> None:
    faces = datasets.open(faulty)
    content = json.loads(audit(faces).to_json())
    content["findings"] = [one for one in content["findings"] if one["kind"] == "blank"]
    path = tmp_path / "audit.json"
    path.write_text(json.dumps(content))
    assert len(clean(faces, path)) == len(faces) - 2


def test_an_audit_of_another_set_is_refused(faulty: Path, tmp_path: Path) -> None:
    faces = datasets.open(faulty)
    path = tmp_path / "audit.json"
    path.write_text(audit(faces).to_json())
    with pytest.raises(DataError) as error:
        clean(faces.split("train"), path)
    assert str(error.value) == (
        f"{path} is of a different data set than these 22 pictures, or of the same one opened with "
        "other options. Audit this one."
    )
    for text in ("{}", "[" * 100_000):
        path.write_text(text)
        with pytest.raises(DataError, match=r"audit.json is not an audit as Audit.to_json writes"):
            clean(faces, path)
    with pytest.raises(DataError, match=r"nowhere.json cannot be read"):
        clean(faces, tmp_path / "nowhere.json")


def test_build_merges_cleans_splits_balances_and_writes(faulty: Path, tmp_path: Path) -> None:
    for seed in range(100, 130):
        put(
            tmp_path / "more",
            f"{('alegria', 'triste', 'bored')[seed % 3]}/{seed}.png",
            encoded(smooth(seed)),
        )
    built = build(
        [
            datasets.open(faulty, classes=["happy", "sad"]),
            datasets.open(tmp_path / "more", on_unknown="drop"),
        ],
        tmp_path / "out",
        clean=True,
        proportions={"train": 60, "validation": 20, "test": 20},
        resplit=True,
        per_class=30,
        mirror=True,
        seed=3,
    )
    back = datasets.open(tmp_path / "out")
    assert back.counts() == built.counts()
    assert back.counts()["train"] == {"happy": 60, "sad": 60}
    assert sum(back.counts()["test"].values()) >= 5
    steps = [step["step"] for step in back.provenance]
    assert steps == ["merge", "clean", "split", "balance", "mirror", "open"]
    held = back.select(back.splits != "train")
    train = audit(back, near_duplicates=False)
    assert not [one for one in train.findings if "across splits" in one.traits]
    assert len(held) == len(back) - 120


def test_build_of_one_set_as_it_is_into_a_csv(tmp_path: Path) -> None:
    put(tmp_path / "in", "train/happy/a.png", encoded(smooth(1)))
    put(tmp_path / "in", "test/sad/b.png", encoded(smooth(2)))
    build([tmp_path / "in"], tmp_path / "fer.csv")
    back = datasets.open(tmp_path / "fer.csv")
    assert list(zip(back.labels, back.splits, strict=True)) == [("sad", "test"), ("happy", "train")]
    np.testing.assert_array_equal(load_image(back.images[1])[:, :, 0], smooth(1))
    assert [step["step"] for step in back.provenance] == ["open", "open"]
