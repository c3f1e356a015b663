"""Listing: the files of a folder or a zip; and what a reader finds and skips there."""

from __future__ import annotations

import json
import os
from array import array
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ferembed._progress import Progress
from ferembed.datasets import zip_members
from ferembed.datasets.dataset import Step
from ferembed.datasets.sources import Files, Images, Members, Names, Part
from ferembed.datasets.vocabulary import ALL_SPLITS, UNSPLIT, split_name
from ferembed.datasets.zip_members import ZipMember
from ferembed.errors import DataError
from ferembed.images import EXTENSIONS
from ferembed.storage.files import is_special_file

PROVENANCE = "provenance.json"
"""The file beside the pictures in which `write` keeps their provenance."""

TABLES = (".csv", ".tsv")

_EVERY = 1000


class ImportLog:
    """Counts of what a reader skipped, and its progress."""

    def __init__(self, path: str, skip_bad: bool, progress: Progress | None) -> None:
        self.path = path
        self.skipped: dict[str, dict[str, Any]] = {}
        self.noted: dict[str, dict[str, Any]] = {}
        self._skip_bad = skip_bad
        self.progress = progress
        self._done = 0

    def bad(self, kind: str, message: str) -> None:
        """A bad entry: an error, or a counted skip if the caller asked for that."""
        if not self._skip_bad:
            raise DataError(
                f'{message}. Fix it, or skip bad entries with on_bad="skip", on the command line '
                "--skip-bad."
            )
        self.skip(kind, message)

    def skip(self, kind: str, first: str = "", count: int = 1) -> None:
        """An entry that is not a picture of the data set."""
        if count:
            entry = self.skipped.setdefault(kind, {"count": 0, "first": first})
            entry["count"] += count

    def tick(self, last: bool = False) -> None:
        self._done += not last
        if self.progress and (last or self._done % _EVERY == 0):
            self.progress(self._done, self._done if last else None)


@dataclass(kw_only=True)
class RawDataset:
    """A data set as a reader finds it: labels and splits as they are written."""

    format: str
    images: Images | None = None
    words: dict[str, str] = field(default_factory=dict)  # each label as written -> first place
    codes: array[int] = field(default_factory=lambda: array("l"))  # into words; -1: left out
    splits: array[int] = field(default_factory=lambda: array("B"))
    numbered: bool = False  # labels are FER2013's numbers
    steps: Sequence[Step] = ()
    votes: NDArray[np.float32] | None = None  # a column for each of words
    multi: bool = False  # several expressions may have their full share
    rules: str = ""  # by which votes were counted
    rows: array[int] | None = None  # of a CSV of pixels, each picture's
    source: str = ""  # that CSV

    def __post_init__(self) -> None:
        self._numbers: dict[str, int] = {}

    def add(self, label: str, split: str, place: str) -> None:
        number = self._numbers.setdefault(label, len(self._numbers))
        self.words.setdefault(label, place)
        self.codes.append(number)
        self.splits.append(ALL_SPLITS.index(split))

    def leave_out(self) -> None:
        self.codes.append(-1)
        self.splits.append(0)


