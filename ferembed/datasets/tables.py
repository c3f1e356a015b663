"""CSVs: FER2013's pixels, and names and labels beside pictures."""

from __future__ import annotations

import csv
import os
from array import array
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import numpy as np

from ferembed.datasets.listing import ImportLog, Listing, RawDataset, label_and_split
from ferembed.datasets.sources import Images, PackedRows, Part, PixelRows, parse_pixels
from ferembed.datasets.vocabulary import UNSPLIT, normalize_name, split_name
from ferembed.datasets.zip_members import ZipMember
from ferembed.errors import DataError
from ferembed.registry import unknown_name_message

FER2013_FILES = ("fer2013.csv", "icml_face_data.csv")
"""Names of the CSV whose rows FER+ votes refer to."""

COLUMNS = {
    "image": "image imagen file filename file_name filepath path name img picture photo archivo",
    "label": "label emotion expression class category target emocion etiqueta clase sentiment",
    "split": "split usage set subset partition fold",
    "pixels": "pixels",
}
FERPLUS = ("neutral", "happiness", "surprise", "sadness", "anger", "disgust", "fear", "contempt")
FERPLUS_OTHER = ("unknown", "nf")
_MAX_LINE = 2**22
_MOST_NAMED = 20  # columns that a message lists
_MAX_ZIPPED_TABLE = 2**31  # its pixels are held in memory: a third of this


def _short(name: str) -> str:
    return repr(name if len(name) <= 40 else f"{name[:40]}...")


class Table:
    """A CSV in a file or in a zip: its columns, and its rows one after the other."""

    def __init__(self, content: Path | ZipMember) -> None:
        self.content = content
        self.name = str(content)
        if isinstance(content, ZipMember) and content.size > _MAX_ZIPPED_TABLE:
            raise DataError(
                f"{self.name} unpacks to {content.size / 2**30:,.1f} GiB; a CSV of up to "
                f"{_MAX_ZIPPED_TABLE / 2**30:.0f} GiB is read inside a zip. Unpack it first."
            )
        offset, head = next(self._lines(), (-1, b""))
        if offset == 0 and not head.strip():
            raise DataError(f"{self.name} begins with an empty line: delete it.")
        if head[:2] in (b"\xff\xfe", b"\xfe\xff"):
            raise DataError(f"{self.name} is UTF-16. Save it as UTF-8.")
        text = _text(head.removeprefix(b"\xef\xbb\xbf")).rstrip("\r")
        self.delimiter = max(",;\t", key=text.count)
        try:
            heads = next(csv.reader([text], delimiter=self.delimiter), [])
        except csv.Error as error:
            raise DataError(f"{self.name} is not a CSV: {error}.") from None
        self.heads = [name.strip() for name in heads]
        if not self.heads:
            raise DataError(f"{self.name} is empty.")

    def column(self, what: str, given: Mapping[str, str]) -> int | None:
        """The position of a column that the caller named, or that has a usual name."""
        heads = [normalize_name(head) for head in self.heads]
        if what in given:
            if normalize_name(given[what]) not in heads:
                raise DataError(
                    f"{self.name}: " + unknown_name_message("column", given[what], self.heads)
                )
            return heads.index(normalize_name(given[what]))
        return next((heads.index(name) for name in COLUMNS[what].split() if name in heads), None)

    def need(self, what: str, given: Mapping[str, str]) -> int:
        place = self.column(what, given)
        if place is None:
            raise DataError(
                f"{self.name} has no column for the {what}; its columns are "
                f"{', '.join(map(_short, self.heads[:_MOST_NAMED]))}. Say which it is: "
                f"columns={{{what!r}: {_short(self.heads[0])}}}, on the command line --column "
                f"{what}=NAME; the first line of a CSV names its columns."
            )
        return place

    def lines(self) -> Iterator[tuple[int, int, bytes]]:
        """Each row after the first: its number, where it starts, its bytes."""
        for row, (offset, line) in enumerate(self._lines(), 1):
            if row > 1 and line.strip():
                yield row, offset, line

    def rows(self) -> Iterator[tuple[int, list[str]]]:
        """Each row after the first: its number and its fields."""
        reader = csv.reader(
            (_text(line) + "\n" for _, line in self._lines()), delimiter=self.delimiter
        )
        try:
            for fields in reader:
                if reader.line_num > 1 and any(fields):
                    yield reader.line_num, [text.strip() for text in fields]
        except csv.Error as error:
            raise DataError(f"{self.name}, row {reader.line_num}: {error}.") from None

    def _lines(self) -> Iterator[tuple[int, bytes]]:
        offset, tail = 0, b""
        try:
            for chunk in self._chunks():
                lines = (tail + chunk).split(b"\n")
                tail = lines.pop()
                for line in lines:
                    yield offset, line
                    offset += len(line) + 1
                if len(tail) > _MAX_LINE:
                    raise DataError(
                        f"{self.name} has a line of more than {_MAX_LINE / 2**20:.0f} MiB; that is "
                        "no CSV."
                    )
        except OSError as error:
            raise DataError(f"{self.name} cannot be read: {error}.") from None
        if tail:
            yield offset, tail

    def _chunks(self) -> Iterator[bytes]:
        if isinstance(self.content, ZipMember):
            yield from self.content.chunks()
        else:
            with self.content.open("rb") as file:
                while chunk := file.read(2**20):
                    yield chunk


