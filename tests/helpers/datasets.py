"""Data sets of every format, made for tests, and the checks that they are read or refused."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

import cv2
import numpy as np
import PIL.Image
import pytest

from ferembed import datasets
from ferembed.errors import DataError
from ferembed.images import load_image

FER_HEAD = "emotion,pixels,Usage"


def png(value: int, side: int = 48) -> bytes:
    """A picture like no other with a different value."""
    pixels = np.full((side, side), 128, np.uint8)
    pixels[: side // 2] = value
    content = io.BytesIO()
    PIL.Image.fromarray(pixels).save(content, "PNG")
    return content.getvalue()


def value(source: object) -> int:
    return int(load_image(source)[0, 0, 0])  # type: ignore[arg-type]


def write_tree(root: Path, names: list[str]) -> Path:
    """Pictures under these names, the n-th of value n."""
    for number, name in enumerate(names):
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(png(number) if not name.endswith(".txt") else b"read me")
    return root


def zip_tree(path: Path, names: list[str], compression: int = zipfile.ZIP_STORED) -> Path:
    with zipfile.ZipFile(path, "w", compression) as file:
        for number, name in enumerate(names):
            file.writestr(name, png(number))
    return path


def fer_row(label: int | str, number: int, usage: str = "Training", side: int = 48) -> str:
    return f"{label},{' '.join([str(number)] * (side * side))},{usage}"


def write_fer(path: Path, rows: list[str], head: str = FER_HEAD, end: str = "\n") -> Path:
    path.write_bytes(end.join([head, *rows, ""]).encode())
    return path


TREE = ["train/angry/a.png", "train/happy/b.png", "test/happy/c.png"]


def names_csv(root: Path, text: str, pictures: list[str]) -> Path:
    write_tree(root, pictures)
    (root / "legend.csv").write_text(text, encoding="utf-8")
    return root / "legend.csv"


PLUS_HEAD = (
    "Usage,Image name,neutral,happiness,surprise,sadness,anger,disgust,fear,contempt,unknown,NF"
)


PLUS_ROWS = [
    "Training,fer0000000.png,6,0,0,1,3,0,0,0,0,0",  # the single vote for sadness is a slip
    "Training,fer0000001.png,5,5,0,0,0,0,0,0,0,0",  # no majority
    "Training,,0,0,0,0,0,0,0,0,0,10",  # not a face
    "PublicTest,fer0000003.png,0,0,0,2,0,0,0,0,8,0",  # unknown
    "PublicTest,fer0000004.png,0,0,0,2,0,0,0,8,0,0",  # contempt
    "PublicTest,fer0000005.png,1,1,1,1,1,1,1,1,1,1",  # ten slips
    "PrivateTest,fer0000006.png,0,0,4,0,0,0,6,0,0,0",
]


def ferplus(root: Path, rows: list[str] = PLUS_ROWS) -> Path:
    usages = [row.split(",")[0] for row in rows]
    write_fer(root / "fer2013.csv", [fer_row(6, n, usage) for n, usage in enumerate(usages)])
    (root / "fer2013new.csv").write_text("\n".join([PLUS_HEAD, *rows, ""]))
    return root / "fer2013new.csv"


HINT = ' Fix it, or skip bad entries with on_bad="skip", on the command line --skip-bad.'


def refuses(path: Path, message: str) -> None:
    with pytest.raises(DataError) as error:
        datasets.open(path)
    assert str(error.value) == message


def skips(path: Path, kind: str, first: str, left: int) -> datasets.Dataset:
    faces = datasets.open(path, on_bad="skip")
    assert len(faces) == left
    assert f"  skipped 1: {kind}, first {first}" in str(faces).splitlines()
    assert f"  skipped 1: {kind}, first {first}" in datasets.describe(faces).table().splitlines()
    return faces


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
