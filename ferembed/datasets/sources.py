"""Sources: the pictures of a data set in folders, zips, CSVs and memory. None is read here."""

from __future__ import annotations

import math
from array import array
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from typing import Protocol, overload

import cv2
import numpy as np
from numpy.typing import NDArray

from ferembed.datasets.zip_members import Archive, ZipMember
from ferembed.errors import ImageError
from ferembed.images import Image, LazyPicture, Source, load_image, source_name


class Part(Protocol):
    """Some of the pictures of a data set, and the name of each."""

    def __len__(self) -> int: ...
    def __getitem__(self, index: int, /) -> Source: ...
    def name(self, index: int) -> str: ...


@dataclass(frozen=True)
class Derived:
    """Pictures made from others, one from each."""

    images: Images


class Names:
    """Many file names in little memory: each folder once, the names as one run of UTF-8."""

    def __init__(self) -> None:
        self._folders: list[str] = []
        self._folder = array("L")
        self._text = bytearray()
        self._ends = array("Q", [0])

    def folder(self, path: str) -> int:
        self._folders.append(path)
        return len(self._folders) - 1

    def add(self, folder: int, name: str) -> None:
        self._folder.append(folder)
        self._text += name.encode("utf-8", "surrogateescape")
        self._ends.append(len(self._text))

    def __len__(self) -> int:
        return len(self._folder)

    def __getitem__(self, index: int) -> str:
        start, end = self._ends[index], self._ends[index + 1]
        name = self._text[start:end].decode("utf-8", "surrogateescape")
        folder = self._folders[self._folder[index]]
        return f"{folder}/{name}" if folder else name


@dataclass(frozen=True)
class Files:
    """Pictures in a folder."""

    root: str
    names: Names

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, index: int) -> str:
        return str(Path(self.root, self.names[index]))

    def name(self, index: int) -> str:
        return self.names[index]


@dataclass(frozen=True)
class Members:
    """Pictures in a zip: a name and five numbers each."""

    archive: Archive
    names: Names
    numbers: NDArray[np.uint64]

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, index: int) -> ZipMember:
        offset, packed, size, crc, method = self.numbers[index].tolist()
        return ZipMember(
            self.archive,
            self.names[index],
            offset=offset,
            packed=packed,
            size=size,
            crc=crc,
            method=method,
        )

    def name(self, index: int) -> str:
        return self.names[index]


@dataclass(frozen=True, slots=True, kw_only=True)
class PixelRow(LazyPicture):
    """A picture in a row of a CSV; the row is read when the picture is loaded."""

    path: str
    row: int
    offset: int
    length: int
    column: int
    delimiter: str

    def __str__(self) -> str:
        return f"{self.path}, row {self.row}"

    def pixels(self) -> NDArray[np.uint8]:
        try:
            with Path(self.path).open("rb") as file:
                file.seek(self.offset)
                line = file.read(self.length)
            return parse_pixels(line.split(self.delimiter.encode())[self.column])
        except (OSError, IndexError, ValueError) as error:
            raise ImageError(f"{self} cannot be read: {error}.") from None


@dataclass(frozen=True, kw_only=True)
class PixelRows:
    """Pictures in the rows of a CSV, by the offsets of the rows."""

    path: str
    rows: array[int]
    offsets: array[int]
    lengths: array[int]
    column: int
    delimiter: str

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> PixelRow:
        return PixelRow(
            path=self.path,
            row=self.rows[index],
            offset=self.offsets[index],
            length=self.lengths[index],
            column=self.column,
            delimiter=self.delimiter,
        )

    def name(self, index: int) -> str:
        return f"row {self.rows[index]}"


@dataclass(frozen=True, slots=True)
class PackedRow(LazyPicture):
    """A picture in a row of a CSV in a zip."""

    path: str
    row: int
    held: NDArray[np.uint8]

    def __str__(self) -> str:
        return f"{self.path}, row {self.row}"

    def pixels(self) -> NDArray[np.uint8]:
        return self.held


@dataclass(frozen=True)
class PackedRows:
    """Pictures in the rows of a CSV in a zip; their pixels are held in memory."""

    path: str
    rows: array[int]
    pixels: NDArray[np.uint8]

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> PackedRow:
        return PackedRow(self.path, self.rows[index], self.pixels[index])

    def name(self, index: int) -> str:
        return f"row {self.rows[index]}"


@dataclass(frozen=True)
class InMemoryImages:
    """Pictures that the caller holds."""

    sources: Sequence[Source] | NDArray[np.uint8]

    def __len__(self) -> int:
        return len(self.sources)

    def __getitem__(self, index: int) -> Source:
        return self.sources[index]

    def name(self, index: int) -> str:
        source = self.sources[index]
        return source_name(source) if isinstance(source, (str, Path)) else f"picture {index}"


