"""open: a folder, a zip or a CSV -> Dataset. It finds out which format it is, and says so."""

from __future__ import annotations

import csv
import json
import os
from array import array
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from ferembed.datasets import archive
from ferembed.datasets.archive import ZipMember
from ferembed.datasets.dataset import (
    Dataset,
    Files,
    Images,
    Members,
    Names,
    PackedRows,
    Part,
    PixelRows,
    Progress,
    Step,
    parse_pixels,
)
from ferembed.datasets.naming import SPLITS, UNSPLIT, expression, plain, split_name
from ferembed.errors import DataError
from ferembed.images import EXTENSIONS
from ferembed.labels import EXPRESSIONS, in_order
from ferembed.registry import unknown

PROVENANCE = "provenance.json"
"""The file beside the pictures in which `write` says how they came about."""

VOTES = ("majority", "probability", "multi-target")

_TABLES = (".csv", ".tsv")
_COLUMNS = {
    "image": "image imagen file filename file_name filepath path name img picture photo archivo",
    "label": "label emotion expression class category target emocion etiqueta clase sentiment",
    "split": "split usage set subset partition fold",
    "pixels": "pixels",
}
_FERPLUS = ("neutral", "happiness", "surprise", "sadness", "anger", "disgust", "fear", "contempt")
_FERPLUS_OTHER = ("unknown", "nf")
_FER2013_FILES = ("fer2013.csv", "icml_face_data.csv")
_ALL_SPLITS = (*SPLITS, UNSPLIT)
_MAX_LINE = 2**22
_MAX_ZIPPED_TABLE = 2**31  # its pixels are held in memory: a third of this
_EVERY = 1000


def open(
    path: str | os.PathLike[str],
    *,
    split: str | None = None,
    classes: Sequence[str] | None = None,
    labels: Mapping[str, str | None] | None = None,
    on_unknown: Literal["error", "drop"] = "error",
    on_bad: Literal["error", "skip"] = "error",
    table: str | None = None,
    columns: Mapping[str, str] | None = None,
    votes: Literal["majority", "probability", "multi-target"] = "majority",
    progress: Progress | None = None,
) -> Dataset:
    """The data set at `path`, whichever of the known formats it is in.

    It may be a folder or a zip of class folders (`CLASS/`, `train/CLASS/`, `images/train/CLASS/`),
    a FER2013 CSV of pixels, a CSV of names and labels beside its pictures or in one folder or zip
    with them, or FER+ votes beside the FER2013 CSV. `print` what comes back to see what was found.

    `split` and `classes` keep only those. `labels` adds names to those that are known
    ({"boredom": "neutral"}); a name mapped to None is dropped, one mapped to itself is kept as a
    class of its own. `on_unknown="drop"` leaves out pictures with any other name, and
    `on_bad="skip"` what cannot be read, both counted. `table` picks one of several CSVs in a folder
    or zip, `columns` says what its columns are called ({"image": "img", "label": "y"}), and `votes`
    how FER+ votes become labels.

    In a folder called `test`, FER2013's own file names tell its two test splits apart:
    PublicTest_*.jpg is validation, PrivateTest_*.jpg is test.
    """
    where = Path(path)
    _check_choice("on_unknown", on_unknown, ("error", "drop"))
    _check_choice("on_bad", on_bad, ("error", "skip"))
    _check_choice("votes", votes, VOTES)
    if split is not None:
        _check_choice("split", split, (*SPLITS, UNSPLIT))
    if not where.exists():
        raise DataError(f"{where} does not exist.")
    tray = _Tray(str(where), on_bad == "skip", progress)
    found = _read(where, tray, table, columns or {}, votes)
    return _named(found, tray, split, classes, labels or {}, on_unknown == "drop")


def _check_choice(what: str, given: str, allowed: Sequence[str]) -> None:
    if given not in allowed:
        raise DataError(unknown(what, given, list(allowed)))


