"""Small videos of people: the portrait, moved over a plain ground."""

from __future__ import annotations

import csv
from collections.abc import Iterable
from pathlib import Path

import cv2
import numpy as np

from ferembed.images import Image, load_image
from ferembed.media.demo import photo
from ferembed.media.video import open_video


def person(side: int = 100) -> Image:
    """The portrait's head, so many pixels wide and high."""
    head = load_image(photo())[60:380, 100:420]
    return np.asarray(cv2.resize(head, (side, side), interpolation=cv2.INTER_AREA), np.uint8)


def scene(*places: int, size: tuple[int, int] = (160, 120), head: Image | None = None) -> Image:
    """A frame with a head at each of these distances from the left, the second one mirrored."""
    frame = np.full((size[1], size[0], 3), (100, 120, 90), np.uint8)
    head = person() if head is None else head
    for number, x in enumerate(places):
        top, side = (size[1] - head.shape[0]) // 2, head.shape[1]
        frame[top : top + side, x : x + side] = head[:, ::-1] if number % 2 else head
    return frame


def walk(count: int = 20, step: int = 2) -> list[Image]:
    """Someone who walks from left to right."""
    return [scene(4 + step * i) for i in range(count)]


def write(path: Path, frames: Iterable[Image], fps: float = 20.0) -> Path:
    """A video of the frames: .mp4, or .avi, which can be read up to where it is cut off."""
    code = cv2.VideoWriter_fourcc(*("MJPG" if path.suffix == ".avi" else "mp4v"))
    writer = None
    for frame in frames:
        if writer is None:
            size = frame.shape[1], frame.shape[0]
            writer = cv2.VideoWriter(str(path), cv2.CAP_FFMPEG, code, fps, size)
            assert writer.isOpened()
        writer.write(cv2.cvtColor(frame, cv2.COLOR_RGB2BGR))
    assert writer is not None
    writer.release()
    return path


def cut_off(path: Path, target: Path, share: float = 0.6) -> Path:
    """A copy of the file without its end."""
    content = path.read_bytes()
    target.write_bytes(content[: int(share * len(content))])
    return target


def rows(path):
    """The rows of a CSV."""
    with open(path, newline="") as file:
        return list(csv.DictReader(file))


def frames_of(path):
    """The frames of a video."""
    with open_video(path) as opened:
        return list(opened.frames())
