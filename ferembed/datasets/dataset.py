"""Dataset: pictures with a label and a split each, held as columns; nothing is read until asked."""

from __future__ import annotations

import math
from array import array
from bisect import bisect_right
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate
from pathlib import Path
from typing import Any, Protocol, TypeAlias, overload

import cv2
import numpy as np
from numpy.typing import ArrayLike, NDArray

from ferembed.datasets.vocabulary import ALL_SPLITS, UNSPLIT
from ferembed.datasets.zip_members import Archive, ZipMember
from ferembed.errors import DataError, ImageError, LabelError
from ferembed.images import Image, LazyPicture, Source, load_image, source_name
from ferembed.labels import reading_order

Step: TypeAlias = Mapping[str, Any]


class Part(Protocol):
    """Where some of the pictures are, and what each is called inside its data set."""

    def __len__(self) -> int: ...
    def __getitem__(self, index: int, /) -> Source: ...
    def name(self, index: int) -> str: ...


class Names:
    """Many file names in little memory: the folders once, the rest as one run of UTF-8."""

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
        return ZipMember(self.archive, self.names[index], *self.numbers[index].tolist())

    def name(self, index: int) -> str:
        return self.names[index]


@dataclass(frozen=True, slots=True)
class PixelRow(LazyPicture):
    """A picture written as numbers in a row of a CSV; the row is read when the picture is."""

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


@dataclass(frozen=True)
class PixelRows:
    """The rows of a CSV of pixels, by where they start."""

    path: str
    rows: array[int]
    offsets: array[int]
    lengths: array[int]
    column: int
    delimiter: str

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> PixelRow:
        where = self.rows[index], self.offsets[index], self.lengths[index]
        return PixelRow(self.path, *where, self.column, self.delimiter)

    def name(self, index: int) -> str:
        return f"row {self.rows[index]}"


@dataclass(frozen=True, slots=True)
class PackedRow(LazyPicture):
    """A picture that was a row of a CSV inside a zip."""

    path: str
    row: int
    held: NDArray[np.uint8]

    def __str__(self) -> str:
        return f"{self.path}, row {self.row}"

    def pixels(self) -> NDArray[np.uint8]:
        return self.held


@dataclass(frozen=True)
class PackedRows:
    """The rows of a CSV of pixels inside a zip, where none can be found again without unpacking."""

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
class Given:
    """Pictures handed over one by one."""

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
    """What makes one picture into another of the same face."""

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
    """A picture made from another when it is read."""

    source: Source
    change: Change

    def __str__(self) -> str:
        return f"{source_name(self.source)} ({self.change})"

    def pixels(self) -> Image:
        return self.change.apply(load_image(self.source))


@dataclass(frozen=True)
class Changed:
    """Pictures made from others: three float columns, or all mirrored."""

    images: Images
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


class Images(Sequence[Source]):
    """The pictures of a data set as sources: each is made when it is asked for."""

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
        """What the picture is called inside its data set."""
        part, row = self._find(int(self._rows[index]))
        return part.name(row)

    def take(self, rows: NDArray[np.int64]) -> Images:
        return Images(self._parts, self._rows[rows])

    def __add__(self, other: Images) -> Images:
        moved = other._rows + self._starts[-1]
        return Images(self._parts + other._parts, np.concatenate([self._rows, moved]))

    def _find(self, row: int) -> tuple[Part, int]:
        part = bisect_right(self._starts, row) - 1
        return self._parts[part], row - self._starts[part]


