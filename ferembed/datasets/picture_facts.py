"""gather_facts: the facts of pictures that an audit works with, from one pass over them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

from ferembed._progress import Progress, report_progress
from ferembed.datasets.near_duplicates import merge_groups, thumbnail, thumbnails
from ferembed.datasets.operations import pixel_digest
from ferembed.errors import ImageError
from ferembed.images import Image, Source, load_image

_SAME_GRAY = 12  # gray levels that count as the same
_BLANK_SHARE = 0.9  # of the pixels of a blank picture have the same gray


@dataclass(kw_only=True)
class PictureFacts:
    """The facts of some pictures, which `add` gathers; there are thumbnails or none."""

    unreadable: dict[int, str]
    blank: NDArray[np.bool_]
    sizes: NDArray[np.uint32]
    pixels: list[bytes]  # the digest of the pixels; b"" where they cannot be read
    thumbs: NDArray[np.uint8]
    faceless: list[int]

    @classmethod
    def empty(cls, count: int, near: bool) -> PictureFacts:
        """Arrays for `count` pictures that are not filled yet; with thumbnails if `near`."""
        return cls(
            unreadable={},
            blank=np.zeros(count, np.bool_),
            sizes=np.zeros((count, 2), np.uint32),
            pixels=[b""] * count,
            thumbs=thumbnails(count if near else 0),
            faceless=[],
        )

    def add(self, index: int, image: Image) -> None:
        """Add the facts of a picture."""
        self.sizes[index] = image.shape[1], image.shape[0]
        self.pixels[index] = pixel_digest(image)
        gray = np.asarray(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), np.uint8)
        middle = float(np.median(gray))
        same = np.count_nonzero(np.abs(gray.astype(np.int16) - middle) <= _SAME_GRAY)
        self.blank[index] = same >= _BLANK_SHARE * gray.size
        if len(self.thumbs):
            self.thumbs[index] = thumbnail(gray)

    def put(self, start: int, part: PictureFacts) -> None:
        """Put in the facts of the pictures from `start` on."""
        places = slice(start, start + len(part.blank))
        self.unreadable |= {start + index: why for index, why in part.unreadable.items()}
        self.blank[places], self.sizes[places] = part.blank, part.sizes
        self.pixels[places] = part.pixels
        if len(self.thumbs):
            self.thumbs[places] = part.thumbs
        self.faceless += [start + index for index in part.faceless]

    @property
    def digests(self) -> NDArray[np.int64]:
        """A number for each picture, the same for the same pixels."""
        numbers: dict[bytes, int] = {}
        found = (
            numbers.setdefault(pixels or b"unreadable %d" % index, len(numbers))
            for index, pixels in enumerate(self.pixels)
        )
        return np.fromiter(found, np.int64, len(self.pixels))

    @property
    def groups(self) -> NDArray[np.int64]:
        """A number for each picture, the same for duplicates; near ones if there are thumbnails."""
        if not len(self.thumbs):
            return self.digests
        compared = ~self.blank & (self.sizes[:, 0] > 0)
        return merge_groups(self.digests, self.thumbs, compared)


FindFaces: TypeAlias = Callable[[Image], Sequence[object]]
GatherFacts: TypeAlias = Callable[
    [Sequence[Source], bool, "FindFaces | None", "Progress | None"], PictureFacts
]


def gather_facts(
    images: Sequence[Source],
    near: bool,
    find_faces: FindFaces | None,
    progress: Progress | None = None,
) -> PictureFacts:
    """The facts of each picture; thumbnails if `near`, pictures without a face by `find_faces`."""
    facts = PictureFacts.empty(len(images), near)
    for index, source in enumerate(images):
        try:
            image = load_image(source)
        except ImageError as error:
            facts.unreadable[index] = str(error)
        else:
            facts.add(index, image)
            if find_faces is not None and not len(find_faces(image)):
                facts.faceless.append(index)
        report_progress(progress, index, len(images))
    return facts


def join_facts(parts: Sequence[PictureFacts]) -> PictureFacts:
    """The facts of the pictures of all parts, in their order."""
    near = any(len(part.thumbs) for part in parts)
    joined = PictureFacts.empty(sum(len(part.blank) for part in parts), near)
    start = 0
    for part in parts:
        joined.put(start, part)
        start += len(part.blank)
    return joined
