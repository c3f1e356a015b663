"""FaceRecipe: from a photo to the faces in it, cut out as a network shall see them."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from ferembed.errors import UnknownName
from ferembed.faces.face import DETECTORS, Face
from ferembed.images import Image
from ferembed.registry import Registry, unknown_name_message

Align = Literal["none", "eyes"]
Border = Literal["repeat", "mirror", "black"]
_WIDEST = 10_000  # pixels


@dataclass(frozen=True)
class FaceRecipe:
    """How faces are found in a photo and cut out of it. Equal recipes give equal pixels.

    >>> photo = np.zeros((60, 80, 3), np.uint8)
    >>> [(face, crop)] = FaceRecipe("none", margin=0.5)(photo)
    >>> face.box, crop.shape
    ((0, 0, 80, 60), (120, 120, 3))

    Parameters
    ----------
    detector : the name of what finds the faces; "none" where the picture is the face
    margin : how much wider than the box a face is cut out, as a share of its side
    square : cut a square around the box, its side the longer one, and not the box itself
    align : "eyes" turns the photo about the face until the eyes are level, where they are found
    border : what lies outside the photo: its edge repeated, its mirror image, or black
    width : scale the photo to so many pixels of width first; boxes are those of the photo as it was
    equalize : make the photo gray and equalise its histogram first
    fallback_to_whole_image : return the whole picture, as a face with `found` False, if no face
        is found
    """

    detector: str = "mtcnn"
    margin: float = 0.0
    square: bool = True
    align: Align = "none"
    border: Border = "repeat"
    width: int | None = None
    equalize: bool = False
    fallback_to_whole_image: bool = False

    def __post_init__(self) -> None:
        if not isinstance(self.detector, str):
            raise ValueError(f"detector is {self.detector!r:.80}; it is the name of a detector.")
        DETECTORS[self.detector]
        for name in ("square", "equalize", "fallback_to_whole_image"):
            if not isinstance(value := getattr(self, name), (bool, np.bool_)):
                raise ValueError(f"{name} is {value!r:.80}; it is True or False.")
        for kind, value, known in (
            ("alignment", self.align, get_args(Align)),
            ("border", self.border, get_args(Border)),
        ):
            if value not in known:
                raise UnknownName(unknown_name_message(kind, value, list(known)))
        if isinstance(self.margin, bool) or not isinstance(self.margin, (int, float)):
            raise ValueError(f"margin is {self.margin!r}; it is a number from 0 to 10.")
        if not 0 <= self.margin <= 10:
            raise ValueError(f"margin is {self.margin!r}; it is a number from 0 to 10.")
        if self.width is not None and not (
            isinstance(self.width, int) and 16 <= self.width <= _WIDEST
        ):
            raise ValueError(f"width is {self.width!r}; it is None or 16 to {_WIDEST:,} pixels.")

    @classmethod
    def resolve(cls, given: str | FaceRecipe | None) -> FaceRecipe:
        """A recipe itself; that of a name, which for a detector is what measured best for it.

        None is "none": the picture is the face.
        """
        if isinstance(given, FaceRecipe):
            return given
        name = given or "none"
        if name in FACE_RECIPES:
            return FACE_RECIPES[name]
        if name not in DETECTORS:
            raise UnknownName(
                unknown_name_message("detector", name, sorted({*DETECTORS, *FACE_RECIPES}))
            )
        return cls(name)

    def facts(self) -> dict[str, Any]:
        """Every value, as JSON has it."""
        return asdict(self)

    def __call__(self, photo: Image) -> list[tuple[Face, Image]]:
        """The faces and their crops, the surest first; [] if there is none."""
        size, prepared = (photo.shape[1], photo.shape[0]), self.prepare(photo)
        factor = max(size) / max(prepared.shape[:2])
        return [
            (face.scaled(factor, size), self.crop(prepared, face)) for face in self.find(prepared)
        ]

    def prepare(self, photo: Image) -> Image:
        """The photo, scaled and equalised as faces are to be found and cut out."""
        import cv2

        height, width = photo.shape[:2]
        if self.width is not None and width != self.width:
            photo = _resized(photo, min(self.width / width, TALLEST * self.width / height))
        if self.equalize:
            gray = cv2.equalizeHist(cv2.cvtColor(photo, cv2.COLOR_RGB2GRAY))
            photo = np.asarray(cv2.cvtColor(gray, cv2.COLOR_GRAY2RGB), np.uint8)
        return photo

    def find(self, photo: Image) -> list[Face]:
        """The faces in a prepared photo, the surest first."""
        faces = DETECTORS[self.detector]()(photo)
        if not faces and self.fallback_to_whole_image:
            return [Face((0, 0, photo.shape[1], photo.shape[0]), 0.0, found=False)]
        return faces

    def crop(self, photo: Image, face: Face) -> Image:
        """The face, cut out of the prepared photo in whose pixels its box is."""
        x1, y1, x2, y2 = face.box
        wide, high = x2 - x1, y2 - y1
        if self.square:
            wide = high = max(wide, high)
        wide, high = (max(1, round(side * (1 + self.margin))) for side in (wide, high))
        if max(wide, high) > LARGEST:
            scale = LARGEST / (max(wide, high) + 1)
            photo = _resized(photo, scale)
            return self.crop(photo, face.scaled(scale, (photo.shape[1], photo.shape[0])))
        left, top = round((x1 + x2 - wide) / 2), round((y1 + y2 - high) / 2)
        angle = self._angle(photo, face)
        if angle:
            photo, left, top = _turned(photo, (left, top, wide, high), angle, self.border)
        return _cut(photo, left, top, wide, high, self.border)

    def _angle(self, photo: Image, face: Face) -> float:
        """By how many degrees the line through the eyes falls to the right."""
        if self.align == "none" or not face.found:
            return 0.0
        from ferembed.faces.haar import find_eyes

        eyes = face.landmarks[:2] if face.landmarks else find_eyes(photo, face.box)
        if len(eyes) < 2:
            return 0.0
        (x1, y1), (x2, y2) = eyes
        angle = float(np.rad2deg(np.arctan2(y2 - y1, x2 - x1)))
        return angle if abs(angle) <= STEEPEST else 0.0


STEEPEST = 60  # degrees; eyes that stand steeper than this were not the eyes
LARGEST = 4096  # pixels of side; a larger crop is cut from a smaller copy of the photo
TALLEST = 8  # times the width: what is taller still is scaled to less than the width


def _resized(photo: Image, scale: float) -> Image:
    import cv2

    size = max(1, round(photo.shape[1] * scale)), max(1, round(photo.shape[0] * scale))
    method = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(photo, size, interpolation=method), np.uint8)


def _turned(
    photo: Image, place: tuple[int, int, int, int], angle: float, border: str
) -> tuple[Image, int, int]:
    """The surroundings of a place, turned about its middle, and where the place is in them."""
    import cv2

    left, top, wide, high = place
    reach = int(np.ceil(np.hypot(wide, high) / 2)) + 1
    x, y = left + wide // 2, top + high // 2
    around = _cut(photo, x - reach, y - reach, 2 * reach, 2 * reach, border)
    middle = left + wide / 2 - (x - reach) - 0.5, top + high / 2 - (y - reach) - 0.5
    matrix = cv2.getRotationMatrix2D(middle, angle, 1.0)
    turned = cv2.warpAffine(around, matrix, (2 * reach, 2 * reach), flags=cv2.INTER_LINEAR)
    return np.asarray(turned, np.uint8), left - (x - reach), top - (y - reach)


def _cut(photo: Image, left: int, top: int, wide: int, high: int, border: str) -> Image:
    """A rectangle of the photo, which may reach over its edge."""
    height, width = photo.shape[:2]
    rows, columns = np.arange(top, top + high), np.arange(left, left + wide)
    if border == "mirror":
        inside: Image = photo[_mirrored(rows, height)[:, None], _mirrored(columns, width)]
    else:
        inside = photo[np.clip(rows, 0, height - 1)[:, None], np.clip(columns, 0, width - 1)]
    if border == "black":
        inside[(rows < 0) | (rows >= height)] = 0
        inside[:, (columns < 0) | (columns >= width)] = 0
    return inside


def _mirrored(positions: NDArray[np.intp], length: int) -> NDArray[np.intp]:
    if length == 1:
        return np.zeros_like(positions)
    period = 2 * (length - 1)
    return (length - 1) - np.abs((positions % period) - (length - 1))


FACE_RECIPES: Registry[FaceRecipe] = Registry("face recipe")
# For each detector what measured best: benchmarks/results/faces.json.
FACE_RECIPES.add("dlib", FaceRecipe("dlib", margin=0.1, align="eyes"))
FACE_RECIPES.add("haar", FaceRecipe("haar", margin=0.1))
FACE_RECIPES.add("mtcnn", FaceRecipe("mtcnn", align="eyes"))
FACE_RECIPES.add("yunet", FaceRecipe("yunet", align="eyes"))
# The chain of one of our reference systems: 512 pixels wide, gray, equalised, the eyes level.
FACE_RECIPES.add("haar-512", FaceRecipe("haar", align="eyes", width=512, equalize=True))
