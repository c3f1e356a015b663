"""The data of a run: its faces by content, their duplicates, and the part that a cell uses."""

from __future__ import annotations

import hashlib
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ferembed import datasets
from ferembed._progress import Progress, report_progress
from ferembed.benchmark.cell import Cell
from ferembed.benchmark.records import Record, read_record, write_record
from ferembed.datasets import Dataset, audit
from ferembed.datasets.sources import Images, Originals
from ferembed.datasets.vocabulary import UNSPLIT
from ferembed.errors import DataError, ImageError
from ferembed.evaluation.predictions import face_digests
from ferembed.images import Source

_MOST_PICTURES = 100_000  # for near-duplicates, whose search time grows with the square


class DataView:
    """The training and validation faces of a data set.

    `groups` has a number for each picture, the same for duplicates; `digests` has a digest of each
    picture's content. `notes` lists pictures that cannot be read.
    """

    def __init__(self, data: Dataset, folder: Path, progress: Progress | None) -> None:
        self.data = data
        self.has_validation = bool(data.mask("validation").any())
        whole = bool(data.mask(UNSPLIT).all())
        used = data.select(data.mask(UNSPLIT if whole else "train", "validation"))
        if whole:
            step = {"step": "use all for training"}
            used = used.with_splits(["train"], np.zeros(len(used), np.intp), step)
        # Pictures that a cell makes from these keep the names of these.
        self.used = replace(used, images=Images([Originals(used.images)]))
        names = [self.used.images.name(index) for index in range(len(self.used))]
        _check_different(names)
        self.digests: dict[str, str] = {}
        for index, name in enumerate(names):
            self.digests[name] = digest(used.images[index])
            report_progress(progress, index, len(names))
        known = [*self.digests.values(), *used.labels.tolist(), *used.splits.tolist()]
        content = hashlib.sha256("\n".join(known).encode()).hexdigest()
        self.facts: Record = {"sha256": content, "faces": used.counts()}
        found = self._audited(folder / f"duplicates-{content[:16]}.json", progress)
        self.groups: dict[str, int] = dict(zip(names, found["groups"], strict=True))
        self.notes: list[str] = found["notes"]
        # A cell may use a part of the training split, but its network may be trained on all of it.
        self.training_groups = np.unique(np.array(found["groups"])[self.used.mask("train")])

    def of_cell(self, cell: Cell) -> Dataset:
        """The classes of the cell, with its training split reduced, balanced or mirrored."""
        data = self.used
        if cell.classes != "all":
            data = datasets.select_classes(data, cell.classes.split("+"))
        if cell.faces:
            data = _reduced(data, cell.faces)
        if cell.balance:
            data = datasets.balance(data, cell.balance)
        return datasets.mirror(data) if cell.mirrored else data

    def spare(self, cell: Cell, part: Dataset) -> Dataset | None:
        """The training faces that the balanced `part` of a cell lacks."""
        taken = {part.images.name(index) for index in range(len(part))}
        whole = self.of_cell(replace(cell, balance=0, mirrored=False)).split("train")
        dropped = [whole.images.name(index) not in taken for index in range(len(whole))]
        return whole.select(dropped) if any(dropped) else None

    def test_split(self, cell: Cell) -> Dataset:
        """The test faces of the classes of a cell."""
        test = self.data.split("test")
        if cell.classes != "all":
            test = datasets.select_classes(test, cell.classes.split("+"))
        return test

    def have_duplicates(self, groups: NDArray[np.int64]) -> NDArray[np.bool_]:
        """The groups that have a picture in the training split."""
        return np.isin(groups, self.training_groups)

    def _audited(self, file: Path, progress: Progress | None) -> Record:
        """Groups of duplicates and unreadable pictures; the file keeps them for the next run."""
        if kept := read_record(file):
            return kept
        near = len(self.used) <= _MOST_PICTURES
        found = audit(self.used, near_duplicates=near, progress=progress)
        unreadable = [one for one in found.findings if one.kind == "unreadable"]
        notes = [f"Skipped in {one.pictures[0].split}: {one.detail}" for one in unreadable]
        record = {"groups": found.groups.tolist(), "notes": notes}
        write_record(file, record)
        return record


def digest(image: Source) -> str:
    """A digest of the content of a picture."""
    try:
        return face_digests([image])[0]
    except ImageError:
        return "unreadable"


def _check_different(names: list[str]) -> None:
    if len(set(names)) < len(names):  # of sets that were merged
        twice = next(name for name, count in Counter(names).items() if count > 1)
        raise DataError(
            f"Several pictures are called {twice}, and a grid needs different names. Write the "
            "data set with datasets.write, which gives each picture its own name, and open it."
        )


def _reduced(data: Dataset, faces: int) -> Dataset:
    """The data set with so many training faces, drawn with the shares of the classes."""
    training = np.flatnonzero(data.mask("train"))
    if faces >= len(training):
        return data
    from sklearn.model_selection import train_test_split

    try:
        kept, _ = train_test_split(
            training, train_size=faces, stratify=data.label_codes[training], random_state=0
        )
    except ValueError as error:
        raise DataError(
            f"{faces} of {len(training):,} faces cannot keep the shares of the classes: {error}"
        ) from None
    return data.select(np.sort(np.concatenate([kept, np.flatnonzero(~data.mask("train"))])))