class _Tray:
    """What a reader lays aside, and how far it is."""

    def __init__(self, path: str, skip_bad: bool, progress: Progress | None) -> None:
        self.path = path
        self.skipped: dict[str, dict[str, Any]] = {}
        self._skip_bad = skip_bad
        self.progress = progress
        self._done = 0

    def bad(self, kind: str, message: str) -> None:
        """Something that should not be: an error, or a counted skip if the caller said so."""
        if not self._skip_bad:
            raise DataError(f'{message}. Mend it, or leave such out with on_bad="skip".')
        self.note(kind, message)

    def note(self, kind: str, first: str = "", count: int = 1) -> None:
        if count:
            entry = self.skipped.setdefault(kind, {"count": 0, "first": first})
            entry["count"] += count

    def tick(self, last: bool = False) -> None:
        self._done += not last
        if self.progress and (last or self._done % _EVERY == 0):
            self.progress(self._done, self._done if last else None)


@dataclass
class _Found:
    """What a reader found: the pictures, with labels and splits as they are written."""

    format: str
    images: Images | None = None
    words: dict[str, str] = field(default_factory=dict)  # each label as written -> first place
    codes: array[int] = field(default_factory=lambda: array("l"))  # into words; -1: left out
    splits: array[int] = field(default_factory=lambda: array("B"))
    numbered: bool = False  # labels are FER2013's numbers
    steps: Sequence[Step] = ()
    votes: NDArray[np.float32] | None = None  # a column for each of words
    multi: bool = False  # several expressions may have their full share

    def __post_init__(self) -> None:
        self._numbers: dict[str, int] = {}

    def add(self, label: str, split: str, place: str) -> None:
        number = self._numbers.setdefault(label, len(self._numbers))
        self.words.setdefault(label, place)
        self.codes.append(number)
        self.splits.append(_ALL_SPLITS.index(split))

    def leave_out(self) -> None:
        self.codes.append(-1)
        self.splits.append(0)


# --- folders and zips -----------------------------------------------------------------------------


class _Storage:
    """What lies in a folder or a zip: pictures, CSVs, and how they came about."""

    def __init__(self, path: Path, tray: _Tray) -> None:
        self.path = path
        self.tables: dict[str, Path | ZipMember] = {}
        self.steps: Sequence[Step] = ()
        self._tray = tray
        self._names = Names()
        self._numbers = array("Q")
        self._list_folder() if path.is_dir() else self._list_zip()
        tray.tick(last=True)
        if path.is_dir():
            self.part: Part = Files(str(path), self._names)
        else:
            numbers = np.frombuffer(self._numbers, np.uint64).reshape(-1, 5)
            self.part = Members(str(path), self._names, numbers)
        self._note_twins()

    def _list_folder(self) -> None:
        pending, seen = [""], set()
        while pending:
            folder = pending.pop()
            here = self.path / folder
            status = here.stat()
            identity = (status.st_dev, status.st_ino)
            if status.st_ino and identity in seen:
                continue  # a link that leads back up
            seen.add(identity)
            names: list[str] = []
            folders: list[str] = []
            with os.scandir(here) as listing:
                for entry in listing:
                    (folders if entry.is_dir() else names).append(entry.name)
            prefix = f"{folder}/" if folder else ""
            for name in sorted(folders, reverse=True):
                if name.startswith("."):
                    self._tray.note("hidden files", prefix + name)
                else:
                    pending.append(prefix + name)
            number = self._names.folder(folder)
            pictures = 0
            for name in sorted(names):
                kind = self._sort(prefix + name)
                if kind == "picture":
                    self._names.add(number, name)
                    pictures += 1
                elif kind == "table":
                    self.tables[prefix + name] = here / name
                elif kind == "provenance":
                    self.steps = _read_steps(here / name)
            if not (pictures or folders or prefix == ""):
                self._tray.note("empty folders", folder)

    def _list_zip(self) -> None:
        numbers: dict[str, int] = {}
        empty: dict[str, None] = {}
        for entry in archive.entries(self.path):
            member = entry.member
            if entry.unsafe:
                self._tray.bad(
                    "names that lead out of the zip",
                    f"{self.path}: the member {member.name!r} leads out of the zip",
                )
                continue
            folder, _, name = member.name.rpartition("/")
            if not name:
                empty[folder] = None
                continue
            kind = self._sort(member.name)
            if kind and entry.encrypted:
                self._tray.bad("encrypted", f"{member} is encrypted; unpack it with its password")
            elif kind == "picture" and member.size > archive.MAX_PICTURE:
                self._tray.bad(
                    "larger than a picture may be",
                    f"{member} unpacks to {member.size / 2**20:,.0f} MiB, a picture may have "
                    f"{archive.MAX_PICTURE / 2**20:,.0f} MiB",
                )
            elif kind == "picture":
                if folder not in numbers:
                    numbers[folder] = self._names.folder(folder)
                self._names.add(numbers[folder], name)
                self._numbers.extend(
                    (member.offset, member.packed, member.size, member.crc, member.method)
                )
            elif kind == "table":
                self.tables[member.name] = member
            elif kind == "provenance":
                self.steps = _read_steps(member)
        for folder in empty:
            if not any(other == folder or other.startswith(f"{folder}/") for other in numbers):
                self._tray.note("empty folders", folder)

    def _sort(self, full: str) -> str:
        """What a file is to a data set; what is nothing is noted."""
        parts = full.split("/")
        ending = os.path.splitext(full)[1].lower()
        if parts[-1].startswith(".") or "__MACOSX" in parts:
            self._tray.note("hidden files", full)
        elif ending in EXTENSIONS:
            self._tray.tick()
            return "picture"
        elif ending in _TABLES:
            return "table"
        elif full == PROVENANCE:
            return "provenance"
        else:
            self._tray.note(f"files that are no pictures ({ending or 'no ending'})", full)
        return ""

    def _note_twins(self) -> None:
        total = len(self.part)
        names = (self.part.name(index).casefold() for index in range(total))
        hashes = np.fromiter(map(hash, names), np.int64, total)
        order = np.argsort(hashes, kind="stable")
        twins = order[1:][hashes[order][1:] == hashes[order][:-1]]
        if len(twins):
            self._tray.note(
                "none, but some names differ only in case, or not at all",
                self.part.name(int(twins.min())),
                len(twins),
            )


