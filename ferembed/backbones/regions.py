"""regions: a network on both eyes, the mouth and 13 distances of a face; and `distances` alone.

They are located by landmarks. If no landmarks are found, the distances are all zero, and the
regions are cut at their median positions.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ferembed.backbones.backbone import Backbone
from ferembed.backbones.convert import import_keras
from ferembed.backbones.landmarks import LEFT_EYE, MESH, RIGHT_EYE, Landmarks, find_landmarks, turn
from ferembed.backbones.network import Network
from ferembed.backbones.preprocess import Preprocess
from ferembed.backbones.spec import BACKBONES, BackboneSpec, LoadRequest
from ferembed.errors import WeightsError
from ferembed.images import Image
from ferembed.storage.embeddings import Vectors

SIDE = 90  # pixels of a region
MOUTH = (61, 291, 0, 17)  # its corners, and the middles of the upper and of the lower edge
# Name, width in distances between the eyes, and the median center as a share of the face's side,
# measured on FER2013's training split.
REGIONS = (
    ("left_eye", 1.0, (0.31, 0.39)),
    ("right_eye", 1.0, (0.69, 0.39)),
    ("mouth", 1.2, (0.5, 0.775)),
)
# Each from the mean of some points to the mean of others, in distances between the eyes.
DISTANCES = {
    "left brow to eye": ((105, 52), (159,)),  # the middle of the brow, the upper lid
    "right brow to eye": ((334, 282), (386,)),
    "left brow's inner end to eye": ((107, 55), (133,)),
    "right brow's inner end to eye": ((336, 285), (362,)),
    "between the brows": ((107, 55), (336, 285)),
    "left eye's opening": ((159,), (145,)),
    "right eye's opening": ((386,), (374,)),
    "mouth's width": ((61,), (291,)),
    "upper to lower lip": ((13,), (14,)),  # their inner edges
    "left corner of the mouth to eye": ((61,), (33,)),
    "right corner of the mouth to eye": ((291,), (263,)),
    "nose to upper lip": ((2,), (0,)),
    "lower lip to chin": ((17,), (152,)),
}


@dataclass(frozen=True)
class Regions(Preprocess):
    """A face as one row: its three regions, scaled by `mean` and `scale`, and its distances."""

    size: int = 256  # pixels of the face, at which a region has about SIDE pixels
    mean: tuple[float, ...] = (128.0,)
    scale: float = 1 / 64

    @property
    def shape(self) -> tuple[int, ...]:
        return (len(REGIONS) * SIDE**2 + len(DISTANCES),)

    def __call__(self, faces: Iterable[Image]) -> NDArray[np.float32]:
        """(n, 24313) float32 from any number of RGB faces of any size."""
        rows = [self._row(self.pixels(face)[:, :, 0]) for face in faces]
        return np.stack(rows) if rows else np.empty((0, *self.shape), np.float32)

    def facts(self) -> dict[str, object]:
        return {**super().facts(), "landmarks": MESH.sha256}

    def _row(self, face: Image) -> NDArray[np.float32]:
        landmarks = find_landmarks(face)
        distances = measure(landmarks)
        if distances.any():
            middles = np.array([landmarks.middle(*part) for part in (LEFT_EYE, RIGHT_EYE, MOUTH)])
        else:
            middles = np.array([middle for *_, middle in REGIONS]) * self.size
        pictures = (_cut(face, middles).astype(np.float32) - self.mean) * self.scale
        return np.concatenate([pictures.ravel(), distances]).astype(np.float32)


def measure(landmarks: Landmarks) -> NDArray[np.float32]:
    """The 13 distances, in the order of DISTANCES; zeros if no landmarks were found."""
    apart = np.linalg.norm(landmarks.middle(*LEFT_EYE) - landmarks.middle(*RIGHT_EYE))
    if not landmarks.found or apart < 1:  # eyes at the same place are not a face
        return np.zeros(len(DISTANCES), np.float32)
    ways = [
        landmarks.middle(*here) - landmarks.middle(*there) for here, there in DISTANCES.values()
    ]
    return np.asarray(np.linalg.norm(ways, axis=1) / apart, np.float32)


def _cut(face: Image, middles: NDArray[Any]) -> NDArray[np.uint8]:
    """(3, 90, 90): the regions around their centers, rotated until the eyes are level."""
    import cv2

    across = middles[1] - middles[0]
    apart, level = np.hypot(*across), turn(-np.arctan2(across[1], across[0]))
    pictures = []
    for (_, width, _), middle in zip(REGIONS, middles, strict=True):
        linear = level * SIDE / (width * apart)
        matrix = np.column_stack([linear, (SIDE - 1) / 2 - linear @ middle])
        pictures.append(cv2.warpAffine(face, matrix, (SIDE, SIDE), borderMode=cv2.BORDER_REPLICATE))
    return np.stack(pictures).astype(np.uint8)


def build(classes: int = 7) -> Any:
    """The Keras model: a branch per region and one for the distances, joined before a softmax."""
    from ferembed.backbones.layers import BatchNorm

    keras = import_keras()
    layers = keras.layers
    face = keras.Input(Regions().shape, name="face")
    pixels = SIDE**2
    branches = []
    for i, (name, *_) in enumerate(REGIONS):
        x = layers.Reshape((SIDE, SIDE, 1), name=name)(face[:, i * pixels : (i + 1) * pixels])
        for k, (filters, size, strides) in enumerate(((16, 5, 2), (32, 3, 1), (64, 3, 1)), 1):
            x = layers.Conv2D(
                filters, size, strides, padding="same", activation="relu", name=f"{name}_conv{k}"
            )(x)
            x = layers.MaxPooling2D(2, name=f"{name}_pool{k}")(x)
        x = layers.Flatten(name=f"{name}_flatten")(x)
        branches.append(layers.Dense(64, activation="relu", name=f"{name}_dense")(x))
    x = BatchNorm(name="distances_norm", dtype="float32")(face[:, len(REGIONS) * pixels :])
    branches.append(layers.Dense(32, activation="relu", name="distances_dense")(x))
    x = layers.Concatenate(name="joined")(branches)
    x = layers.Dropout(0.5, name="drop")(x)
    shares = layers.Dense(classes, activation="softmax", dtype="float32", name="output")(x)
    return keras.Model(face, shares, name="regions")


class Distances(Backbone):
    """The distances alone, not scaled."""

    def __init__(self, request: LoadRequest) -> None:
        if request.weights is not None or request.preprocess is not None:
            raise WeightsError("distances takes neither weights nor preprocess. Leave both out.")
        super().__init__(request.spec.preprocess, request.dim)

    def forward(self, batch: Vectors) -> Vectors:
        return batch[:, -self.dim :]


BACKBONES.add(
    "regions",
    BackboneSpec(
        name="regions",
        summary="eyes, mouth and 13 distances, found by landmarks (ferembed[landmarks]); its "
        "authors report 90.8 % on posed faces",
        preprocess=Regions(),
        layers=(("joined", 224), ("output", 7)),
        load=Network.from_spec,
        build=build,
        classifier="output",
        parameters=380_123,
    ),
)
BACKBONES.add(
    "distances",
    BackboneSpec(
        name="distances",
        summary="13 distances in a face, in distances between the eyes, measured by landmarks",
        preprocess=Regions(),
        layers=(("distances", len(DISTANCES)),),
        load=Distances,
        parameters=0,
        weights=MESH,
    ),
)
