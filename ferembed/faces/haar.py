"""The detector "haar": OpenCV's cascades for frontal faces and for eyes; needs no framework."""

from __future__ import annotations

from functools import cache
from itertools import permutations
from pathlib import Path
from threading import Lock
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from ferembed.errors import MissingExtra
from ferembed.faces.face import DETECTORS, Face, Point
from ferembed.faces.scaled_photo import ScaledPhoto
from ferembed.images import Image

LONGEST_SIDE = 2048  # a larger photo is scaled down to this size
NEAR, BORDER = 160, 0.2  # a second copy, with a border, for faces that extend beyond the photo
SMALLEST_FACE = 24  # pixels, the window of the cascade
MIN_SCORE = 4.2  # detections below it are mostly textures
EYES_WIDTH = 240  # pixels; a face is scaled to this width to find its eyes
EYES_UNTIL = 0.55  # of the height of the face, from the top
EYE_SIZES = 0.15, 0.4  # of the width of the face
MAX_EYE_SLOPE = 0.7  # 35 degrees
_Eye: TypeAlias = tuple[float, float, float]  # x, y in widths of the face, and the confidence


class Haar:
    def __init__(self) -> None:
        self._cascade = _cascade("haarcascade_frontalface_default.xml")
        self._turn = Lock()  # a cascade is not thread-safe

    def __call__(self, photo: Image, min_face: float = 0) -> list[Face]:
        if min(photo.shape[:2]) < SMALLEST_FACE:
            return []
        longest = max(photo.shape[:2]) * SMALLEST_FACE / max(SMALLEST_FACE, min_face)
        faces = self._search(ScaledPhoto.from_photo(photo, min(LONGEST_SIDE, round(longest))), 0)
        for face in self._search(
            ScaledPhoto.from_photo(photo, NEAR, enlarge=True, border=BORDER), 0.35
        ):
            if all(face.overlap_of_smaller(other) < 0.5 for other in faces):
                faces.append(face)
        return sorted(faces, key=lambda face: -face.score)

    def _search(self, view: ScaledPhoto, smallest: float) -> list[Face]:
        """The faces of at least this share of the shorter side."""
        import cv2

        gray = cv2.cvtColor(view.pixels, cv2.COLOR_RGB2GRAY)
        if min(gray.shape) < SMALLEST_FACE:
            return []
        side = max(SMALLEST_FACE, round(min(gray.shape) * smallest))
        with self._turn:
            boxes, _, weights = self._cascade.detectMultiScale3(
                cv2.equalizeHist(gray),
                scaleFactor=1.1,
                minNeighbors=4,
                minSize=(side, side),
                outputRejectLevels=True,
            )
        # Large windows are fewer, so fewer of them look like a face by chance.
        scores = np.ravel(weights) + np.log2(np.reshape(boxes, (-1, 4))[:, 2] / SMALLEST_FACE)
        found = [
            view.face((x, y, x + w, y + h), score)
            for (x, y, w, h), score in zip(boxes, scores, strict=True)
            if score >= MIN_SCORE
        ]
        return [face for face in found if face]


class _Eyes:
    def __init__(self) -> None:
        names = ("haarcascade_eye.xml", "haarcascade_eye_tree_eyeglasses.xml")
        self._cascades = [_cascade(name) for name in names]
        self._turn = Lock()

    def __call__(self, photo: Image, box: tuple[int, int, int, int]) -> tuple[Point, ...]:
        import cv2

        height, width = photo.shape[:2]
        left, top, right = max(0, box[0]), max(0, box[1]), min(width, box[2])
        wide = right - left
        bottom = min(height, round(box[1] + EYES_UNTIL * (box[3] - box[1])), top + wide)
        if wide <= 0 or bottom <= top:
            return ()
        gray = cv2.cvtColor(photo[top:bottom, left:right], cv2.COLOR_RGB2GRAY)
        size = EYES_WIDTH, max(1, round((bottom - top) * EYES_WIDTH / wide))
        method = cv2.INTER_AREA if wide > EYES_WIDTH else cv2.INTER_LINEAR
        upper = np.asarray(cv2.resize(gray, size, interpolation=method), np.uint8)
        for cascade in self._cascades:
            pairs = permutations(self._search(cascade, upper), 2)
            likeness, pair = max(
                ((_likeness(*pair), pair) for pair in pairs), default=(-np.inf, ())
            )
            if likeness > -np.inf:
                return tuple((left + x * wide, top + y * wide) for x, y, _ in pair)
        return ()

    def _search(self, cascade: Any, gray: NDArray[np.uint8]) -> list[_Eye]:
        smallest, largest = (2 * (round(share * EYES_WIDTH),) for share in EYE_SIZES)
        with self._turn:
            boxes, _, weights = cascade.detectMultiScale3(
                gray, 1.05, 2, 0, smallest, largest, outputRejectLevels=True
            )
        return [
            ((x + w / 2) / EYES_WIDTH, (y + h / 2) / EYES_WIDTH, float(weight))
            for (x, y, w, h), weight in zip(boxes, np.ravel(weights), strict=True)
        ]


def _likeness(left: _Eye, right: _Eye) -> float:
    """A score for two eyes as a pair, left and right; -inf if they cannot be one."""
    across, down = right[0] - left[0], right[1] - left[1]
    apart = float(np.hypot(across, down))
    if not 0.3 < apart < 0.62 or abs(down) > MAX_EYE_SLOPE * across:
        return -np.inf
    unusual = (left[0] + right[0] - 1) ** 2 + (apart - 0.46) ** 2
    return left[2] + right[2] - 20 * unusual


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
    """The centers of the left and the right eye of a face; () unless both are found."""
    return _eyes()(photo, box)


DETECTORS.add("haar", cache(Haar))
