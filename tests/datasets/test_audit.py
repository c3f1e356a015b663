"""Every fault is found, nothing else is, and clean takes out what the audit says."""

from __future__ import annotations

import hashlib
import io
import json
import os
import tracemalloc
from collections import defaultdict
from pathlib import Path

import cv2
import numpy as np
import PIL.Image
import pytest

from ferembed import datasets
from ferembed.datasets import Dataset, near_duplicates
from ferembed.datasets.audit import Audit, audit
from ferembed.datasets.cleaning import build, clean
from ferembed.errors import DataError
from ferembed.images import Image, load_image
from tests.conftest import ROOT

RESULTS = "benchmarks/results/audit_fer2013.json"


def smooth(seed: int, side: int = 48) -> np.ndarray:
    """A picture with large forms, as faces have."""
    noise = np.random.default_rng(seed).integers(0, 256, (5, 5), dtype=np.uint8)
    return np.asarray(cv2.resize(noise, (side, side), interpolation=cv2.INTER_CUBIC), np.uint8)


def encoded(pixels: np.ndarray, kind: str = "PNG", **options: int) -> bytes:
    content = io.BytesIO()
    PIL.Image.fromarray(pixels).save(content, kind, **options)
    return content.getvalue()


def put(root: Path, name: str, content: bytes) -> None:
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


@pytest.fixture
def faulty(tmp_path: Path) -> Path:
    """Twelve good pictures and one of each fault."""
    root = tmp_path / "faulty"
    for seed in range(12):
        put(root, f"train/{('happy', 'sad')[seed % 2]}/good{seed:02}.png", encoded(smooth(seed)))
    # An exact copy in another format, and one across splits.
    put(root, "train/happy/copy.bmp", encoded(smooth(0), "BMP"))
    put(root, "validation/sad/leak.png", encoded(smooth(1)))
    put(root, "train/angry/contradiction.png", encoded(smooth(2)))
    # Near copies: packed again, made brighter, and moved by a pixel.
    put(root, "train/sad/near-jpeg.jpg", encoded(smooth(3), "JPEG", quality=60))
    put(
        root,
        "test/happy/near-bright.png",
        encoded(np.clip(smooth(4) * 0.8 + 20, 0, 255).astype("u1")),
    )
    put(root, "train/fear/near-moved.png", encoded(np.roll(smooth(5), 1, axis=1)))
    put(root, "train/happy/blank.png", encoded(np.full((48, 48), 200, np.uint8)))
    nearly = np.full((48, 48), 255, np.uint8)
    nearly[40:44, 10:30] = 0
    put(root, "train/sad/nearly-blank.png", encoded(nearly))
    put(root, "train/sad/large.png", encoded(smooth(50, 64)))
    put(root, "train/happy/truncated.jpg", encoded(smooth(51), "JPEG")[:-300])
    put(root, "train/happy/text.png", b"<html>404</html>")
    put(root, "train/happy/empty.png", b"")
    return root


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
    path.write_text("{}")
    with pytest.raises(DataError, match=r"audit.json is not an audit as Audit.to_json writes it"):
        clean(faces, path)
    with pytest.raises(DataError, match=r"nowhere.json cannot be read"):
        clean(faces, tmp_path / "nowhere.json")


def test_no_face_is_asked_of_whoever_finds_faces(faulty: Path) -> None:
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


def test_near_copies_of_each_other_keep_one(tmp_path: Path) -> None:
    """Three in a chain, two of them exact: both findings agree on which to keep."""
    pixels = [smooth(1), smooth(1), np.roll(smooth(1), 1, axis=0)]
    faces = Dataset.from_images(np.stack(pixels), ["sad"] * 3, ["train"] * 3)
    assert len(clean(faces, audit(faces))) == 1
    groups = audit(faces).groups
    assert len(set(groups)) == 1
    parts = datasets.split(faces, {"train": 50, "test": 50}, resplit=True, groups=groups)
    assert len(set(parts.splits)) == 1


def test_different_pictures_are_never_near_copies() -> None:
    many = np.stack([smooth(seed) for seed in range(400)])
    found = audit(Dataset.from_images(many, ["sad"] * 400))
    assert found.findings == ()
    assert "clean leaves 400 of 400 in unsplit" in found.table()


def test_near_copies_are_found_within_and_across_blocks_of_comparisons() -> None:
    """1,024 pictures are compared at once: some copies lie in one block, some in two."""
    originals = [smooth(seed) for seed in range(1100)]
    copied = [*range(40), *range(1060, 1100)]
    copies = [np.roll(originals[n], 1, axis=1) for n in copied]
    found = audit(Dataset.from_images(np.stack(originals + copies), ["sad"] * 1180))
    pairs = {tuple(p.index for p in one.pictures) for one in found.findings}
    right = {(n, 1100 + place) for place, n in enumerate(copied)}
    assert pairs <= right
    assert len({pair for pair in pairs if pair[0] < 40}) > 35
    assert len({pair for pair in pairs if pair[0] >= 1060}) > 35


def test_the_contact_sheet_shows_what_was_found(faulty: Path, tmp_path: Path) -> None:
    found = audit(datasets.open(faulty))
    with PIL.Image.open(found.contact_sheet(tmp_path / "sheet.png")) as sheet:
        pixels = np.asarray(sheet.convert("RGB")).astype(int)
    assert pixels.shape[1] == 1480
    assert pixels.shape[0] > 900  # eight sections

    def holds(picture: np.ndarray) -> bool:
        big = cv2.resize(picture, (84, 84), interpolation=cv2.INTER_CUBIC)
        match = cv2.matchTemplate(pixels[:, :, 0].astype(np.uint8), big, cv2.TM_CCOEFF_NORMED)
        return bool(match.max() > 0.999)

    assert holds(smooth(2))  # contradictory
    assert holds(smooth(5))
    assert not holds(smooth(7))  # nothing is wrong with it
    assert ((pixels == (200, 48, 48)).all(axis=2)).sum() > 500  # the frame of contradictions


def test_a_contact_sheet_of_nothing(tmp_path: Path) -> None:
    found = audit(Dataset.from_images(np.stack([smooth(1), smooth(2)]), ["sad", "happy"]))
    with PIL.Image.open(found.contact_sheet(tmp_path / "sheet.png")) as sheet:
        assert sheet.size[0] == 1480


def test_an_audit_of_nothing() -> None:
    found = audit(Dataset.from_images(np.zeros((0, 48, 48), np.uint8), []))
    assert found.findings == ()


def test_audit_tells_how_far_it_is(faulty: Path) -> None:
    seen: list[tuple[int, int | None]] = []
    audit(datasets.open(faulty), progress=lambda done, total: seen.append((done, total)))
    assert seen[0] == (1, 24)
    assert seen[-1] == (24, 24)


# --- build ----------------------------------------------------------------------------------------


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


# --- the real data --------------------------------------------------------------------------------


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


def test_comparing_many_pictures_takes_little_memory() -> None:
    """A block of pairs is held at a time, not a row of the whole matrix."""
    signs = np.random.default_rng(0).choice(np.array([-1, 1], np.float32), (40_000, 63))
    tracemalloc.start()
    try:
        found = next(iter(near_duplicates._similar(signs)), None)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert found is not None
    assert peak < 100_000_000  # a row of blocks of 1,024 x 40,000 numbers takes 164 MB
