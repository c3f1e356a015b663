"""Parts of a photo: scaled, rotated and cut out, also beyond its edge."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ferembed.images import Image


def resized(photo: Image, scale: float) -> Image:
    """The photo, scaled by a factor."""
    import cv2

    size = max(1, round(photo.shape[1] * scale)), max(1, round(photo.shape[0] * scale))
    method = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(photo, size, interpolation=method), np.uint8)


def rotated(photo: Image, place: tuple[int, int, int, int], angle: float, border: str) -> Image:
    """A place (left, top, width, height), cut out of the photo rotated about its center."""
    import cv2

    left, top, wide, high = place
    reach = int(np.ceil(np.hypot(wide, high) / 2)) + 1
    x, y = left + wide // 2, top + high // 2
    around = cut_out(photo, x - reach, y - reach, 2 * reach, 2 * reach, border)
    middle = left + wide / 2 - (x - reach) - 0.5, top + high / 2 - (y - reach) - 0.5
    matrix = cv2.getRotationMatrix2D(middle, angle, 1.0)
    matrix[:, 2] -= left - (x - reach), top - (y - reach)
    turned = cv2.warpAffine(around, matrix, (wide, high), flags=cv2.INTER_LINEAR)
    return np.asarray(turned, np.uint8)


def cut_out(photo: Image, left: int, top: int, wide: int, high: int, border: str) -> Image:
    """A rectangle of the photo, which may extend beyond its edge."""
    height, width = photo.shape[:2]
    right, bottom = left + wide, top + high
    if border != "mirror" and right > 0 and left < width and bottom > 0 and top < height:
        return _with_border(photo, (left, top, right, bottom), border)
    rows, columns = np.arange(top, top + high), np.arange(left, left + wide)
    if border == "mirror":
        inside: Image = photo[_mirrored(rows, height)[:, None], _mirrored(columns, width)]
    else:
        inside = photo[np.clip(rows, 0, height - 1)[:, None], np.clip(columns, 0, width - 1)]
    if border == "black":
        inside[(rows < 0) | (rows >= height)] = 0
        inside[:, (columns < 0) | (columns >= width)] = 0
    return inside


def _with_border(photo: Image, box: tuple[int, int, int, int], border: str) -> Image:
    """A part of the photo, and a border where it extends beyond the edge."""
    import cv2

    height, width = photo.shape[:2]
    left, top, right, bottom = box
    inside = photo[max(0, top) : bottom, max(0, left) : right]
    beyond = (max(0, -top), max(0, bottom - height), max(0, -left), max(0, right - width))
    if not any(beyond):
        return np.array(inside)
    kind = cv2.BORDER_CONSTANT if border == "black" else cv2.BORDER_REPLICATE
    return np.asarray(cv2.copyMakeBorder(inside, *beyond, kind), np.uint8)


def _mirrored(positions: NDArray[np.intp], length: int) -> NDArray[np.intp]:
    if length == 1:
        return np.zeros_like(positions)
    period = 2 * (length - 1)
    return (length - 1) - np.abs((positions % period) - (length - 1))
