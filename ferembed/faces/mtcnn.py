"""mtcnn: three small networks in a row, with eyes, nose and mouth; from the mtcnn package."""

from __future__ import annotations

import os
from functools import cache
from threading import Lock

from ferembed.faces.face import DETECTORS, Face
from ferembed.images import Image

SMALLEST_FACE = 20  # the package fails on pictures smaller than the faces it looks for
_POINTS = ("left_eye", "right_eye", "nose", "mouth_left", "mouth_right")


class Mtcnn:
    def __init__(self) -> None:
        os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
        from mtcnn import MTCNN

        self._networks = MTCNN()
        self._turn = Lock()

    def __call__(self, photo: Image) -> list[Face]:
        height, width = photo.shape[:2]
        if min(height, width) < SMALLEST_FACE:
            return []
        with self._turn:
            answers = self._networks.detect_faces(photo)
        faces = []
        for found in answers:
            x, y, w, h = found["box"]
            box = max(0, x), max(0, y), min(width, x + w), min(height, y + h)
            points = tuple(
                (float(found["keypoints"][point][0]), float(found["keypoints"][point][1]))
                for point in _POINTS
            )
            faces.append(Face(tuple(map(int, box)), float(found["confidence"]), points))  # type: ignore[arg-type]
        return sorted(faces, key=lambda face: -face.score)


DETECTORS.add("mtcnn", cache(Mtcnn))
