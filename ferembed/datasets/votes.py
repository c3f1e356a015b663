"""Votes: what several people called each face, and the rules that make labels of them."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Iterable
from dataclasses import dataclass, fields
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from ferembed.datasets.listing import ImportLog, RawDataset
from ferembed.datasets.tables import COLUMNS, FERPLUS, FERPLUS_OTHER, Table, split_of
from ferembed.datasets.vocabulary import ALL_SPLITS, UNSPLIT, expression, normalize_name
from ferembed.errors import DataError
from ferembed.registry import unknown_name_message

VOTE_FILES = ("ferplus.csv", "fer2013new.csv")
"""Names of files of FER+ votes; `write` uses the first."""

_MULTI_TARGET = 0.3  # of the votes that make a class one of several
_WRITTEN = 1000  # votes a face in a file that is written here, so that shares survive
_NAMES = ("image name", *COLUMNS["image"].split())


@dataclass(frozen=True)
class VoteRules:
    """The rules that turn votes into a class and a distribution; the defaults are those of FER+.

    mode : "majority": the class with more than half of the votes. "probability": the leading class,
        and the share of each. "multi-target": the leading class, and 1 for each class with at least
        30 % of the votes. A face is left out if what its mode counts has half of the votes or less,
        or if no class has more votes than "unknown" and than "not a face" (NF)
    single : "drop" takes the only vote for a class for a slip, "keep" counts it
    unknown, not_face : "count" these votes among all votes, "ignore" them as if nobody had cast
        them

    >>> VoteRules.parse("probability,single=keep")
    VoteRules(mode='probability', single='keep', unknown='count', not_face='count')
    """

    mode: Literal["majority", "probability", "multi-target"] = "majority"
    single: Literal["drop", "keep"] = "drop"
    unknown: Literal["count", "ignore"] = "count"
    not_face: Literal["count", "ignore"] = "count"

    def __post_init__(self) -> None:
        allowed: dict[str, list[str]] = {
            "mode": ["majority", "probability", "multi-target"],
            "single": ["drop", "keep"],
            "unknown": ["count", "ignore"],
            "not_face": ["count", "ignore"],
        }
        for name, known in allowed.items():
            if getattr(self, name) not in known:
                raise DataError(
                    unknown_name_message(f"rule for votes ({name})", getattr(self, name), known)
                )

    @classmethod
    def parse(cls, text: str) -> VoteRules:
        """The rules of a mode, and of others after commas: "majority,single=keep"."""
        mode, *others = text.split(",")
        rules = dict(other.partition("=")[::2] for other in others)
        names = [field.name for field in fields(cls)][1:]
        for name in rules:
            if name not in names:
                raise DataError(unknown_name_message("rule for votes", name, names))
        return cls(mode, **rules)  # type: ignore[arg-type]

    def __str__(self) -> str:
        return (
            f"{self.mode} (single votes: {self.single}; unknown: {self.unknown}; "
            f"not a face: {self.not_face})"
        )

    def count(
        self, votes: NDArray[np.float32]
    ) -> tuple[NDArray[np.float32], list[int], dict[int, str]]:
        """Shares per class, the leading class or -1, and why there is none.

        The last two columns of `votes` are "unknown" and "not a face".
        """
        counted = np.where(votes > 1, votes, 0) if self.single == "drop" else votes.copy()
        counted[:, -2] *= self.unknown == "count"
        counted[:, -1] *= self.not_face == "count"
        total = counted.sum(axis=1)
        everything = counted / np.maximum(total, 1e-9)[:, None]
        shares, no_name, no_face = everything[:, :-2], everything[:, -2], everything[:, -1]
        leader, lead = shares.argmax(axis=1), shares.max(axis=1)
        if self.mode == "majority":
            shares = np.where(np.arange(shares.shape[1]) == leader[:, None], shares, 0)
        elif self.mode == "multi-target":
            shares = np.where(shares >= _MULTI_TARGET, shares, 0)
        held = shares.sum(axis=1)
        reasons: dict[int, str] = {}
        for index in np.flatnonzero((held <= 0.5) | (np.maximum(no_name, no_face) >= lead)):
            if no_face[index] >= max(lead[index], no_name[index]) and total[index]:
                reasons[int(index)] = "FER+ votes: not a face"
            elif no_name[index] >= lead[index] and total[index]:
                reasons[int(index)] = "FER+ votes: unknown"
            else:
                reasons[int(index)] = "FER+ votes: no agreement"
        if self.mode == "multi-target":
            shares = (shares > 0).astype(np.float32)
        else:
            shares = shares / np.maximum(held, 1e-9)[:, None]
        winners = [-1 if index in reasons else int(one) for index, one in enumerate(leader)]
        return shares.astype(np.float32), winners, reasons


def with_votes(found: RawDataset, table: Table, rules: VoteRules, log: ImportLog) -> RawDataset:
    """The data set labelled by votes: matched by row for a CSV of pixels, else by file name."""
    votes = _Votes.read(table)
    rows = votes.by_row(found, log) if found.rows is not None else votes.by_name(found, log)
    assert found.images is not None
    voted = np.flatnonzero((rows >= 0) & (np.array(found.codes) >= 0))
    shares, winners, reasons = rules.count(votes.counts[rows[voted]])
    for reason in sorted(set(reasons.values())):
        rejected = [index for index, why in reasons.items() if why == reason]
        log.skip(reason, votes.place(rows[voted[rejected[0]]]), len(rejected))
    result = RawDataset(
        format=f"FER+ votes for {found.format}",
        images=found.images.take(voted),
        splits=type(found.splits)("B", np.array(found.splits, np.uint8)[voted].tolist()),
        codes=type(found.codes)("l", winners),
        steps=found.steps,
        rules=str(rules),
        votes=shares if rules.mode != "majority" else None,
        multi=rules.mode == "multi-target",
    )
    leading = np.array(winners)
    for code, word in enumerate(votes.classes):
        first = np.flatnonzero(leading == code)[:1]
        result.words[word] = votes.place(rows[voted[first[0]]]) if len(first) else table.name
    return result


@dataclass(frozen=True, kw_only=True)
class _Votes:
    """A table of votes: a row for each face, a column for each class, "unknown" and NF last."""

    table: str
    classes: tuple[str, ...]
    rows: NDArray[np.int64]
    names: list[str]
    splits: list[str]
    counts: NDArray[np.float32]

    @classmethod
    def read(cls, table: Table) -> _Votes:
        heads = [normalize_name(head) for head in table.heads]
        split_at = table.column("split", {})
        name_at = next((heads.index(name) for name in _NAMES if name in heads), None)
        others = {split_at, name_at, *map(heads.index, FERPLUS_OTHER)}
        places = [at for at, head in enumerate(heads) if head and at not in others]
        columns = [*places, *map(heads.index, FERPLUS_OTHER)]
        rows, names, splits, counts = [], [], [], []
        for row, texts in table.rows():
            try:
                counts.append([float(texts[at]) for at in columns])
                if not all(0 <= count < np.inf for count in counts[-1]):
                    raise ValueError("votes are numbers from 0")
                splits.append(UNSPLIT if split_at is None else split_of(texts[split_at]))
                names.append("" if name_at is None else texts[name_at])
            except (ValueError, IndexError) as error:
                raise DataError(f"{table.name}, row {row}: {error}.") from None
            rows.append(row)
        votes = np.array(counts, np.float32).reshape(len(rows), len(columns))
        classes = tuple(table.heads[at] for at in places)
        return cls(
            table=table.name,
            classes=classes,
            rows=np.array(rows, np.int64),
            names=names,
            splits=splits,
            counts=votes,
        )

    def place(self, index: Any) -> str:
        return f"{self.table}, row {self.rows[index]}"

    def by_row(self, found: RawDataset, log: ImportLog) -> NDArray[np.int64]:
        """The row of votes of each picture in a CSV of pixels."""
        assert found.rows is not None
        rows = np.array(found.rows, np.int64)
        bad = log.skipped.get("bad rows", {"count": 0})["count"]
        places = np.searchsorted(self.rows, rows)
        fits = len(self.rows) == len(rows) + bad
        if not fits or not np.array_equal(self.rows[places % max(1, len(self.rows))], rows):
            raise DataError(
                f"{self.table} has {len(self.rows):,} rows of votes and {found.source} "
                f"{len(rows) + bad:,} of pixels. FER+ goes by row: both must be whole."
            )
        for index, place in enumerate(places.tolist()):
            split = ALL_SPLITS[found.splits[index]]
            if self.splits[place] != split:
                raise DataError(
                    f"Row {rows[index]} is {self.splits[place]} in {self.table} and {split} in "
                    f"{found.source}: the files do not belong together."
                )
        return places

    def by_name(self, found: RawDataset, log: ImportLog) -> NDArray[np.int64]:
        """The row of votes of each picture, -1 if it has none; both are counted."""
        assert found.images is not None
        paths: dict[str, int] = {}
        files: dict[str, list[int]] = {}
        for index in range(len(found.images)):
            path = _stem(found.images.name(index))
            paths[path] = index
            files.setdefault(path.rpartition("/")[2], []).append(index)
        rows = np.full(len(found.images), -1, np.int64)
        strange, first_strange = 0, ""
        for place, name in enumerate(self.names):
            wanted = _stem(name.replace("\\", "/").removeprefix("./"))
            fitting = [paths[wanted]] if wanted in paths else files.get(wanted, [])
            if len(fitting) > 1 or any(rows[index] >= 0 for index in fitting):
                what = f"{self.place(place)}: {name!r} is no name of one picture alone"
                log.bad("votes that may be on several pictures", what)
            elif fitting:
                rows[fitting[0]] = place
            else:
                strange, first_strange = strange + 1, first_strange or self.place(place)
        if strange:
            entry = {"count": strange, "first": first_strange}
            log.noted["rows of votes without a picture"] = entry
        missing = np.flatnonzero((rows < 0) & (np.array(found.codes) >= 0))
        if len(missing):
            name = found.images.name(int(missing[0]))
            log.skip("pictures without votes", name, len(missing))
        return rows


def votes_text(
    classes: tuple[str, ...],
    names: Iterable[str],
    usages: Iterable[str],
    votes: NDArray[np.float32],
) -> str:
    """Distributions as a table of votes that `open` reads; each face has a thousand votes."""
    words = {expression(word): word for word in FERPLUS}
    heads = [*FERPLUS, *(name for name in classes if name not in words), "unknown", "NF"]
    columns = [heads.index(words.get(name, name)) for name in classes]
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(["Usage", "Image name", *heads])
    for name, usage, row in zip(names, usages, votes.tolist(), strict=True):
        counts = ["0"] * len(heads)
        for column, share in zip(columns, row, strict=True):
            counts[column] = f"{share * _WRITTEN:.6g}"
        table.writerow([usage, name, *counts])
    return text.getvalue()


def _stem(name: str) -> str:
    return os.path.splitext(name)[0].casefold()
