"""Findings: the faults that an audit finds in a data set."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

DUPLICATES = ("exact duplicates", "near-duplicates")
DOUBTFUL = "doubtful label"
KINDS = ("unreadable", "blank", "odd size", *DUPLICATES, "no face", DOUBTFUL)
TRAITS = ("contradictory labels", "across splits")


@dataclass(frozen=True)
class Picture:
    """A picture of a finding."""

    index: int
    name: str
    label: str
    split: str


@dataclass(frozen=True)
class Finding:
    """A fault of a picture, or a group of duplicates; `drop` are the pictures that clean drops."""

    kind: str
    pictures: tuple[Picture, ...]
    drop: tuple[int, ...]
    detail: str = ""

    @property
    def traits(self) -> tuple[str, ...]:
        """The traits of a group of duplicates: contradictory labels, pictures in several splits."""
        labels = {picture.label for picture in self.pictures}
        splits = {picture.split for picture in self.pictures}
        return tuple(
            trait for trait, of in zip(TRAITS, (labels, splits), strict=True) if len(of) > 1
        )


def dropped(
    findings: Iterable[tuple[str, Sequence[str], Sequence[int]]],
    kinds: Collection[str] | None = None,
) -> set[int]:
    """The pictures that findings drop, given as (kind, traits, drop).

    With `kinds` only findings of these kinds, or with these traits, count.
    """
    return {
        index
        for kind, traits, drop in findings
        if kinds is None or kind in kinds or set(traits) & set(kinds)
        for index in drop
    }
