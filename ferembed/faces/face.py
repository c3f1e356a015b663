"""Face: the place of a face in a photo; FaceDetector: the interface of face detectors."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Protocol, TypeAlias

from ferembed.images import Image
from ferembed.registry import Registry

Point: TypeAlias = tuple[float, float]


@dataclass(frozen=True)
class Face:
    """A face in a photo. The box is (x1, y1, x2, y2) in the photo's pixels.

    The landmarks are points (x, y): left eye, right eye, nose, left and right corner of the mouth,
    left and right as the viewer sees them. `found` is False if it is the whole picture, a fallback.
    `detector` is the name of the detector that found it.
    """

    box: tuple[int, int, int, int]
    score: float
    landmarks: tuple[Point, ...] | None = None
    found: bool = True
    detector: str = ""

    @classmethod
    def clipped_to(
        cls,
        size: tuple[int, int],
        box: tuple[float, float, float, float],
        score: float,
        landmarks: tuple[Point, ...] | None = None,
    ) -> Face | None:
        """The face, its box clipped to a photo of this width and height; None if it is outside."""
        x1, y1, x2, y2 = (
            max(0, min(round(value), side)) for value, side in zip(box, 2 * size, strict=True)
        )
        if x1 >= x2 or y1 >= y2:
            return None
        return cls((x1, y1, x2, y2), float(score), landmarks)

    def overlap_of_smaller(self, other: Face) -> float:
        """The intersection of two boxes as a share of the smaller one, from 0 to 1."""
        (a1, b1, a2, b2), (x1, y1, x2, y2) = self.box, other.box
        wide, high = min(a2, x2) - max(a1, x1), min(b2, y2) - max(b1, y1)
        smaller = min((a2 - a1) * (b2 - b1), (x2 - x1) * (y2 - y1))
        return max(0, wide) * max(0, high) / smaller

    def scaled(self, factor: float, size: tuple[int, int]) -> Face:
        """The same face in the photo scaled by a factor to this width and height."""
        if factor == 1:
            return self
        x1, y1, x2, y2 = (
            min(round(value * factor), side) for value, side in zip(self.box, 2 * size, strict=True)
        )
        points = self.landmarks and tuple((x * factor, y * factor) for x, y in self.landmarks)
        return replace(self, box=(x1, y1, x2, y2), landmarks=points)


class FaceDetector(Protocol):
    """Finds the faces in a photo, the most confident first; [] if there is none.

    Faces of less than `min_face` pixels may be left out, if that makes the search faster.
    """

    def __call__(self, photo: Image, min_face: float = 0) -> list[Face]: ...


DETECTORS: Registry[Callable[[], FaceDetector]] = Registry("detector")
