"""Preprocess: the conversion of a face crop to the input of a network."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import KW_ONLY, dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from ferembed.errors import UnknownName
from ferembed.images import Image
from ferembed.registry import unknown_name_message

VGGFACE2_BGR_MEANS = (91.4953, 103.8827, 131.0912)

_LARGEST = 2048  # pixels of side
_MOST_TILES = 64  # of CLAHE, a side
_COLORS = ("gray", "rgb", "bgr")
_INTERPOLATIONS = ("area", "nearest", "linear", "cubic", "lanczos")
EQUALIZERS = ("none", "histogram", "clahe")


def _number(name: str, value: object) -> float:
    real = isinstance(value, (int, float, np.integer, np.floating)) and not isinstance(value, bool)
    if not real or not -1e6 <= value <= 1e6:  # type: ignore[operator]
        raise ValueError(f"{name} is {value!r:.80}; it is a number from -1,000,000 to 1,000,000.")
    return float(value)  # type: ignore[arg-type]


@dataclass(frozen=True)
class Preprocess:
    """Converts faces to network input: colour, size, equalisation, then (x - mean) * scale.

    `whiten` brings each face to a mean of 0 and a deviation of 1 after that.

    >>> recipe = Preprocess("gray", 48, equalize="clahe")
    >>> recipe([np.zeros((60, 50, 3), np.uint8)]).shape
    (1, 48, 48, 1)

    "area" shrinks without aliasing and, where the face must grow, is replaced by "linear".
    Equalisation of a colour face changes its brightness alone (Y of YCrCb).
    """

    color: Literal["gray", "rgb", "bgr"] = "gray"
    size: int = 48
    _: KW_ONLY
    interpolation: Literal["area", "nearest", "linear", "cubic", "lanczos"] = "area"
    equalize: Literal["none", "histogram", "clahe"] = "none"
    mean: tuple[float, ...] = (0.0,)
    scale: float = 1 / 255
    clahe_clip: float = 4.0
    clahe_tiles: int = 4
    whiten: bool = False

    def __post_init__(self) -> None:
        for kind, value, known in (
            ("colour mode", self.color, _COLORS),
            ("interpolation", self.interpolation, _INTERPOLATIONS),
            ("equalisation", self.equalize, EQUALIZERS),
        ):
            if value not in known:
                raise UnknownName(unknown_name_message(kind, value, list(known)))
        for name, most in (("size", _LARGEST), ("clahe_tiles", _MOST_TILES)):
            whole = getattr(self, name)
            real = isinstance(whole, (int, np.integer)) and not isinstance(whole, bool)
            if not real or not 1 <= whole <= most:
                raise ValueError(f"{name} is {whole!r:.80}; it is a whole number from 1 to {most}.")
            object.__setattr__(self, name, int(whole))
        for name in ("scale", "clahe_clip"):
            number = _number(name, getattr(self, name))
            if not number > 0:
                raise ValueError(f"{name} is {number!r:.80}; it is a number above 0.")
        if not isinstance(self.whiten, (bool, np.bool_)):
            raise ValueError(f"whiten is {self.whiten!r:.80}; it is True or False.")
        if not isinstance(self.mean, (tuple, list, np.ndarray)):
            raise ValueError(f"mean is {self.mean!r:.80}; it is a list of numbers.")
        object.__setattr__(self, "mean", tuple(_number("mean", value) for value in self.mean))
        if len(self.mean) not in (1, self.channels):
            raise ValueError(
                f"mean has {len(self.mean)} values; {self.color} takes 1 or {self.channels}."
            )

    @property
    def channels(self) -> int:
        return 1 if self.color == "gray" else 3

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of the input for one face."""
        return self.size, self.size, self.channels

    def __call__(self, faces: Iterable[Image]) -> NDArray[np.float32]:
        """(n, size, size, channels) float32 from any number of RGB faces of any size."""
        pixels = [self.pixels(face) for face in faces]
        if not pixels:
            return np.empty((0, *self.shape), np.float32)
        batch = np.stack(pixels).astype(np.float32)
        batch -= np.asarray(self.mean, np.float32)
        batch *= np.float32(self.scale)
        if self.whiten:
            pixels_each = batch[0].size
            batch -= batch.mean(axis=(1, 2, 3), keepdims=True)
            deviation = batch.std(axis=(1, 2, 3), keepdims=True)
            batch /= np.maximum(deviation, np.float32(pixels_each**-0.5))  # a blank face stays 0
        return batch

    def facts(self) -> dict[str, object]:
        """All values that change the result. Values added later are included only if used."""
        facts: dict[str, object] = dict(vars(self))
        if not self.whiten:  # keeps the fingerprints of older recipes
            del facts["whiten"]
        return facts

    def pixels(self, face: Image) -> Image:
        """(size, size, channels) uint8, before mean and scale are applied."""
        import cv2

        if self.color == "gray":
            face = np.asarray(cv2.cvtColor(face, cv2.COLOR_RGB2GRAY), np.uint8)
        face = self.resized(face)
        if self.equalize != "none":
            face = self._equalize(face)
        if self.color == "bgr":
            face = face[:, :, ::-1]
        return face.reshape(self.size, self.size, self.channels)

    def resized(self, face: Image) -> Image:
        """The face at (size, size), gray or in colour."""
        import cv2

        height, width = face.shape[:2]
        if (height, width) == (self.size, self.size):
            return face
        method = self.interpolation
        if method == "area" and (height < self.size or width < self.size):
            method = "linear"
        flag = {
            "area": cv2.INTER_AREA,
            "nearest": cv2.INTER_NEAREST,
            "linear": cv2.INTER_LINEAR,
            "cubic": cv2.INTER_CUBIC,
            "lanczos": cv2.INTER_LANCZOS4,
        }[method]
        return np.asarray(cv2.resize(face, (self.size, self.size), interpolation=flag))

    def _equalize(self, face: Image) -> Image:
        import cv2

        if face.ndim == 3:
            luma = np.asarray(cv2.cvtColor(face, cv2.COLOR_RGB2YCrCb), np.uint8)
            luma[:, :, 0] = self._equalize(luma[:, :, 0])
            return np.asarray(cv2.cvtColor(luma, cv2.COLOR_YCrCb2RGB))
        if self.equalize == "histogram":
            return np.asarray(cv2.equalizeHist(face))
        tiles = (self.clahe_tiles, self.clahe_tiles)
        return np.asarray(cv2.createCLAHE(self.clahe_clip, tiles).apply(face))
