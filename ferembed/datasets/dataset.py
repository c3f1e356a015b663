"""Dataset: pictures with a label and a split each. No picture is read before it is used."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ferembed.datasets.sources import Images, InMemoryImages
from ferembed.datasets.vocabulary import ALL_SPLITS, UNSPLIT
from ferembed.errors import DataError, LabelError
from ferembed.images import Source
from ferembed.labels import reading_order

Step: TypeAlias = Mapping[str, Any]


@dataclass(frozen=True, eq=False, kw_only=True)
class Dataset:
    """Pictures with a label and a split each, and their provenance.

    `images` is a sequence of sources, each read when it is used; `labels` and `splits` are
    arrays of words beside it. Every operation gives a new data set.

    >>> gray = np.zeros((2, 48, 48), np.uint8)
    >>> faces = Dataset.from_images(gray, ["happy", "sad"], ["train", "test"])
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
    def from_images(
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
            images=Images([InMemoryImages(images)]),
            classes=classes,
            label_codes=np.array([classes.index(name) for name in names], np.int16),
            split_codes=np.array([ALL_SPLITS.index(name) for name in split_names], np.uint8),
            provenance=({"step": "given", "pictures": len(names)},),
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
        """The number of pictures of each split and class; empty splits are omitted."""
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
        """A mask of the pictures in one of these splits."""
        for name in splits:
            if name not in ALL_SPLITS:
                raise DataError(f"No split is called {name!r}. Known: {', '.join(ALL_SPLITS)}.")
        return np.isin(self.split_codes, [ALL_SPLITS.index(name) for name in splits])

    def skipped(self) -> list[str]:
        """A line for each reason for which the last step skipped pictures."""
        reasons = self.provenance[-1].get("skipped", {}) if self.provenance else {}
        return [
            f"{found['count']:,} pictures: {reason}, first {found['first']}"
            for reason, found in reasons.items()
        ]

    def select(self, chosen: ArrayLike) -> Dataset:
        """The pictures that a boolean mask or a list of positions selects."""
        rows = np.asarray(chosen)
        if rows.dtype == np.bool_ and rows.shape != (len(self),):
            raise DataError(f"A mask of {len(rows)} does not fit {len(self)} pictures.")
        positions = np.flatnonzero(rows) if rows.dtype == np.bool_ else rows.astype(np.int64)
        return self.take(positions, {"step": "select", "kept": len(positions), "of": len(self)})

    def split(self, name: str) -> Dataset:
        """The pictures of one split: train, validation or test."""
        chosen = self.mask(name)
        if not chosen.any():
            counts = self.counts()
            has = ", ".join(f"{split} {sum(of.values()):,}" for split, of in counts.items())
            fer2013 = ""
            if name == "test" and "validation" in counts:
                fer2013 = "FER2013's PublicTest is read as validation, its PrivateTest as test. "
            raise DataError(
                f"The data set has no {name} split; it has {has or 'no pictures'}. {fer2013}"
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
        """The same pictures in other splits; each code is a position in `splits`."""
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
