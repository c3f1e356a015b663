"""haar: OpenCV's cascades for frontal faces, and for the eyes in them; no framework is needed."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np

from ferembed.errors import MissingExtra
from ferembed.faces.face import DETECTORS, Face
from ferembed.images import Image

LONGEST_SIDE = 1024  # a larger photo is searched on a copy of this size
SMALLEST_FACE = 24
EYES_WIDTH = 160  # pixels that a face is brought to before its eyes are looked for
Point = tuple[float, float]
_TO_GRAY = 7  # cv2.COLOR_RGB2GRAY


class Haar:
    def __init__(self) -> None:
        self._cascade = _cascade("haarcascade_frontalface_default.xml")
        self._turn = Lock()  # a cascade serves one caller at a time

    def __call__(self, photo: Image) -> list[Face]:
        import cv2

        gray = cv2.cvtColor(photo, cv2.COLOR_RGB2GRAY)
        height, width = gray.shape
        shrink = min(1.0, LONGEST_SIDE / max(height, width))
        if shrink < 1:
            size = max(1, round(width * shrink)), max(1, round(height * shrink))
            gray = cv2.resize(gray, size, interpolation=cv2.INTER_AREA)
        if min(gray.shape) < SMALLEST_FACE:
            return []
        smallest = max(SMALLEST_FACE, min(gray.shape) // 20)
        with self._turn:
            boxes, _, weights = self._cascade.detectMultiScale3(
                cv2.equalizeHist(gray),
                scaleFactor=1.1,
                minNeighbors=5,
                minSize=(smallest, smallest),
                outputRejectLevels=True,
            )
        faces = []
        for (x, y, w, h), weight in zip(boxes, np.ravel(weights), strict=True):
            x1, y1 = round(x / shrink), round(y / shrink)
            x2, y2 = min(width, round((x + w) / shrink)), min(height, round((y + h) / shrink))
            faces.append(Face((x1, y1, x2, y2), float(weight)))
        return sorted(faces, key=lambda face: -face.score)


class _Eyes:
    def __init__(self) -> None:
        self._cascade = _cascade("haarcascade_eye.xml")
        self._turn = Lock()

    def __call__(self, photo: Image, box: tuple[int, int, int, int]) -> tuple[Point, ...]:
        import cv2

        x1, y1, x2, y2 = box
        upper = cv2.cvtColor(photo[max(0, y1) : (y1 + y2) // 2 + 1, max(0, x1) : x2], _TO_GRAY)
        scale = EYES_WIDTH / upper.shape[1]
        size = EYES_WIDTH, max(1, round(upper.shape[0] * scale))
        upper = cv2.equalizeHist(np.asarray(cv2.resize(upper, size), np.uint8))
        with self._turn:
            found, _, weights = self._cascade.detectMultiScale3(
                upper, scaleFactor=1.05, minNeighbors=3, outputRejectLevels=True
            )
        sides: dict[bool, tuple[float, Point]] = {}
        for (x, y, w, h), weight in zip(found, np.ravel(weights), strict=True):
            point = (x + w / 2) / scale + max(0, x1), (y + h / 2) / scale + max(0, y1)
            right = x + w / 2 > EYES_WIDTH / 2
            if right not in sides or sides[right][0] < weight:
                sides[right] = float(weight), point
        return (sides[False][1], sides[True][1]) if len(sides) == 2 else ()


def _cascade(file: str) -> Any:
    import cv2

    if not hasattr(cv2, "CascadeClassifier"):
        raise MissingExtra(
            f"OpenCV {cv2.__version__} has no CascadeClassifier. "
            "Run: pip install 'opencv-python<5', or choose another detector."
        )
    return cv2.CascadeClassifier(str(Path(cv2.__file__).parent / "data" / file))


_eyes = cache(_Eyes)


def find_eyes(photo: Image, box: tuple[int, int, int, int]) -> tuple[Point, ...]:
    """The middles of the left and the right eye of the face in the box; () unless both are seen."""
    return _eyes()(photo, box)


DETECTORS.add("haar", cache(Haar))
