"""FrameSearch: the faces in the frames of a video, searched where they were in the frame before."""

from __future__ import annotations

from dataclasses import replace

from ferembed.faces.cropping import resized
from ferembed.faces.face import Face
from ferembed.faces.recipe import FaceRecipe
from ferembed.images import Image

WHOLE_EVERY = 3  # frames: each third is searched as a whole, where new faces are found
MOST = 4  # faces; with more, a search of the whole frame takes no longer
REACH = 2.0  # the side of the square that is searched for a face, in sides of its box
SIDE = 256  # pixels to which a larger square is scaled
LEAST_OVERLAP = 0.3  # intersection over union of a face in two frames


class FrameSearch:
    """Finds the faces in frames that follow each other, as a recipe does, but faster.

    Only each third frame is searched as a whole. In the others, each face is searched for around
    its box in the frame before; if one is not there, the whole frame is searched.

    >>> import numpy as np
    >>> search = FrameSearch(FaceRecipe("none"))
    >>> [(face, crop)] = search(np.zeros((60, 80, 3), np.uint8))
    >>> face.box
    (0, 0, 80, 60)
    """

    def __init__(self, recipe: FaceRecipe) -> None:
        self.recipe = recipe
        self._step = 0
        self._last: tuple[Face, ...] = ()
        # Such recipes look at a frame as a whole.
        self._always_whole = (
            recipe.detector == "none"
            or recipe.width is not None
            or recipe.equalize
            or recipe.fallback_to_whole_image
        )

    def __call__(self, frame: Image) -> list[tuple[Face, Image]]:
        """The faces in the next frame and their crops, the most confident first."""
        whole = self._always_whole or self._step % WHOLE_EVERY == 0
        self._step += 1
        faces = None if whole else self._followed(frame)
        if faces is None:
            found = self.recipe(frame)
        else:
            faces.sort(key=lambda face: -face.score)
            found = [(face, self.recipe.crop(frame, face)) for face in faces]
        self._last = tuple(face for face, _ in found)
        return found

    def _followed(self, frame: Image) -> list[Face] | None:
        """The faces of the frame before, where they are now; None if one is not found."""
        if not 0 < len(self._last) <= MOST:
            return None
        faces: list[Face] = []
        for before in self._last:
            face = self._nearby(frame, before)
            if face is None or any(face.overlap_of_smaller(other) > 0.5 for other in faces):
                return None
            faces.append(face)
        return faces

    def _nearby(self, frame: Image, before: Face) -> Face | None:
        """The face that overlaps the one of the frame before most."""
        height, width = frame.shape[:2]
        x1, y1, x2, y2 = before.box
        side = min(height, width, round(REACH * max(x2 - x1, y2 - y1)))
        left = max(0, min(width - side, (x1 + x2 - side) // 2))
        top = max(0, min(height - side, (y1 + y2 - side) // 2))
        part = frame[top : top + side, left : left + side]
        scale = min(1.0, SIDE / side)
        if scale < 1:
            part = resized(part, scale)
        share = self.recipe.min_face
        pixels = share * min(height, width) if share < 1 else share
        recipe = replace(self.recipe, min_face=max(1.0, pixels) if pixels else 0)
        found = [
            face.scaled((part.shape[1], part.shape[0]), (side, side)).shifted(left, top)
            for face in recipe.find(part, scale)
        ]
        best = max(found, key=before.overlap, default=None)
        return best if best is not None and before.overlap(best) >= LEAST_OVERLAP else None