def _text(line: bytes) -> str:
    try:
        return line.decode("utf-8")
    except UnicodeDecodeError:
        return line.decode("cp1252", "replace")


def kind_of(table: Table, given: Mapping[str, str]) -> str | None:
    if {normalize_name(head) for head in table.heads} >= {*FERPLUS, *FERPLUS_OTHER}:
        return "FER+"
    labelled = table.column("label", given) is not None
    if labelled and table.column("pixels", given) is not None:
        return "pixels"
    return "names" if labelled and table.column("image", given) is not None else None


def pixel_rows(table: Table, log: ImportLog, given: Mapping[str, str]) -> RawDataset:
    pixels_at, label_at = table.need("pixels", given), table.need("label", given)
    split_at = table.column("split", given)
    zipped = isinstance(table.content, ZipMember)
    rows, offsets, lengths = array("Q"), array("Q"), array("L")
    packed = bytearray()
    found = RawDataset(
        format="FER2013 CSV of pixels" + " in a zip" * zipped,
        numbered=True,
        rows=rows,
        source=table.name,
    )
    delimiter = table.delimiter.encode()
    side = 0
    for row, offset, line in table.lines():
        place = f"{table.name}, row {row}"
        log.tick()
        fields = line.split(delimiter)
        try:
            if len(fields) != len(table.heads):
                raise ValueError(f"{len(fields)} fields, the first row has {len(table.heads)}")
            pixels = parse_pixels(fields[pixels_at])
            side = side or len(pixels)
            if len(pixels) != side:
                raise ValueError(f"{pixels.size:,} pixels, the rows above have {side * side:,}")
            split = split_of(fields[split_at].decode()) if split_at is not None else UNSPLIT
        except ValueError as error:
            log.bad("bad rows", f"{place}: {error}")
            continue
        found.add(_text(fields[label_at].strip(b'" \r')), split, place)
        rows.append(row)
        if zipped:
            packed += pixels.tobytes()
        else:
            offsets.append(offset)
            lengths.append(len(line))
    log.tick(last=True)
    part: Part = PixelRows(
        path=table.name,
        rows=rows,
        offsets=offsets,
        lengths=lengths,
        column=pixels_at,
        delimiter=table.delimiter,
    )
    if zipped:
        pictures = np.frombuffer(packed, np.uint8).reshape(-1, side or 1, side or 1)
        part = PackedRows(table.name, rows, pictures)
    found.images = Images([part])
    return found


