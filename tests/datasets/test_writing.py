"""A data set is written whole or not at all, and reads back as it was."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from ferembed import datasets
from ferembed.datasets import Dataset
from ferembed.errors import DataError, ImageError
from ferembed.images import load_image
from tests.helpers.datasets import fer_row, png, value, write_fer, write_tree


@pytest.fixture
def parts(faces: np.ndarray, labels: np.ndarray) -> Dataset:
    return datasets.split(
        Dataset.from_images(faces, labels), {"train": 50, "validation": 25, "test": 25}
    )


def content(dataset: Dataset) -> Counter[tuple[str, str, bytes]]:
    return Counter((label, split, load_image(image).tobytes()) for image, label, split in dataset)


def test_class_folders_read_back_as_they_were(parts: Dataset, tmp_path: Path) -> None:
    augmented = datasets.mirror(datasets.balance(parts, 6))
    out = datasets.write(augmented, tmp_path / "out")
    back = datasets.open(out)
    assert content(back) == content(augmented)
    assert back.provenance[:-1] == augmented.provenance
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out"]
    with pytest.raises(DataError, match="has augmented pictures"):  # it remembers
        datasets.split(back, {"train": 50, "test": 50}, resplit=True)


def test_a_csv_reads_back_as_it_was(parts: Dataset, tmp_path: Path) -> None:
    out = datasets.write(parts, tmp_path / "fer.csv")
    assert out.read_text().splitlines()[0] == "emotion,pixels,Usage"
    back = datasets.open(out)
    assert content(back) == content(parts)
    assert back.provenance[:-1] == parts.provenance
    assert sorted(path.name for path in tmp_path.iterdir()) == ["fer.csv", "fer.provenance.json"]


def test_files_are_copied_byte_for_byte_under_their_names(tmp_path: Path) -> None:
    tree = write_tree(tmp_path / "in", ["train/happy/a.png", "test/happy/PublicTest_1.png"])
    faces = datasets.split(datasets.open(tree), {"test": 100}, resplit=True)
    out = datasets.write(faces, tmp_path / "out")
    assert (out / "test/happy/a.png").read_bytes() == png(0)
    # FER2013's file names tell a split, but not against what was written.
    assert datasets.open(out).splits.tolist() == ["test", "test"]


def test_brackets_in_names_stay_but_those_of_changed_copies_go(tmp_path: Path) -> None:
    names = [f"set (old)/train/happy/{name}.png" for name in ("img (1)", "img")]
    tree = write_tree(tmp_path / "in", names)
    written = datasets.write(datasets.mirror(datasets.open(tree)), tmp_path / "out")
    found = sorted(path.name for path in written.rglob("*.png"))
    assert found == ["img-1-2.png", "img-1.png", "img-2.png", "img.png"]


def test_names_that_differ_only_in_case_stay_apart_on_every_disk(tmp_path: Path) -> None:
    tree = write_tree(tmp_path / "in", ["one/happy/a.png", "two/happy/A.png", "three/joy/a.PNG"])
    out = datasets.write(datasets.open(tree), tmp_path / "out")
    names = [path.name for path in (out / "happy").iterdir()]
    assert sorted(names) == ["A-3.png", "a-2.PNG", "a.png"]
    assert sorted(value(image) for image in datasets.open(out).images) == [0, 1, 2]


def test_colour_and_other_sizes_become_gray_48_in_a_csv(tmp_path: Path) -> None:
    red = np.zeros((1, 96, 64, 3), np.uint8)
    red[..., 0] = 255
    out = datasets.write(Dataset.from_images(red, ["sad"]), tmp_path / "x.csv")
    pixels = load_image(datasets.open(out).images[0])
    assert pixels.shape == (48, 48, 3)
    assert set(np.unique(pixels)) == {76}  # the luma of red
    assert out.read_text().splitlines()[0] == "emotion,pixels"


def test_data_sets_that_cannot_be_written_are_refused(tmp_path: Path, parts: Dataset) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine.txt").write_text("mine")
    with pytest.raises(DataError, match=r"out exists already. Delete it, or choose another name."):
        datasets.write(parts, tmp_path / "out")
    with pytest.raises(DataError, match="has no pictures; there is nothing to write"):
        datasets.write(parts.select([]), tmp_path / "empty")
    contempt = Dataset.from_images(np.zeros((1, 4, 4), np.uint8), ["contempt"])
    with pytest.raises(DataError, match="numbers for the seven expressions, and none for contempt"):
        datasets.write(contempt, tmp_path / "x.csv")
    with pytest.raises(DataError, match=r"The label '../sad' cannot be the name of a folder. Map"):
        datasets.write(
            Dataset.from_images(np.zeros((1, 4, 4), np.uint8), ["../sad"]), tmp_path / "x"
        )
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out"]


@pytest.mark.parametrize("out", ["out", "out.csv"])
def test_an_interrupted_call_resumes(tmp_path: Path, out: str) -> None:
    names = [f"train/sad/{number:02}.png" for number in range(40)]
    faces = datasets.open(write_tree(tmp_path / "in", names))
    broken = tmp_path / "in" / names[25]
    broken.rename(tmp_path / "aside")
    with pytest.raises(ImageError, match="25.png"):
        datasets.write(faces, tmp_path / out)
    assert not (tmp_path / out).exists()
    (tmp_path / "aside").rename(broken)
    part = tmp_path / f"{out}.part"
    if out == "out":
        done = {path: path.stat().st_mtime_ns for path in part.rglob("*.png")}
        assert len(done) == 25
    else:
        with (part / "rows.csv").open("ab") as file:
            file.write(b"4,12 13")  # a row that was being written
    (tmp_path / "in" / names[0]).write_bytes(png(200))  # changed since: what is done stays done
    datasets.write(faces, tmp_path / out)
    back = datasets.open(tmp_path / out)
    assert sorted(value(image) for image in back.images) == list(range(40))
    assert not part.exists()


def test_another_data_set_does_not_go_on_from_it(tmp_path: Path, parts: Dataset) -> None:
    (tmp_path / "out.part").mkdir()
    (tmp_path / "out.part" / "plan.txt").write_bytes(b"something else \xff")
    with pytest.raises(DataError, match=r"out.part holds a part of another data set. Delete"):
        datasets.write(parts, tmp_path / "out")


@pytest.mark.parametrize("out", ["out", "out.csv"])
def test_arrays_of_equal_names_are_not_taken_for_one_another(tmp_path: Path, out: str) -> None:
    def given(tone: int) -> Dataset:
        array = np.full((48, 48), tone, np.uint8)
        return Dataset.from_images(
            [array, array, str(tmp_path / "late.png")], ["happy", "sad", "sad"]
        )

    with pytest.raises(ImageError, match=r"late.png"):
        datasets.write(given(10), tmp_path / out)
    (tmp_path / "late.png").write_bytes(png(10))
    with pytest.raises(DataError, match="holds a part of another data set"):
        datasets.write(given(200), tmp_path / out)
    datasets.write(given(10), tmp_path / out)
    back = datasets.open(tmp_path / out)
    assert [value(image) for image in back.images] == [10] * 3


def test_a_path_is_copied_under_its_own_ending(tmp_path: Path) -> None:
    photo = tmp_path / "a.jpg"
    photo.write_bytes(png(90))  # as many are called
    datasets.write(Dataset.from_images([photo, photo], ["happy", "sad"]), tmp_path / "out")
    written = tmp_path / "out" / "happy" / "a.jpg"
    assert written.read_bytes() == photo.read_bytes()


def test_a_csv_keeps_what_is_in_no_split(tmp_path: Path) -> None:
    faces = np.zeros((4, 48, 48), np.uint8)
    given = Dataset.from_images(faces, ["happy"] * 4, ["train", "unsplit", "validation", "test"])
    datasets.write(given, tmp_path / "faces.csv")
    assert datasets.open(tmp_path / "faces.csv").splits.tolist() == given.splits.tolist()


@pytest.mark.slow
def test_a_killed_call_leaves_nothing_under_the_final_name(tmp_path: Path) -> None:
    rows = [fer_row(number % 7, number % 256) for number in range(1500)]
    path = write_fer(tmp_path / "fer2013.csv", rows)
    program = (
        "import sys; from ferembed import datasets; "
        "datasets.write(datasets.open(sys.argv[1]), sys.argv[2])"
    )
    out = tmp_path / "out"
    command = [sys.executable, "-c", program, str(path), str(out)]
    running = subprocess.Popen(command)
    part = tmp_path / "out.part"
    deadline = time.time() + 60
    while len(list(part.rglob("*.png"))) < 50:
        assert running.poll() is None
        assert time.time() < deadline
    os.kill(running.pid, signal.SIGKILL)
    running.wait()
    assert not out.exists()
    done = {path: path.stat().st_mtime_ns for path in part.rglob("*.png")}
    assert 50 <= len(done) < 1500
    datasets.write(datasets.open(path), out)
    back = datasets.open(out)
    assert content(back) == content(datasets.open(path))
    for path, when in done.items():
        assert (out / path.relative_to(part)).stat().st_mtime_ns == when


def test_a_file_has_its_name_only_when_it_is_whole(
    tmp_path: Path, parts: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    named = os.replace

    def stop_at_the_third(source: Path, target: Path) -> None:
        if len(list((tmp_path / "out.part").rglob("*.png"))) == 3:
            raise KeyboardInterrupt
        named(source, target)

    monkeypatch.setattr(os, "replace", stop_at_the_third)
    with pytest.raises(KeyboardInterrupt):
        datasets.write(parts, tmp_path / "out")
    monkeypatch.undo()
    assert len(list((tmp_path / "out.part").rglob("*.png"))) == 3
    assert content(datasets.open(datasets.write(parts, tmp_path / "out"))) == content(parts)


def test_progress_is_reported(tmp_path: Path, parts: Dataset) -> None:
    seen: list[tuple[int, int | None]] = []
    datasets.write(parts, tmp_path / "out", progress=lambda done, all: seen.append((done, all)))
    assert seen[-1] == (24, 24)


@pytest.mark.parametrize("name", ["out", "out.csv"])
def test_an_interruption_before_the_last_step_is_completed_by_the_next_call(
    tmp_path: Path, parts: Dataset, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    import ferembed.datasets.writing as module

    def stop(out: Path, part: Path) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(module, "_clean_up", stop)
    with pytest.raises(KeyboardInterrupt):
        datasets.write(parts, tmp_path / name)
    monkeypatch.undo()
    assert datasets.write(parts, tmp_path / name) == tmp_path / name
    assert len(datasets.open(tmp_path / name)) == len(parts)
    left = [path.name for path in tmp_path.rglob("*")]
    assert not {"plan.txt", ".lock", f"{name}.part"}.intersection(left)
    with pytest.raises(DataError, match="exists already"):
        datasets.write(parts, tmp_path / name)


def test_an_interruption_before_the_move_is_completed_by_the_next_call(
    tmp_path: Path, parts: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    named = os.replace

    def stop(source: Path, target: Path) -> None:
        if target == tmp_path / "out":
            raise KeyboardInterrupt
        named(source, target)

    monkeypatch.setattr(os, "replace", stop)
    with pytest.raises(KeyboardInterrupt):
        datasets.write(parts, tmp_path / "out")
    monkeypatch.undo()
    datasets.write(parts, tmp_path / "out")
    assert len(datasets.open(tmp_path / "out")) == len(parts)
    assert not (tmp_path / "out.part").exists()