def _class_folders(storage: _Storage, tray: _Tray) -> _Found:
    kind = "a folder" if storage.path.is_dir() else "a zip"
    found = _Found(f"class folders in {kind}", Images([storage.part]), steps=storage.steps)
    known: dict[str, tuple[str, str]] = {}
    for index in range(len(storage.part)):
        name = storage.part.name(index)
        folder, _, file = name.rpartition("/")
        if folder not in known:
            known[folder] = _label_and_split(folder)
        label, split = known[folder]
        if not storage.steps and split in ("test", UNSPLIT):
            split = _fer2013_split(file, split)
        if label:
            found.add(label, split, name)
        else:
            tray.bad(
                "pictures in no class folder",
                f"{storage.path}/{name} lies in no class folder, and no CSV gives its label",
            )
            found.leave_out()
    return found


def _label_and_split(folder: str) -> tuple[str, str]:
    """The class is the nearest folder that is no split, the split the nearest that is one."""
    label, split = "", UNSPLIT
    for name in reversed(folder.split("/")):
        means = split_name(name)
        if means is None:
            label = label or name
        elif split == UNSPLIT:
            split = means
    return label, split


def _fer2013_split(file: str, split: str) -> str:
    """Where the folder leaves it open, the split that FER2013's own file names tell."""
    usage, _, number = file.partition("_")
    told = split_name(usage) if number[:1].isdigit() else None
    return split if told is None or (told == "train" and split == "test") else told


# --- CSVs -----------------------------------------------------------------------------------------


