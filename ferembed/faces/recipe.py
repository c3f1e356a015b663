"""FaceRecipe: how faces are found in a photo and cropped for a network."""

from __future__ import annotations

from dataclasses import KW_ONLY, asdict, dataclass, replace
from typing import Any, Literal, get_args

import numpy as np

from ferembed.errors import UnknownName
from ferembed.faces.auto import AUTO, automatic_detector
from ferembed.faces.cropping import cut_out, resized, rotated
from ferembed.faces.face import DETECTORS, Face
from ferembed.images import Image
from ferembed.registry import Registry, unknown_name_message

Align = Literal["none", "eyes"]
Border = Literal["repeat", "mirror", "black"]
_WIDEST = 10_000  # pixels
MAX_TILT_DEGREES = 60  # a steeper line between two eyes is taken for a wrong detection
LARGEST_CROP = 4096  # pixels of side; a larger crop is cut from a smaller copy of the photo
MIN_FACE = 0.05  # of the shorter side: 36 pixels at 1280x720
SHARP = 64  # pixels of a face's side; FER2013's faces, on which networks are trained, have 48
TALLEST = 8  # times the width; a taller photo is scaled to less than `width`


@dataclass(frozen=True)
class FaceRecipe:
    """A recipe to find faces in a photo and to crop them. Equal recipes give equal pixels.

    Large JPEGs are read at a reduced size, as long as the smallest faces stay large enough.

    >>> photo = np.zeros((60, 80, 3), np.uint8)
    >>> [(face, crop)] = FaceRecipe("none", margin=0.5)(photo)
    >>> face.box, crop.shape
    ((0, 0, 80, 60), (120, 120, 3))

    Parameters
    ----------
    detector : the name of the face detector; "auto" for "yunet" where it has been fetched, else
        "mtcnn"; "none" if the whole picture is the face
    margin : enlarges the crop beyond the detected box, as a share of its side
    square : crop a square around the box, with the longer side of the box
    align : "eyes" rotates the photo about the face until the eyes are level, if they are found
    border : the pixels outside the photo: "repeat" its edge, "mirror" it, or "black"
    width : scale the photo to this width first; boxes are in pixels of the original photo
    equalize : convert the photo to gray and equalise its histogram first
    min_face : leave out smaller faces, by the longer side of their box: below 1 a share of the
        photo's shorter side, from 1 on pixels; 0 leaves out none. Detectors search larger photos
        in no more time if it is a share
    fallback_to_whole_image : return the whole picture, as a face with `found` False, if no face
        is found
    """

    detector: str = AUTO
    _: KW_ONLY
    margin: float = 0.0
    square: bool = True
    align: Align = "none"
    border: Border = "repeat"
    width: int | None = None
    equalize: bool = False
    fallback_to_whole_image: bool = False
    min_face: float = MIN_FACE

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
        _check_number("margin", self.margin, 10)
        _check_number("min_face", self.min_face, _WIDEST)
        if self.width is not None and not (
            isinstance(self.width, int) and 16 <= self.width <= _WIDEST
        ):
            raise ValueError(f"width is {self.width!r}; it is None or 16 to {_WIDEST:,} pixels.")

    @classmethod
    def resolve(cls, given: str | FaceRecipe | None) -> FaceRecipe:
        """The recipe of a name, as `named`, with the detector that "auto" stands for here."""
        recipe = cls.named(given)
        if recipe.detector != AUTO:
            return recipe
        return replace(recipe, detector=automatic_detector())

    @classmethod
    def named(cls, given: str | FaceRecipe | None) -> FaceRecipe:
        """The recipe of a name: the best measured one of a detector, or one of FACE_RECIPES.

        None is "none": the whole picture is the face. A recipe is returned unchanged.
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
        """All values, for JSON."""
        return asdict(self)

    @property
    def shorter_side(self) -> int | None:
        """The shorter side of a photo, in pixels, at which its smallest faces have SHARP pixels.

        A larger photo is read at a reduced size, see `LoadedSource.reduced`. None if it must be
        read in full.
        """
        if not SHARP / _WIDEST < self.min_face < 1:
            return None
        shorter_side = round(SHARP / self.min_face)
        return None if self.width and self.width > shorter_side else shorter_side

    def __call__(
        self, photo: Image, size: tuple[int, int] | None = None
    ) -> list[tuple[Face, Image]]:
        """The faces and their crops, the most confident first; [] if there is none.

        `size` is the width and height of the photo if these pixels are a reduced copy of it.
        """
        size, prepared = size or _size(photo), self.prepare(photo)
        scale = max(prepared.shape[:2]) / max(size)
        return [
            (face.scaled(_size(prepared), size), self.crop(prepared, face))
            for face in self.find(prepared, scale)
        ]

    def prepare(self, photo: Image) -> Image:
        """The photo, scaled and equalised as the recipe says."""
        import cv2

        height, width = photo.shape[:2]
        if self.width is not None and width != self.width:
            photo = resized(photo, min(self.width / width, TALLEST * self.width / height))
        if self.equalize:
            gray = cv2.equalizeHist(cv2.cvtColor(photo, cv2.COLOR_RGB2GRAY))
            photo = np.asarray(cv2.cvtColor(gray, cv2.COLOR_GRAY2RGB), np.uint8)
        return photo

    def find(self, photo: Image, scale: float = 1.0) -> list[Face]:
        """The faces in a prepared photo, the most confident first.

        `scale` is that of the prepared photo to the original, in whose pixels `min_face` is.
        """
        name = automatic_detector() if self.detector == AUTO else self.detector
        smallest = self.min_face * (min(photo.shape[:2]) if self.min_face < 1 else scale)
        faces = [
            replace(face, detector=name)
            for face in DETECTORS[name]()(photo, smallest)
            if max(face.box[2] - face.box[0], face.box[3] - face.box[1]) >= smallest
        ]
        if not faces and self.fallback_to_whole_image:
            return [Face((0, 0, photo.shape[1], photo.shape[0]), 0.0, found=False)]
        return faces

    def crop(self, photo: Image, face: Face) -> Image:
        """The crop of a face. Its box is in pixels of the prepared photo."""
        x1, y1, x2, y2 = face.box
        wide, high = x2 - x1, y2 - y1
        if self.square:
            wide = high = max(wide, high)
        wide, high = (max(1, round(side * (1 + self.margin))) for side in (wide, high))
        if max(wide, high) > LARGEST_CROP:
            scale = LARGEST_CROP / (max(wide, high) + 1)
            smaller = resized(photo, scale)
            return self.crop(smaller, face.scaled(_size(photo), _size(smaller)))
        left, top = round((x1 + x2 - wide) / 2), round((y1 + y2 - high) / 2)
        angle = self._angle(photo, face)
        if angle:
            return rotated(photo, (left, top, wide, high), angle, self.border)
        return cut_out(photo, left, top, wide, high, self.border)

    def _angle(self, photo: Image, face: Face) -> float:
        """The angle in degrees by which the line through the eyes falls to the right."""
        if self.align == "none" or not face.found:
            return 0.0
        from ferembed.faces.haar import find_eyes

        eyes = face.landmarks[:2] if face.landmarks else find_eyes(photo, face.box)
        if len(eyes) < 2:
            return 0.0
        (x1, y1), (x2, y2) = eyes
        angle = float(np.rad2deg(np.arctan2(y2 - y1, x2 - x1)))
        return angle if abs(angle) <= MAX_TILT_DEGREES else 0.0


def _size(photo: Image) -> tuple[int, int]:
    """The width and height of a photo."""
    return photo.shape[1], photo.shape[0]


def _check_number(name: str, value: object, most: float) -> None:
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if not (is_number and 0 <= value <= most):  # type: ignore[operator]
        raise ValueError(f"{name} is {value!r:.80}; it is a number from 0 to {most:,}.")


FACE_RECIPES: Registry[FaceRecipe] = Registry("face recipe")
# The best measured recipe of each detector, see benchmarks/results/faces.json.
FACE_RECIPES.add(AUTO, FaceRecipe(AUTO, align="eyes"))
FACE_RECIPES.add("dlib", FaceRecipe("dlib", margin=0.1, align="eyes"))
FACE_RECIPES.add("haar", FaceRecipe("haar", margin=0.1))
FACE_RECIPES.add("mtcnn", FaceRecipe("mtcnn", align="eyes"))
FACE_RECIPES.add("yunet", FaceRecipe("yunet", align="eyes"))
# As in a reference system: 512 pixels wide, gray, equalised, the eyes level.
FACE_RECIPES.add("haar-512", FaceRecipe("haar", align="eyes", width=512, equalize=True))
