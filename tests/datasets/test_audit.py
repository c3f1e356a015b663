"""Every fault is found, and nothing else is."""

from __future__ import annotations

import hashlib
import json
import os
from collections import defaultdict
from pathlib import Path

import numpy as np
import pytest

from ferembed import datasets
from ferembed.datasets import Dataset
from ferembed.datasets.audit import Audit, audit
from ferembed.images import Image
from tests.conftest import ROOT

RESULTS = "benchmarks/results/audit_fer2013.json"


def names(found: Audit, kind: str) -> list[list[str]]:
    return [
        [picture.name.rpartition("/")[2].partition(".")[0] for picture in one.pictures]
        for one in found.findings
        if one.kind == kind
    ]


def test_each_fault_is_found_and_nothing_else(faulty: Path) -> None:
    found = audit(datasets.open(faulty))
    assert sorted(names(found, "unreadable")) == [["empty"], ["text"], ["truncated"]]
    assert names(found, "blank") == [["blank"], ["nearly-blank"]]
    assert names(found, "odd size") == [["large"]]
    assert [sorted(one) for one in names(found, "exact duplicates")] == [
        ["contradiction", "good02"],
        ["copy", "good00"],
        ["good01", "leak"],
    ]
    assert sorted(sorted(one) for one in names(found, "near-duplicates")) == [
        ["good03", "near-jpeg"],
        ["good04", "near-bright"],
        ["good05", "near-moved"],
    ]
    assert [one.traits for one in found.findings if one.kind == "exact duplicates"] == [
        ("contradictory labels",),
        (),
        ("across splits",),
    ]
    details = {one.pictures[0].name: one.detail for one in found.findings}
    assert details["train/sad/large.png"] == "64x64, the rest 48x48"
    assert details["train/happy/empty.png"].endswith("empty.png is empty (0 bytes).")
    assert (
        "truncated.jpg is damaged: image file is truncated" in details["train/happy/truncated.jpg"]
    )


def test_the_table_counts_them(faulty: Path) -> None:
    assert audit(datasets.open(faulty)).table().splitlines() == [
        "                              findings    pictures   clean drops",
        "unreadable                           3           3             3",
        "blank                                2           2             2",
        "odd size                             1           1             0",
        "exact duplicates                     3           6             4",
        "  contradictory labels               1           2             2",
        "  across splits                      1           2             1",
        "near-duplicates                      3           6             4",
        "  contradictory labels               1           2             2",
        "  across splits                      1           2             1",
        "no face                 not looked for",
        "doubtful label          not looked for",
        "clean leaves 9 of 22 in train",
        "clean leaves 1 of 1 in validation",
        "clean leaves 1 of 1 in test",
    ]


def test_pictures_without_a_face_are_found_by_the_detector(faulty: Path) -> None:
    faces = datasets.open(faulty)
    asked: list[tuple[int, ...]] = []

    def finder(image: Image) -> list[str]:
        asked.append(image.shape)
        return ["a face"] if image.std() > 45 else []

    found = audit(faces, near_duplicates=False, find_faces=finder)
    assert len(asked) == len(faces) - 3
    assert ["blank"] in names(found, "no face")
    assert found.count("no face") < len(faces) / 2
    assert f"{'near-duplicates':<24}not looked for" in found.table()


def test_an_audit_of_nothing() -> None:
    found = audit(Dataset.from_images(np.zeros((0, 48, 48), np.uint8), []))
    assert found.findings == ()


def test_an_audit_reports_progress(faulty: Path) -> None:
    seen: list[tuple[int, int | None]] = []
    audit(datasets.open(faulty), progress=lambda done, total: seen.append((done, total)))
    assert seen[0] == (1, 24)
    assert seen[-1] == (24, 24)


@pytest.mark.data
@pytest.mark.slow
def test_fer2013_is_audited_at_least_as_well_as_by_file_hashes() -> None:
    faces = datasets.open(Path(os.environ["FEREMBED_DATA"]) / "fer2013.zip")
    found = audit(faces)
    hashed: dict[bytes, list[int]] = defaultdict(list)
    for index, source in enumerate(faces.images):
        hashed[hashlib.sha256(source.read_bytes()).digest()].append(index)  # type: ignore[union-attr]
    naive = {tuple(members) for members in hashed.values() if len(members) > 1}
    exact = [one for one in found.findings if one.kind == "exact duplicates"]
    assert naive <= {tuple(picture.index for picture in one.pictures) for one in exact}
    told = json.loads((ROOT / RESULTS).read_text())["summary"]
    seen = found.summary()
    # Near copies are decided by floating-point numbers, which differ by a hair.
    near, near_told = seen.pop("near-duplicates"), told.pop("near-duplicates")
    assert near["findings"] == pytest.approx(near_told["findings"], rel=0.02)
    assert seen == told