class _Table:
    """A CSV in a file or in a zip: its columns, and its rows one after the other."""

    def __init__(self, content: Path | ZipMember) -> None:
        self.content = content
        self.name = str(content)
        if isinstance(content, ZipMember) and content.size > _MAX_ZIPPED_TABLE:
            raise DataError(
                f"{self.name} unpacks to {content.size / 2**30:,.1f} GiB; a CSV of up to "
                f"{_MAX_ZIPPED_TABLE / 2**30:.0f} GiB is read inside a zip. Unpack it first."
            )
        _, head = next(self._lines(), (0, b""))
        if head[:2] in (b"\xff\xfe", b"\xfe\xff"):
            raise DataError(f"{self.name} is UTF-16. Save it as UTF-8.")
        text = _text(head.removeprefix(b"\xef\xbb\xbf")).rstrip("\r")
        self.delimiter = max(",;\t", key=text.count)
        self.heads = [
            name.strip() for name in next(csv.reader([text], delimiter=self.delimiter), [])
        ]
        if not self.heads:
            raise DataError(f"{self.name} is empty.")

    def column(self, what: str, given: Mapping[str, str]) -> int | None:
        """Where the column is that the caller named, or that is called as such columns are."""
        heads = [plain(head) for head in self.heads]
        if what in given:
            if plain(given[what]) not in heads:
                raise DataError(f"{self.name}: " + unknown("column", given[what], self.heads))
            return heads.index(plain(given[what]))
        return next((heads.index(name) for name in _COLUMNS[what].split() if name in heads), None)

    def need(self, what: str, given: Mapping[str, str]) -> int:
        place = self.column(what, given)
        if place is None:
            raise DataError(
                f"{self.name} has no column for the {what}; its columns are "
                f"{', '.join(map(repr, self.heads))}. Say which it is: "
                f"columns={{{what!r}: {self.heads[0]!r}}}."
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


def _kind(table: _Table, given: Mapping[str, str]) -> str | None:
    if {plain(head) for head in table.heads} >= {*_FERPLUS, *_FERPLUS_OTHER}:
        return "FER+"
    labelled = table.column("label", given) is not None
    if labelled and table.column("pixels", given) is not None:
        return "pixels"
    return "names" if labelled and table.column("image", given) is not None else None


def _pixel_rows(table: _Table, tray: _Tray, given: Mapping[str, str]) -> tuple[_Found, array[int]]:
    pixels_at, label_at = table.need("pixels", given), table.need("label", given)
    split_at = table.column("split", given)
    zipped = isinstance(table.content, ZipMember)
    rows, offsets, lengths = array("Q"), array("Q"), array("L")
    packed = bytearray()
    found = _Found("FER2013 CSV of pixels" + " in a zip" * zipped, numbered=True)
    delimiter = table.delimiter.encode()
    side = 0
    for row, offset, line in table.lines():
        place = f"{table.name}, row {row}"
        tray.tick()
        fields = line.split(delimiter)
        try:
            if len(fields) != len(table.heads):
                raise ValueError(f"{len(fields)} fields, the first row has {len(table.heads)}")
            pixels = parse_pixels(fields[pixels_at])
            side = side or len(pixels)
            if len(pixels) != side:
                raise ValueError(f"{pixels.size:,} pixels, the rows above have {side * side:,}")
            split = _split_of(fields[split_at].decode()) if split_at is not None else UNSPLIT
        except ValueError as error:
            tray.bad("bad rows", f"{place}: {error}")
            continue
        found.add(_text(fields[label_at].strip(b'" \r')), split, place)
        rows.append(row)
        if zipped:
            packed += pixels.tobytes()
        else:
            offsets.append(offset)
            lengths.append(len(line))
    tray.tick(last=True)
    part: Part = PixelRows(table.name, rows, offsets, lengths, pixels_at, table.delimiter)
    if zipped:
        part = PackedRows(rows, np.frombuffer(packed, np.uint8).reshape(-1, side, side))
    found.images = Images([part])
    return found, rows


def _split_of(word: str) -> str:
    split = split_name(word.strip('" \r'))
    if split is None:
        raise ValueError(f"the split {word!r} is none of Training, PublicTest and PrivateTest")
    return split


def _named_pictures(
    table: _Table, storage: _Storage, base: str, tray: _Tray, given: Mapping[str, str]
) -> _Found:
    image_at, label_at = table.need("image", given), table.need("label", given)
    split_at = table.column("split", given)
    lookup = _Lookup(storage.part, base)
    kind = "a folder" if storage.path.is_dir() else "a zip"
    found = _Found(f"CSV of names and labels with {kind}", steps=storage.steps)
    chosen = array("q")
    for row, fields in table.rows():
        place = f"{table.name}, row {row}"
        tray.tick()
        try:
            if len(fields) != len(table.heads):
                raise ValueError(f"{len(fields)} fields, the first row has {len(table.heads)}")
            if not fields[label_at]:
                raise ValueError("no label")
            index = lookup.find(fields[image_at])
            if split_at is not None:
                split = _split_of(fields[split_at])
            else:
                _, split = _label_and_split(storage.part.name(index).rpartition("/")[0])
        except ValueError as error:
            tray.bad("bad rows", f"{place}: {error}")
            continue
        found.add(fields[label_at], split, place)
        chosen.append(index)
    tray.tick(last=True)
    indices = np.array(chosen, np.int64)
    tray.note("pictures without a row", "", len(storage.part) - len(np.unique(indices)))
    found.images = Images([storage.part], indices)
    return found


class _Lookup:
    """Which picture a CSV means: by path, by file name, without regard to case or ending."""

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


def _ferplus(
    table: _Table,
    beside: Mapping[str, Path | ZipMember],
    tray: _Tray,
    mode: str,
) -> _Found:
    name = next((name for name in _FER2013_FILES if name in beside), None)
    if name is None:
        raise DataError(
            f"{table.name} holds FER+ votes and no pictures. Put {' or '.join(_FER2013_FILES)} "
            "beside it."
        )
    pixels = _Table(beside[name])
    found, rows = _pixel_rows(pixels, tray, {})
    votes, splits = _votes(table)
    bad = tray.skipped.get("bad rows", {"count": 0})["count"]
    if len(votes) != len(rows) + bad or not votes.keys() >= set(rows):
        raise DataError(
            f"{table.name} has {len(votes):,} rows of votes and {pixels.name} "
            f"{len(rows) + bad:,} of pixels. FER+ goes by row: both must be whole."
        )
    for index, row in enumerate(rows):
        if splits[row] != _ALL_SPLITS[found.splits[index]]:
            raise DataError(
                f"Row {row} is {splits[row]} in {table.name} and "
                f"{_ALL_SPLITS[found.splits[index]]} in {pixels.name}: the files do not belong "
                "together."
            )
    shares, winners, reasons = _count_votes(np.array([votes[row] for row in rows]), mode)
    for reason in sorted(set(reasons.values())):
        rejected = [index for index, why in reasons.items() if why == reason]
        tray.note(reason, f"{table.name}, row {rows[rejected[0]]}", len(rejected))
    result = _Found(
        f"FER+ votes ({mode}) beside a {found.format}",
        found.images,
        splits=found.splits,
        codes=array("l", winners),
        votes=shares if mode != "majority" else None,
        multi=mode == "multi-target",
    )
    for code, word in enumerate(_FERPLUS):
        first = next((row for row, won in zip(rows, winners, strict=True) if won == code), 0)
        result.words[word] = f"{table.name}, row {first}"
    return result


def _votes(table: _Table) -> tuple[dict[int, list[int]], dict[int, str]]:
    heads = [plain(head) for head in table.heads]
    places = [heads.index(column) for column in (*_FERPLUS, *_FERPLUS_OTHER)]
    split_at = table.column("split", {})
    votes, splits = {}, {}
    for row, fields in table.rows():
        try:
            votes[row] = [int(fields[at]) for at in places]
            splits[row] = UNSPLIT if split_at is None else _split_of(fields[split_at])
        except (ValueError, IndexError) as error:
            raise DataError(f"{table.name}, row {row}: {error}.") from None
    return votes, splits


def _count_votes(
    votes: NDArray[np.int64], mode: str
) -> tuple[NDArray[np.float32], list[int], dict[int, str]]:
    """Shares per expression, the winner or -1, and why there is none.

    A single vote is taken for a slip. A picture stays if neither "unknown" nor "not a face" leads
    and if what the mode counts holds more than half of the votes: the leading expression
    (majority), all expressions (probability), or those with at least 30% each (multi-target).
    """
    counted = np.where(votes > 1, votes, 0)
    total = counted.sum(axis=1)
    shares = counted[:, :-2] / np.maximum(total, 1)[:, None]
    leader, lead = shares.argmax(axis=1), shares.max(axis=1)
    unknown_share, no_face = (counted[:, -2:] / np.maximum(total, 1)[:, None]).T
    if mode == "majority":
        shares = np.where(np.arange(shares.shape[1]) == leader[:, None], shares, 0)
    elif mode == "multi-target":
        shares = np.where(shares >= 0.3, shares, 0)
    held = shares.sum(axis=1)
    reasons: dict[int, str] = {}
    for index in np.flatnonzero((held <= 0.5) | (np.maximum(unknown_share, no_face) >= lead)):
        if no_face[index] >= max(lead[index], unknown_share[index]) and total[index]:
            reasons[int(index)] = "FER+ votes: not a face"
        elif unknown_share[index] >= lead[index] and total[index]:
            reasons[int(index)] = "FER+ votes: unknown"
        else:
            reasons[int(index)] = "FER+ votes: no agreement"
    if mode == "multi-target":
        shares = (shares > 0).astype(np.float32)
    else:
        shares = shares / np.maximum(held, 1e-9)[:, None]
    winners = [-1 if index in reasons else int(one) for index, one in enumerate(leader)]
    return shares.astype(np.float32), winners, reasons


# --- from what was found to a data set ------------------------------------------------------------


def _read(
    path: Path, tray: _Tray, table: str | None, given: Mapping[str, str], mode: str
) -> _Found:
    if path.is_dir() or archive.is_zip(path):
        storage = _Storage(path, tray)
        name = _choose_table(storage, table, given)
        if name is None:
            return _class_folders(storage, tray)
        folder = name.rpartition("/")[0]
        beside = {
            PurePosixPath(other).name: content
            for other, content in storage.tables.items()
            if other.rpartition("/")[0] == folder
        }
        return _from_table(
            _Table(storage.tables[name]), lambda: storage, folder, beside, tray, given, mode
        )
    if path.suffix.lower() not in (*_TABLES, ".txt"):
        raise DataError(
            f"{path} is no folder, zip or CSV. Unpack another archive first; a single picture is "
            "no data set."
        )
    steps = _read_steps(provenance_of(path)) if provenance_of(path).exists() else ()
    near = {name: path.parent / name for name in _FER2013_FILES if (path.parent / name).exists()}
    quiet = _Tray(str(path.parent), True, tray.progress)  # what else lies there is no news
    found = _from_table(
        _Table(path), lambda: _Storage(path.parent, quiet), "", near, tray, given, mode
    )
    found.steps = found.steps or steps
    return found


def _from_table(
    table: _Table,
    storage: Callable[[], _Storage],
    base: str,
    beside: Mapping[str, Path | ZipMember],
    tray: _Tray,
    given: Mapping[str, str],
    mode: str,
) -> _Found:
    kind = _kind(table, given)
    if kind == "FER+":
        return _ferplus(table, beside, tray, mode)
    if kind == "pixels" or table.column("pixels", given) is not None:
        return _pixel_rows(table, tray, given)[0]
    return _named_pictures(table, storage(), base, tray, given)


def _choose_table(storage: _Storage, wanted: str | None, given: Mapping[str, str]) -> str | None:
    if wanted is not None:
        if wanted not in storage.tables:
            raise DataError(unknown(f"CSV in {storage.path}", wanted, list(storage.tables)))
        return wanted
    useful = [name for name, at in storage.tables.items() if _kind(_Table(at), given)]
    if len(useful) > 1:
        raise DataError(
            f"{storage.path} holds {len(useful)} label files: {', '.join(useful)}. "
            f"Choose one: table={useful[0]!r}."
        )
    return useful[0] if useful else None


def _named(
    found: _Found,
    tray: _Tray,
    split: str | None,
    classes: Sequence[str] | None,
    labels: Mapping[str, str | None],
    drop_unknown: bool,
) -> Dataset:
    """The data set in the library's words, without what the caller does not want."""
    assert found.images is not None
    codes = np.array(found.codes, np.int64)
    counts = np.bincount(codes[codes >= 0], minlength=len(found.words))
    meanings = _meanings(found, counts, tray, labels, drop_unknown)
    named = set(meanings.values()) - {None}
    chosen = in_order([name for name in named if name])
    if classes is not None:
        wanted = [expression(name) or name for name in classes]
        for name in wanted:
            if name not in {*chosen, *EXPRESSIONS}:
                raise DataError(unknown("class here", name, chosen))
        for name in chosen:
            if name not in wanted:
                lost = [n for n, word in enumerate(found.words) if meanings[word] == name]
                tray.note(f"class {name} not chosen", "", int(counts[lost].sum()))
        chosen = in_order(wanted)
    target = np.array([chosen.index(m) if m in chosen else -1 for m in meanings.values()] + [-1])
    label_codes = target[codes]
    kept = np.flatnonzero(label_codes >= 0)
    if not len(kept):
        raise DataError(_nothing(tray))
    votes = None
    if found.votes is not None:
        votes = np.zeros((len(codes), len(chosen)), np.float32)
        for column, code in enumerate(target[:-1]):
            if code >= 0:
                votes[:, code] += found.votes[:, column]
        if found.multi:
            votes = np.minimum(votes, 1)
        else:
            votes /= np.maximum(votes.sum(axis=1, keepdims=True), np.float32(1e-9))
        votes = votes[kept]
    step: dict[str, Any] = {
        "step": "open",
        "path": tray.path,
        "format": found.format,
        "pictures": len(kept),
    }
    renamed = {word: name for word, name in meanings.items() if name and word != name}
    if renamed:
        step["labels"] = renamed
    if tray.skipped:
        step["skipped"] = tray.skipped
    dataset = Dataset(
        found.images.take(kept),
        tuple(chosen),
        label_codes[kept].astype(np.int16),
        np.array(found.splits, np.uint8)[kept],
        (*found.steps, step),
        votes,
    )
    return dataset if split is None else dataset.split(split)


def _meanings(
    found: _Found,
    counts: NDArray[np.int64],
    tray: _Tray,
    labels: Mapping[str, str | None],
    drop_unknown: bool,
) -> dict[str, str | None]:
    """What each label as written stands for; None: those pictures are left out."""
    mapped = {plain(name): meaning for name, meaning in labels.items()}
    meanings: dict[str, str | None] = {}
    strange = []
    for (word, place), count in zip(found.words.items(), counts.tolist(), strict=True):
        meaning = expression(word)
        if found.numbered and word.isdigit() and int(word) < len(EXPRESSIONS):
            meaning = EXPRESSIONS[int(word)]
        if plain(word) in mapped:
            target = mapped[plain(word)]
            meaning = target and (expression(target) or target)
        elif meaning is None and count:
            strange.append(f"{word!r} ({count:,}, first {place})")
        meanings[word] = meaning
        if meaning is None:
            tray.note(f"label {word!r}", place, count)
    if strange and not drop_unknown:
        example = strange[0].split(" (")[0]
        raise DataError(
            f"{tray.path} has labels that are none of the seven expressions "
            f"({', '.join(EXPRESSIONS)}): {'; '.join(strange)}. Say what they mean with "
            f"labels={{{example}: 'neutral'}}, drop one with labels={{{example}: None}}, or all "
            'with on_unknown="drop".'
        )
    return meanings


def _nothing(tray: _Tray) -> str:
    laid_aside = "; ".join(f"{n['count']:,} {kind}" for kind, n in tray.skipped.items())
    return (
        f"{tray.path} has no labelled pictures"
        + (f" (laid aside: {laid_aside})" if laid_aside else "")
        + ". A data set is a folder or zip of class folders (train/happy/x.jpg), a FER2013 CSV, or "
        "a CSV of names and labels beside its pictures."
    )


def provenance_of(table: Path) -> Path:
    """The file beside a CSV in which `write` says how it came about."""
    return table.with_suffix(f".{PROVENANCE}")


def _read_steps(content: Path | ZipMember) -> Sequence[Step]:
    try:
        steps = json.loads(content.read_bytes())
    except (OSError, ValueError) as error:
        raise DataError(f"{content} cannot be read: {error}. Delete it to go on.") from None
    if not isinstance(steps, list) or not all(isinstance(step, dict) for step in steps):
        raise DataError(f"{content} is no list of steps. Delete it to go on.")
    return steps
