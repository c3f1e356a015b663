"""Face: where a face is in a photo; FaceDetector: whatever finds them; crop: the face, cut out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from ferembed.images import Image
from ferembed.registry import Registry


@dataclass(frozen=True)
class Face:
    """A face in a photo. The box is (x1, y1, x2, y2) in the photo's pixels."""

    box: tuple[int, int, int, int]
    score: float
    landmarks: tuple[tuple[float, float], ...] | None = None  # eyes, nose, mouth corners


class FaceDetector(Protocol):
    """Finds the faces in a photo; none is an empty list, and the best comes first."""

    def __call__(self, photo: Image) -> list[Face]: ...


DETECTORS: Registry[Callable[[], FaceDetector]] = Registry("detector")


def crop(photo: Image, face: Face, margin: float = 0.0) -> Image:
    """The square around the face, its side the box's longer one and `margin` of it more.

    What lies outside the photo repeats the photo's edge.
    """
    x1, y1, x2, y2 = face.box
    side = max(1, round(max(x2 - x1, y2 - y1) * (1 + margin)))
    left, top = round((x1 + x2 - side) / 2), round((y1 + y2 - side) / 2)
    height, width = photo.shape[:2]
    rows = np.clip(np.arange(top, top + side), 0, height - 1)
    columns = np.clip(np.arange(left, left + side), 0, width - 1)
    return photo[rows[:, None], columns]