class Listing:
    """The pictures and CSVs in a folder or a zip, and their provenance."""

    def __init__(self, path: Path, log: ImportLog) -> None:
        self.path = path
        self.tables: dict[str, Path | ZipMember] = {}
        self.steps: Sequence[Step] = ()
        self.log = log
        self._names = Names()
        self._numbers = array("Q")
        self._list_folder() if path.is_dir() else self._list_zip()
        log.tick(last=True)
        if path.is_dir():
            self.part: Part = Files(str(path), self._names)
        else:
            numbers = np.frombuffer(self._numbers, np.uint64).reshape(-1, 5)
            self.part = Members(zip_members.Archive(str(path)), self._names, numbers)
        self._note_case_collisions()

    def _list_folder(self) -> None:
        pending, seen = [""], set()
        while pending:
            folder = pending.pop()
            here = self.path / folder
            try:
                status, entries = here.stat(), list(os.scandir(here))
            except OSError as error:
                if not folder:
                    raise
                self.log.bad(
                    "folders that cannot be read",
                    f"The folder {here} cannot be read: {error.strerror}",
                )
                continue
            identity = (status.st_dev, status.st_ino)
            if status.st_ino and identity in seen:
                continue  # a link to a folder above
            seen.add(identity)
            names: list[str] = []
            folders: list[str] = []
            for entry in entries:
                (folders if entry.is_dir() else names).append(entry.name)
            prefix = f"{folder}/" if folder else ""
            for name in sorted(folders, reverse=True):
                if name.startswith("."):
                    self.log.skip("hidden files", prefix + name)
                else:
                    pending.append(prefix + name)
            number = self._names.folder(folder)
            pictures = 0
            for name in sorted(names):
                kind = self._sort(prefix + name)
                if kind == "picture":
                    self._names.add(number, name)
                    pictures += 1
                elif kind and is_special_file(here / name):
                    self.log.skip("pipes and devices", prefix + name)
                elif kind == "table":
                    self.tables[prefix + name] = here / name
                elif kind == "provenance":
                    self._take_steps(prefix + name, here / name)
            if not (pictures or folders or prefix == ""):
                self.log.skip("empty folders", folder)

    def _list_zip(self) -> None:
        numbers: dict[str, int] = {}
        empty: dict[str, None] = {}
        for member in zip_members.members(self.path):
            if member.unsafe:
                self.log.bad(
                    "names that point outside the zip",
                    f"{self.path}: the member {member.name!r} points outside the zip",
                )
                continue
            folder, _, name = member.name.rpartition("/")
            if not name:
                empty[folder] = None
                continue
            kind = self._sort(member.name)
            if kind and member.encrypted:
                self.log.bad("encrypted", f"{member} is encrypted; unpack it with its password")
            elif kind == "picture" and member.size > zip_members.MAX_PICTURE:
                self.log.bad(
                    "larger than a picture may be",
                    f"{member} unpacks to {member.size / 2**20:,.0f} MiB, a picture may have "
                    f"{zip_members.MAX_PICTURE / 2**20:,.0f} MiB",
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
                self._take_steps(member.name, member)
        parts = (folder.split("/") for folder in numbers)
        full = {"/".join(names[:depth]) for names in parts for depth in range(1, len(names) + 1)}
        for folder in empty:
            if folder not in full and "__MACOSX" not in folder:
                self.log.skip("empty folders", folder)

    def _sort(self, full: str) -> str:
        """The kind of a file; files of no kind are counted as skipped."""
        ending = os.path.splitext(full)[1].lower()
        if is_hidden(full):
            self.log.skip("hidden files", full)
        elif ending in EXTENSIONS:
            self.log.tick()
            return "picture"
        elif ending in TABLES:
            return "table"
        elif full.rpartition("/")[2] == PROVENANCE and full.count("/") < 2:
            return "provenance"
        else:
            self.log.skip(f"files that are not pictures ({ending or 'no ending'})", full)
        return ""

    def _take_steps(self, full: str, content: Path | ZipMember) -> None:
        steps = read_steps(content)
        if not steps:
            self.log.skip("files that are not pictures (.json)", full)
        self.steps = steps or self.steps

    def _note_case_collisions(self) -> None:
        total = len(self.part)
        names = (self.part.name(index).casefold() for index in range(total))
        hashes = np.fromiter(map(hash, names), np.int64, total)
        order = np.argsort(hashes, kind="stable")
        collisions = order[1:][hashes[order][1:] == hashes[order][:-1]]
        if len(collisions):
            first = self.part.name(int(collisions.min()))
            self.log.noted["names that differ only in case"] = {
                "count": len(collisions),
                "first": first,
            }


def is_hidden(full: str) -> bool:
    parts = full.split("/")
    return parts[-1].startswith(".") or "__MACOSX" in parts


def label_and_split(folder: str) -> tuple[str, str]:
    """The class is the nearest folder that is not a split, the split the nearest that is one."""
    label, split = "", UNSPLIT
    for name in reversed(folder.split("/")):
        means = split_name(name)
        if means is None:
            label = label or name
        elif split == UNSPLIT:
            split = means
    return label, split


def provenance_of(table: Path) -> Path:
    """The file beside a CSV in which `write` keeps its provenance."""
    return table.with_suffix(f".{PROVENANCE}")


def read_steps(content: Path | ZipMember) -> Sequence[Step]:
    """The steps that `write` kept, or none if the file is something else."""
    try:
        steps = json.loads(content.read_bytes())
        return steps if _are_steps(steps) else ()
    except (OSError, ValueError, RecursionError):
        return ()


def _are_steps(steps: object) -> bool:
    return isinstance(steps, list) and all(
        isinstance(step, dict)
        and isinstance(step.get("step"), str)
        and all(isinstance(step.get(apart, {}), dict) for apart in ("skipped", "noted"))
        and isinstance(step.get("sets", []), list)
        and all(_are_steps(one) for one in step.get("sets", []))
        for step in steps
    )
