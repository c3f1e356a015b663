"""The detector "mtcnn": three small networks in a row, which also find eyes, nose and mouth.

They run on OpenVINO where it is installed, without importing TensorFlow; otherwise the mtcnn
package runs them. Boxes and landmarks are the same. It finds faces of at least 20 pixels in a photo
of up to 2,048, and otherwise one face that fills the photo.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import cache
from threading import Lock

import numpy as np

from ferembed.faces.face import DETECTORS, Face
from ferembed.faces.mtcnn_openvino import OUTPUT, PROPOSE, REFINE, SMALLEST_FACE, Boxes, Cascade
from ferembed.faces.scaled_photo import ScaledPhoto
from ferembed.images import Image
from ferembed.inference.engines import choose_engine

LONGEST_SIDE = 2048  # a larger photo is scaled down to this size
NEAR, BORDER = 160, 0.3  # a second copy, with a border, for faces that extend beyond the photo
SMALLEST_PHOTO = 21  # on smaller ones the package finds nothing or fails
Search = Callable[[Image], Boxes]  # -> (n, 15): boxes, then five x and five y


class Mtcnn:
    def __init__(self) -> None:
        fast = choose_engine("auto") == "openvino"
        self._search: Search = Cascade() if fast else _package()

    def __call__(self, photo: Image, min_face: float = 0) -> list[Face]:
        longest = max(photo.shape[:2]) * SMALLEST_FACE / max(SMALLEST_FACE, min_face)
        whole = ScaledPhoto.from_photo(photo, min(LONGEST_SIDE, round(longest)))
        return self._faces(whole) or self._faces(ScaledPhoto.from_photo(photo, NEAR, border=BORDER))

    def _faces(self, view: ScaledPhoto) -> list[Face]:
        if min(view.pixels.shape[:2]) < SMALLEST_PHOTO:
            return []
        found = [
            view.face(row[:4], row[4], zip(row[5:10], row[10:15], strict=True))
            for row in self._search(view.pixels).tolist()
        ]
        return sorted((face for face in found if face), key=lambda face: -face.score)


def _package() -> Search:
    """The search of the mtcnn package, on TensorFlow."""
    for weights in (PROPOSE, REFINE, OUTPUT):
        weights.path()
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    from mtcnn import MTCNN

    networks, turn = MTCNN(), Lock()

    def search(photo: Image) -> Boxes:
        with turn:
            rows = networks.detect_faces(photo, output_type="numpy", box_format="xyxy")
        return np.asarray(rows, np.float64)[:, 1:]

    return search


DETECTORS.add("mtcnn", cache(Mtcnn))
