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

    def overlap(self, other: Face) -> float:
        """The intersection of two boxes as a share of their union, from 0 to 1."""
        shared = self._intersection(other)
        return shared / (self._area + other._area - shared)

    def overlap_of_smaller(self, other: Face) -> float:
        """The intersection of two boxes as a share of the smaller one, from 0 to 1."""
        return self._intersection(other) / min(self._area, other._area)

    @property
    def _area(self) -> int:
        x1, y1, x2, y2 = self.box
        return (x2 - x1) * (y2 - y1)

    def _intersection(self, other: Face) -> int:
        (a1, b1, a2, b2), (x1, y1, x2, y2) = self.box, other.box
        return max(0, min(a2, x2) - max(a1, x1)) * max(0, min(b2, y2) - max(b1, y1))

    def shifted(self, x: int, y: int) -> Face:
        """The same face in a larger photo, where this one begins at (x, y)."""
        x1, y1, x2, y2 = self.box
        points = self.landmarks and tuple((x + px, y + py) for px, py in self.landmarks)
        return replace(self, box=(x + x1, y + y1, x + x2, y + y2), landmarks=points)

    def scaled(self, before: tuple[int, int], after: tuple[int, int]) -> Face:
        """The same face once its photo is scaled from one width and height to another."""
        if before == after:
            return self
        x, y = (new / old for old, new in zip(before, after, strict=True))
        x1, y1, x2, y2 = (
            min(round(value * factor), side)
            for value, factor, side in zip(self.box, 2 * (x, y), 2 * after, strict=True)
        )
        points = self.landmarks and tuple((px * x, py * y) for px, py in self.landmarks)
        return replace(self, box=(x1, y1, x2, y2), landmarks=points)


class FaceDetector(Protocol):
    """Finds the faces in a photo, the most confident first; [] if there is none.

    Faces of less than `min_face` pixels may be left out, if that makes the search faster.
    """

    def __call__(self, photo: Image, min_face: float = 0) -> list[Face]: ...


DETECTORS: Registry[Callable[[], FaceDetector]] = Registry("detector")
