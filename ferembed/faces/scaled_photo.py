"""View: a copy of a photo that is searched in its place, and the way back to the photo."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from ferembed.faces.face import Face, Point
from ferembed.images import Image


@dataclass(frozen=True)
class ScaledPhoto:
    """A photo scaled, with a border about it; faces that are found there, told in the photo."""

    pixels: Image
    scale: float  # to the view
    border: int  # pixels of the view on each side
    size: tuple[int, int]  # width and height of the photo

    @classmethod
    def from_photo(
        cls, photo: Image, longest: int, *, enlarge: bool = False, border: float = 0.0
    ) -> ScaledPhoto:
        """The photo with a longer side of at most so many pixels; of as many with `enlarge`.

        `border` is a share of that side: so far the edge is repeated outward.
        """
        import cv2

        height, width = photo.shape[:2]
        scale = longest / max(height, width)
        if scale < 1 or enlarge:
            size = max(1, round(width * scale)), max(1, round(height * scale))
            method = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
            photo = np.asarray(cv2.resize(photo, size, interpolation=method), np.uint8)
        else:
            scale = 1.0
        wide = round(border * max(photo.shape[:2]))
        if wide:
            bordered = cv2.copyMakeBorder(photo, *4 * (wide,), cv2.BORDER_REPLICATE)
            photo = np.asarray(bordered, np.uint8)
        return cls(photo, scale, wide, (width, height))

    def face(
        self, box: Sequence[float], score: float, landmarks: Iterable[Sequence[float]] | None = None
    ) -> Face | None:
        """The face in the photo; None where nothing of the box lies in it."""
        x1, y1, x2, y2 = ((value - self.border) / self.scale for value in box)
        points: tuple[Point, ...] | None = None
        if landmarks is not None:
            points = tuple(
                (float(x - self.border) / self.scale, float(y - self.border) / self.scale)
                for x, y in landmarks
            )
        return Face.clipped_to(self.size, (x1, y1, x2, y2), score, points)
