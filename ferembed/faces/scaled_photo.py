"""ScaledPhoto: a scaled copy of a photo to search in, and its faces in the original."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from ferembed.faces.face import Face, Point
from ferembed.images import Image


@dataclass(frozen=True)
class ScaledPhoto:
    """A scaled copy of a photo with a border, and the conversion of faces to the original."""

    pixels: Image
    scale: float  # of the copy
    border: int  # pixels of the copy on each side
    size: tuple[int, int]  # width and height of the photo

    @classmethod
    def from_photo(
        cls, photo: Image, longest: int, *, enlarge: bool = False, border: float = 0.0
    ) -> ScaledPhoto:
        """A copy with a longer side of at most `longest` pixels; of exactly that with `enlarge`.

        `border` is a share of that side; the border repeats the edge of the photo.
        """
        import cv2

        height, width = photo.shape[:2]
        scale = longest / max(height, width)
        if scale < 1 or enlarge:
            size = max(1, round(width * scale)), max(1, round(height * scale))
            while size[0] <= photo.shape[1] // 2 and size[1] <= photo.shape[0] // 2:
                # Means of 2x2 pixels take a tenth of the time of other areas.
                half = photo.shape[1] // 2, photo.shape[0] // 2
                photo = np.asarray(cv2.resize(photo, half, interpolation=cv2.INTER_AREA), np.uint8)
            photo = np.asarray(cv2.resize(photo, size, interpolation=cv2.INTER_LINEAR), np.uint8)
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
        """The face in the original photo; None if its box is outside."""
        x1, y1, x2, y2 = ((value - self.border) / self.scale for value in box)
        points: tuple[Point, ...] | None = None
        if landmarks is not None:
            points = tuple(
                (float(x - self.border) / self.scale, float(y - self.border) / self.scale)
                for x, y in landmarks
            )
        return Face.clipped_to(self.size, (x1, y1, x2, y2), score, points)
