"""Folders: classes and splits are found, and files that cannot be used are counted."""

from __future__ import annotations

import os
import tracemalloc
import zipfile
from pathlib import Path

import pytest

from ferembed import datasets
from ferembed.errors import DataError
from tests.conftest import too_deep
from tests.helpers.datasets import (
    HINT,
    TREE,
    png,
    refuses,
    skips,
    value,
    write_tree,
    zip_tree,
)


def test_class_folders_give_labels_and_splits(tmp_path: Path) -> None:
    faces = datasets.open(write_tree(tmp_path, TREE))
    assert faces.labels.tolist() == ["happy", "angry", "happy"]
    assert faces.splits.tolist() == ["test", "train", "train"]
    assert faces.classes == ("angry", "happy")
    assert [value(image) for image in faces.images] == [2, 0, 1]
    assert str(faces.images[1]) == str(tmp_path / "train/angry/a.png")
    assert faces.provenance[-1]["format"] == "class folders in a folder"
    assert str(faces).splitlines()[0] == "3 pictures, 2 classes, train 2, test 1"


@pytest.mark.parametrize(
    ("name", "label", "split"),
    [
        ("alegría/x.jpg", "happy", "unsplit"),
        ("images/train/sad/x.png", "sad", "train"),
        ("images/validation/sad/x.bmp", "sad", "validation"),
        ("archive/fer2013/test/fear/x.webp", "fear", "test"),
        ("fear/val/x.gif", "fear", "validation"),
        ("test/fear/PublicTest_12.jpg", "fear", "validation"),
        ("test/fear/PrivateTest_12.jpg", "fear", "test"),
        ("test/fear/Training_12.jpg", "fear", "test"),
        ("train/fear/PublicTest_12.jpg", "fear", "train"),
        ("fear/Training_12.jpg", "fear", "train"),
        ("test/fear/PublicTest_face.jpg", "fear", "test"),
    ],
)
@pytest.mark.parametrize("zipped", [False, True])
def test_one_level_or_two_with_or_without_a_folder_around(
    tmp_path: Path, name: str, label: str, split: str, zipped: bool
) -> None:
    path = zip_tree(tmp_path / "x.zip", [name]) if zipped else write_tree(tmp_path / "x", [name])
    faces = datasets.open(path)
    assert (faces.labels.tolist(), faces.splits.tolist()) == ([label], [split])


def test_files_that_are_no_pictures_are_counted(tmp_path: Path) -> None:
    names = [*TREE, "readme.txt", ".hidden.png", ".git/happy/a.png", "__MACOSX/happy/b.png"]
    faces = datasets.open(write_tree(tmp_path, names))
    assert len(faces) == 3
    assert "  skipped 1: files that are not pictures (.txt), first readme.txt" in str(faces)
    assert faces.provenance[-1]["skipped"]["hidden files"]["count"] == 3


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs pipes with names")
def test_pipes_are_not_waited_for(tmp_path: Path) -> None:
    write_tree(tmp_path, TREE)
    os.mkfifo(tmp_path / "labels.csv")
    faces = datasets.open(tmp_path)
    assert faces.provenance[-1]["skipped"]["pipes and devices"]["first"] == "labels.csv"
    os.mkfifo(tmp_path / "train" / "happy" / "pipe.png")
    assert datasets.describe(datasets.open(tmp_path)).unreadable == 1
    with pytest.raises(DataError, match=r"labels\.csv is a pipe or a device"):
        datasets.open(tmp_path / "labels.csv")


def test_a_link_that_leads_back_up_is_not_followed(tmp_path: Path) -> None:
    write_tree(tmp_path, TREE)
    (tmp_path / "train" / "again").symlink_to(tmp_path)
    assert len(datasets.open(tmp_path)) == 3


@pytest.mark.slow
def test_listing_takes_little_memory_for_each_picture(tmp_path: Path) -> None:
    count = 40_000
    path = tmp_path / "x.zip"
    with zipfile.ZipFile(path, "w") as file:
        for number in range(count):
            file.writestr(f"train/happy/Training_{number:08}.jpg", b"")
    seen: list[tuple[int, int | None]] = []
    tracemalloc.start()
    faces = datasets.open(path, progress=lambda done, total: seen.append((done, total)))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert len(faces) == count
    assert peak / count < 180  # bytes; the standard library's own listing takes over 600
    assert seen[0] == (1000, None)
    assert seen[-1] == (count, count)


def test_a_file_that_may_not_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied", "secret")

    monkeypatch.setattr("os.scandir", refuse)
    refuses(tmp_path, f"{tmp_path} cannot be read: [Errno 13] Permission denied: 'secret'.")


def test_an_empty_class_folder_is_counted(tmp_path: Path) -> None:
    write_tree(tmp_path, ["train/happy/a.png"])
    (tmp_path / "train/disgust").mkdir()
    skips(tmp_path, "empty folders", "train/disgust", left=1)
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as file:
        for folder in ("train/disgust/", "train/happy/"):
            file.writestr(folder, "")
        file.writestr("train/happy/a.png", png(0))
    faces = datasets.open(tmp_path / "x.zip")
    assert faces.provenance[-1]["skipped"]["empty folders"]["count"] == 1


@pytest.mark.parametrize("zipped", [False, True])
def test_two_files_with_one_name_in_different_case_are_both_read_and_noted(
    tmp_path: Path, zipped: bool
) -> None:
    names = ["happy/a.png", "happy/A.png", "Happy/a.PNG", "sad/b.png"]
    path = zip_tree(tmp_path / "x.zip", names) if zipped else write_tree(tmp_path / "x", names)
    faces = datasets.open(path)
    assert sorted(value(image) for image in faces.images) == [0, 1, 2, 3]
    assert "  noted 2: names that differ only in case, first " in str(faces)


def test_a_picture_in_no_class_folder(tmp_path: Path) -> None:
    path = write_tree(tmp_path, ["train/happy/a.png", "train/b.png"])
    problem = f"{path}/train/b.png is in no class folder, and no CSV gives its label"
    refuses(path, f"{problem}.{HINT}")
    skips(path, "pictures in no class folder", problem, left=1)


def test_a_folder_that_cannot_be_read(tmp_path: Path) -> None:
    write_tree(tmp_path, ["happy/1.png", "sad/2.png"])
    too_deep(tmp_path)
    with pytest.raises(DataError, match=r"The folder .*d cannot be read: File name too long. Fix"):
        datasets.open(tmp_path)
    faces = datasets.open(tmp_path, on_bad="skip")
    assert len(faces) == 2
    assert "skipped 1: folders that cannot be read" in datasets.describe(faces).table()