@dataclass(frozen=True, eq=False)
class Dataset:
    """Pictures with a label and a split each, and how they came about.

    `images` is a sequence of sources, each read when it is used; `labels` and `splits` are
    arrays of words beside it. Every operation gives a new data set.

    >>> gray = np.zeros((2, 48, 48), np.uint8)
    >>> faces = Dataset.of(gray, ["happy", "sad"], ["train", "test"])
    >>> len(faces), faces.classes, faces.split("test").labels.tolist()
    (2, ('happy', 'sad'), ['sad'])
    """

    images: Images
    classes: tuple[str, ...]
    label_codes: NDArray[np.int16]
    split_codes: NDArray[np.uint8]
    provenance: tuple[Step, ...] = ()
    votes: NDArray[np.float32] | None = None

    @classmethod
    def of(
        cls,
        images: Sequence[Source] | NDArray[np.uint8],
        labels: Sequence[str] | NDArray[np.str_],
        splits: Sequence[str] | NDArray[np.str_] | None = None,
    ) -> Dataset:
        """A data set of pictures that the caller holds."""
        if len(images) != len(labels) or (splits is not None and len(images) != len(splits)):
            raise LabelError(
                f"{len(images)} pictures, {len(labels)} labels and "
                f"{'no' if splits is None else len(splits)} splits do not fit each other."
            )
        names = [str(label) for label in labels]
        classes = tuple(reading_order(names))
        split_names = [UNSPLIT] * len(names) if splits is None else [str(one) for one in splits]
        wrong = sorted(set(split_names) - set(ALL_SPLITS))
        if wrong:
            raise DataError(f"No split is called {wrong[0]!r}. Known: {', '.join(ALL_SPLITS)}.")
        return cls(
            Images([Given(images)]),
            classes,
            np.array([classes.index(name) for name in names], np.int16),
            np.array([ALL_SPLITS.index(name) for name in split_names], np.uint8),
            ({"step": "given", "pictures": len(names)},),
        )

    def __len__(self) -> int:
        return len(self.images)

    def __iter__(self) -> Iterator[tuple[Source, str, str]]:
        for index, source in enumerate(self.images):
            label = self.classes[self.label_codes[index]]
            yield source, label, self.split_of(index)

    @property
    def labels(self) -> NDArray[np.str_]:
        return np.array(self.classes, np.str_)[self.label_codes]

    @property
    def splits(self) -> NDArray[np.str_]:
        return np.array(ALL_SPLITS, np.str_)[self.split_codes]

    @property
    def targets(self) -> NDArray[np.float32]:
        """A row per picture, a column per class: FER+ votes where there are any, else 0 and 1."""
        if self.votes is not None:
            return self.votes
        return np.eye(len(self.classes), dtype=np.float32)[self.label_codes]

    def counts(self) -> dict[str, dict[str, int]]:
        """How many pictures each split has of each class; a split with none is left out."""
        pairs = Counter(zip(self.split_codes.tolist(), self.label_codes.tolist(), strict=True))
        return {
            name: {label: pairs[number, code] for code, label in enumerate(self.classes)}
            for number, name in enumerate(ALL_SPLITS)
            if number in self.split_codes
        }

    def split_of(self, index: int) -> str:
        """The split of one picture."""
        return ALL_SPLITS[self.split_codes[index]]

    def mask(self, *splits: str) -> NDArray[np.bool_]:
        """Which pictures are in one of these splits."""
        for name in splits:
            if name not in ALL_SPLITS:
                raise DataError(f"No split is called {name!r}. Known: {', '.join(ALL_SPLITS)}.")
        return np.isin(self.split_codes, [ALL_SPLITS.index(name) for name in splits])

    def select(self, chosen: ArrayLike) -> Dataset:
        """Those pictures that a mask of booleans or a list of positions chooses."""
        rows = np.asarray(chosen)
        if rows.dtype == np.bool_ and rows.shape != (len(self),):
            raise DataError(f"A mask of {len(rows)} does not fit {len(self)} pictures.")
        positions = np.flatnonzero(rows) if rows.dtype == np.bool_ else rows.astype(np.int64)
        return self.take(positions, {"step": "select", "kept": len(positions), "of": len(self)})

    def split(self, name: str) -> Dataset:
        """The pictures of one split: train, validation or test."""
        chosen = self.mask(name)
        if not chosen.any():
            has = ", ".join(f"{split} {sum(of.values()):,}" for split, of in self.counts().items())
            raise DataError(
                f"The data set has no {name} split; it has {has or 'no pictures'}. "
                "datasets.split makes splits, and so does ferembed data build --split."
            )
        kept = np.flatnonzero(chosen)
        step = {"step": "select", "split": name, "kept": len(kept), "of": len(self)}
        return self.take(kept, step)

    def take(self, rows: NDArray[np.int64], step: Step) -> Dataset:
        """The pictures at these positions, with a step added to the provenance."""
        return replace(
            self,
            images=self.images.take(rows),
            label_codes=self.label_codes[rows],
            split_codes=self.split_codes[rows],
            votes=None if self.votes is None else self.votes[rows],
            provenance=(*self.provenance, step),
        )

    def with_splits(self, splits: Sequence[str], codes: NDArray[np.integer], step: Step) -> Dataset:
        """The same pictures, each put in the split that its code points at."""
        numbers = np.array([ALL_SPLITS.index(name) for name in splits], np.uint8)
        return replace(self, split_codes=numbers[codes], provenance=(*self.provenance, step))

    def __str__(self) -> str:
        splits = (f"{split} {sum(of.values()):,}" for split, of in self.counts().items())
        return "\n".join(
            [
                f"{len(self):,} pictures, {len(self.classes)} classes, {', '.join(splits)}",
                *provenance_lines(self.provenance),
            ]
        )

    def __repr__(self) -> str:
        return f"<Dataset of {len(self):,} pictures: {', '.join(self.classes)}>"


def provenance_lines(steps: Sequence[Step], indent: str = "") -> list[str]:
    """A provenance as lines of text."""
    lines = []
    for step in steps:
        apart = ("skipped", "noted")
        facts = {key: of for key, of in step.items() if key not in ("step", "sets", *apart)}
        words = ", ".join(f"{key} {_words(value)}" for key, value in facts.items())
        lines.append(f"{indent}{step['step']}: {words}")
        for key in apart:
            for reason, found in step.get(key, {}).items():
                first = f", first {found['first']}" if found["first"] else ""
                lines.append(f"{indent}  {key} {found['count']:,}: {reason}{first}")
        for number, steps_of_one in enumerate(step.get("sets", ()), 1):
            lines.append(f"{indent}  set {number}")
            lines += provenance_lines(steps_of_one, indent + "    ")
    return lines


def _words(value: object) -> str:
    if isinstance(value, Mapping):
        return "(" + ", ".join(f"{key} {_words(one)}" for key, one in value.items()) + ")"
    if isinstance(value, (list, tuple)):
        return " ".join(_words(one) for one in value)
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)


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
