"""Augmentation: random changes of training faces."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

Faces: TypeAlias = NDArray[np.uint8]
"""(n, height, width) gray or (n, height, width, 3) RGB."""


@dataclass(frozen=True, kw_only=True)
class Augmentation:
    """Ranges of the random changes; each range is symmetric around no change."""

    mirror: bool = True
    rotation: float = 10.0  # degrees
    scale: float = 0.15  # share of the side
    shift: float = 0.08  # share of the side
    contrast: float = 0.25  # share
    brightness: float = 20.0  # gray levels
    erasing: float = 0.25  # probability of a blank rectangle

    def apply(self, faces: Faces, rng: np.random.Generator) -> Faces:
        """A changed copy of the faces; the same generator state gives the same copy."""
        n, height, width = faces.shape[:3]
        angle = np.deg2rad(rng.uniform(-self.rotation, self.rotation, n))
        zoom = np.exp(rng.uniform(-1, 1, n) * np.log1p(self.scale))
        flip = np.where(rng.random((n,)) < 0.5 * self.mirror, -1.0, 1.0)
        offset = rng.uniform(-self.shift, self.shift, (n, 2)) * (width, height)
        gain = 1 + rng.uniform(-self.contrast, self.contrast, (n,))
        light = rng.uniform(-self.brightness, self.brightness, (n,))
        erased = rng.random((n,)) < self.erasing
        boxes = rng.uniform(0, 1, (n, 4))
        fill = rng.integers(0, 256, (n,))

        cos, sin = np.cos(angle) * zoom, np.sin(angle) * zoom
        matrix = np.stack([np.stack([flip * cos, -sin], 1), np.stack([flip * sin, cos], 1)], 1)
        centre = np.array([(width - 1) / 2, (height - 1) / 2])
        offset = centre + offset - matrix @ centre
        affine = np.concatenate([matrix, offset[:, :, None]], 2)
        changed = np.empty_like(faces)
        for i in range(n):
            face = cv2.warpAffine(
                faces[i], affine[i], (width, height), borderMode=cv2.BORDER_REPLICATE
            )
            changed[i] = cv2.convertScaleAbs(
                np.maximum(face * gain[i] + (128 * (1 - gain[i]) + light[i]), 0)
            )
            if erased[i]:
                h, w = (np.array([height, width]) * (0.15 + 0.25 * boxes[i, :2])).astype(int)
                y, x = (boxes[i, 2:] * (height - h, width - w)).astype(int)
                changed[i, y : y + h, x : x + w] = fill[i]
        return changed