def split_of(word: str) -> str:
    word = word.strip('" \r')
    split = split_name(word) if word else UNSPLIT
    if split is None:
        raise ValueError(f"the split {word!r} is none of Training, PublicTest and PrivateTest")
    return split


def named_pictures(
    table: Table, listing: Listing, base: str, log: ImportLog, given: Mapping[str, str]
) -> RawDataset:
    image_at, label_at = table.need("image", given), table.need("label", given)
    split_at = table.column("split", given)
    lookup = _Lookup(listing.part, base)
    kind = "a folder" if listing.path.is_dir() else "a zip"
    found = RawDataset(format=f"CSV of names and labels with {kind}", steps=listing.steps)
    chosen = array("q")
    for row, fields in table.rows():
        place = f"{table.name}, row {row}"
        log.tick()
        try:
            if len(fields) != len(table.heads):
                raise ValueError(f"{len(fields)} fields, the first row has {len(table.heads)}")
            if not fields[label_at]:
                raise ValueError("no label")
            index = lookup.find(fields[image_at])
            if split_at is not None:
                split = split_of(fields[split_at])
            else:
                _, split = label_and_split(listing.part.name(index).rpartition("/")[0])
        except ValueError as error:
            log.bad("bad rows", f"{place}: {error}")
            continue
        found.add(fields[label_at], split, place)
        chosen.append(index)
    log.tick(last=True)
    indices = np.array(chosen, np.int64)
    log.skip("pictures without a row", "", len(listing.part) - len(np.unique(indices)))
    found.images = Images([listing.part], indices)
    return found


class _Lookup:
    """Finds the picture of a row: by path, by file name, ignoring case or ending."""

    def __init__(self, part: Part, base: str) -> None:
        self._part, self._base = part, base
        stems = (_stem(part.name(index)) for index in range(len(part)))
        hashes = np.fromiter(map(hash, stems), np.int64, len(part))
        self._order = np.argsort(hashes, kind="stable")
        self._hashes = hashes[self._order]

    def find(self, written: str) -> int:
        wanted = written.replace("\\", "/").removeprefix("./")
        file = wanted.rpartition("/")[2]
        there: list[tuple[str, int]] = []
        for stem in dict.fromkeys([_stem(wanted), file.casefold()]):
            start = np.searchsorted(self._hashes, hash(stem), side="left")
            end = np.searchsorted(self._hashes, hash(stem), side="right")
            there += [(self._part.name(int(i)), int(i)) for i in self._order[start:end]]
        full = f"{self._base}/{wanted}" if self._base else wanted
        tests: list[Callable[[str], bool]] = [
            lambda name: name == full,
            lambda name: f"/{name}".endswith(f"/{wanted}"),
            lambda name: f"/{name}".casefold().endswith(f"/{wanted}".casefold()),
            lambda name: f"/{os.path.splitext(name)[0]}".casefold().endswith(
                f"/{wanted}".casefold()
            ),
            lambda name: f"/{wanted}".casefold().endswith(f"/{name}".casefold()),
        ]
        # Of another machine's path only the file's name counts; one from here means its folder.
        if file == wanted or wanted.startswith("/") or wanted[1:2] == ":":
            tests += [
                lambda name: name.rpartition("/")[2] == file,
                lambda name: name.rpartition("/")[2].casefold() == file.casefold(),
                lambda name: _stem(name) == file.casefold(),
            ]
        for test in tests:
            fitting = [(name, index) for name, index in there if test(name)]
            if len(fitting) > 1:
                names = " and ".join(name for name, _ in fitting[:2])
                raise ValueError(f"{written!r} may be {names}")
            if fitting:
                return fitting[0][1]
        raise ValueError(f"there is no picture {written!r}")


def _stem(name: str) -> str:
    return os.path.splitext(name.rpartition("/")[2])[0].casefold()
