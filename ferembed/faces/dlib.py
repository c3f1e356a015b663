"""The detector "dlib": five gradient patterns of frontal faces, from the package dlib."""

from __future__ import annotations

import threading
from functools import cache
from importlib.util import find_spec

from ferembed.errors import MissingExtra
from ferembed.faces.face import DETECTORS, Face
from ferembed.faces.scaled_photo import ScaledPhoto
from ferembed.images import Image

LONGEST_SIDE = 1024  # a larger photo is scaled down to this size
SHORTEST_SIDE = 256  # a smaller one is scaled up to it: dlib finds faces from 80 pixels on
BORDER = 0.1  # of the longer side; without it a face that fills the photo is missed
SMALLEST_PHOTO = 8


class Dlib:
    def __init__(self) -> None:
        if find_spec("dlib") is None:
            raise MissingExtra(
                "The detector 'dlib' needs dlib. Run: pip install 'ferembed[dlib]', "
                "or choose another detector."
            )
        self._local = threading.local()  # a dlib detector is not thread-safe

    def __call__(self, photo: Image, min_face: float = 0) -> list[Face]:
        import cv2
        import dlib

        if min(photo.shape[:2]) < SMALLEST_PHOTO:
            return []
        longest = max(SHORTEST_SIDE, min(LONGEST_SIDE, max(photo.shape[:2])))
        view = ScaledPhoto.from_photo(photo, longest, enlarge=True, border=BORDER)
        if not hasattr(self._local, "detector"):
            self._local.detector = dlib.get_frontal_face_detector()
        boxes, scores, _ = self._local.detector.run(cv2.cvtColor(view.pixels, cv2.COLOR_RGB2GRAY))
        found = [
            view.face((box.left(), box.top(), box.right() + 1, box.bottom() + 1), score)
            for box, score in zip(boxes, scores, strict=True)
        ]
        return sorted((face for face in found if face), key=lambda face: -face.score)


DETECTORS.add("dlib", cache(Dlib))
