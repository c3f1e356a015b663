"""haar: OpenCV's cascade for frontal faces. It comes with OpenCV and needs no framework."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from threading import Lock

import numpy as np

from ferembed.errors import MissingExtra
from ferembed.faces.face import DETECTORS, Face
from ferembed.images import Image

LONGEST_SIDE = 1024  # a larger photo is searched on a copy of this size
SMALLEST_FACE = 24


class Haar:
    def __init__(self) -> None:
        import cv2

        if not hasattr(cv2, "CascadeClassifier"):
            raise MissingExtra(
                f"OpenCV {cv2.__version__} has no CascadeClassifier. "
                "Run: pip install 'opencv-python<5', or choose another detector."
            )
        model = Path(cv2.__file__).parent / "data" / "haarcascade_frontalface_default.xml"
        self._cascade = cv2.CascadeClassifier(str(model))
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


DETECTORS.add("haar", cache(Haar))