@dataclass(frozen=True)
class Change:
    """A change of a picture that keeps the face."""

    mirrored: bool = False
    brightness: float = 1.0
    zoom: float = 1.0
    rotation: float = 0.0  # degrees, counter-clockwise

    def __str__(self) -> str:
        if self.mirrored:
            return "mirrored"
        return (
            f"brightness {self.brightness:.2f}, zoom {self.zoom:.2f}, rotation {self.rotation:+.1f}"
        )

    def apply(self, image: Image) -> Image:
        if self.mirrored:
            return np.ascontiguousarray(image[:, ::-1])
        height, width = image.shape[:2]
        middle = ((width - 1) / 2, (height - 1) / 2)
        turn = cv2.getRotationMatrix2D(middle, self.rotation, self.zoom)
        moved = cv2.warpAffine(image, turn, (width, height), borderMode=cv2.BORDER_REPLICATE)
        changed: Image = np.rint(np.clip(moved * self.brightness, 0, 255)).astype(np.uint8)
        return changed


@dataclass(frozen=True)
class ChangedImage(LazyPicture):
    """A picture that is changed when it is loaded."""

    source: Source
    change: Change

    def __str__(self) -> str:
        return f"{source_name(self.source)} ({self.change})"

    def pixels(self) -> Image:
        return self.change.apply(load_image(self.source))


@dataclass(frozen=True)
class Changed(Derived):
    """Changed pictures: three float columns of changes, or None to mirror all."""

    changes: NDArray[np.float32] | None

    def __len__(self) -> int:
        return len(self.images)

    def _change(self, index: int) -> Change:
        if self.changes is None:
            return Change(mirrored=True)
        brightness, zoom, rotation = map(float, self.changes[index])
        return Change(brightness=brightness, zoom=zoom, rotation=rotation)

    def __getitem__(self, index: int) -> ChangedImage:
        return ChangedImage(self.images[index], self._change(index))

    def name(self, index: int) -> str:
        return f"{self.images.name(index)} ({self._change(index)})"


@dataclass(frozen=True)
class Originals:
    """Pictures that count as originals, even if they were made from others."""

    pictures: Images

    def __len__(self) -> int:
        return len(self.pictures)

    def __getitem__(self, index: int) -> Source:
        return self.pictures[index]

    def name(self, index: int) -> str:
        return self.pictures.name(index)


class Images(Sequence[Source]):
    """The pictures of a data set as sources; each is created when it is requested."""

    def __init__(self, parts: Sequence[Part], rows: NDArray[np.int64] | None = None) -> None:
        self._parts = tuple(parts)
        self._starts = list(accumulate(map(len, self._parts), initial=0))
        self._rows = np.arange(self._starts[-1]) if rows is None else rows

    def __repr__(self) -> str:
        return f"<{len(self):,} pictures>"

    def __len__(self) -> int:
        return len(self._rows)

    @overload
    def __getitem__(self, index: int) -> Source: ...
    @overload
    def __getitem__(self, index: slice) -> Images: ...
    def __getitem__(self, index: int | slice) -> Source | Images:
        if isinstance(index, slice):
            return Images(self._parts, self._rows[index])
        part, row = self._find(int(self._rows[index]))
        return part[row]

    def __iter__(self) -> Iterator[Source]:
        for part, row in map(self._find, map(int, self._rows)):
            yield part[row]

    def name(self, index: int) -> str:
        """The name of the picture in its data set."""
        part, row = self._find(int(self._rows[index]))
        return part.name(row)

    def original(self, index: int) -> str:
        """The name of the picture that this one was cropped or changed from, or its own."""
        part, row = self._find(int(self._rows[index]))
        if isinstance(part, Derived):
            return part.images.original(row)
        return part.name(row)

    def is_changed(self, index: int) -> bool:
        """True if the picture was cropped or changed from another one."""
        part, _ = self._find(int(self._rows[index]))
        return isinstance(part, Derived)

    def take(self, rows: NDArray[np.int64]) -> Images:
        return Images(self._parts, self._rows[rows])

    def __add__(self, other: Images) -> Images:
        moved = other._rows + self._starts[-1]
        return Images(self._parts + other._parts, np.concatenate([self._rows, moved]))

    def _find(self, row: int) -> tuple[Part, int]:
        part = bisect_right(self._starts, row) - 1
        return self._parts[part], row - self._starts[part]


def parse_pixels(field: bytes) -> Image:
    """Numbers from 0 to 255 between spaces as a square gray picture, or a ValueError."""
    field = field.strip(b' "\r\t')
    stray = field.translate(None, b"0123456789 ")
    if stray:
        tokens = field.split()
        wrong = ((i, t) for i, t in enumerate(tokens, 1) if not t.isdigit())
        place, token = next(wrong, (1, stray))
        shown = token[:20].decode("utf-8", "replace")
        raise ValueError(f"pixel {place:,} is {shown!r}; a pixel is a whole number from 0 to 255")
    if not field:
        raise ValueError("it has no pixels")
    values = np.fromstring(field.decode(), dtype=np.int64, sep=" ")
    side = math.isqrt(len(values))
    if side * side != len(values) or not side:
        raise ValueError(f"{len(values):,} pixels are no square picture (48 x 48 is 2,304)")
    high = np.flatnonzero(values > 255)
    if len(high):
        place = int(high[0])
        raise ValueError(f"pixel {place + 1:,} is {values[place]}; pixels run from 0 to 255")
    return values.astype(np.uint8).reshape(side, side)
