"""merge, split, split_or_all, select_classes, balance, mirror: each returns a new data set."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from ferembed._progress import Progress, report_progress
from ferembed.datasets.dataset import Dataset, Step
from ferembed.datasets.sources import Changed, Images
from ferembed.datasets.vectors import VectorSet
from ferembed.datasets.vocabulary import SPLITS, UNSPLIT
from ferembed.errors import DataError, ImageError
from ferembed.images import Image, load_image
from ferembed.labels import reading_order
from ferembed.registry import unknown_name_message

D = TypeVar("D", Dataset, VectorSet)
_BRIGHTNESS = (0.75, 1.25)
_ZOOM = (0.9, 1.15)
_ROTATION = (-12.0, 12.0)


def merge(*sets: Dataset) -> Dataset:
    """The pictures of all sets, one set after the other.

    Duplicates that sets share are kept; `audit` finds them.
    """
    if not sets:
        raise DataError("There is nothing to merge: pass at least one data set.")
    if len(sets) == 1:
        return sets[0]
    classes = tuple(reading_order([label for one in sets for label in one.classes]))
    images = sets[0].images
    for one in sets[1:]:
        images = images + one.images
    places = [np.array([classes.index(label) for label in one.classes]) for one in sets]
    votes = None
    if any(one.votes is not None for one in sets):
        votes = np.zeros((len(images), len(classes)), np.float32)
        start = 0
        for one, place in zip(sets, places, strict=True):
            votes[start : start + len(one), place] = one.targets
            start += len(one)
    codes = [place[one.label_codes] for place, one in zip(places, sets, strict=True)]
    origins = [list(one.provenance) for one in sets]
    return Dataset(
        images=images,
        classes=classes,
        label_codes=np.concatenate(codes).astype(np.int16),
        split_codes=np.concatenate([one.split_codes for one in sets]),
        provenance=({"step": "merge", "pictures": len(images), "sets": origins},),
        votes=votes,
    )


def split(
    dataset: Dataset,
    proportions: Mapping[str, float],
    seed: int = 0,
    *,
    resplit: bool = False,
    groups: NDArray[np.int64] | None = None,
    progress: Progress | None = None,
) -> Dataset:
    """The same pictures divided into splits, each class in these proportions.

    The proportions sum to 1 or to 100: `{"train": 60, "validation": 20, "test": 20}`.

    Exact duplicates go to the same split. `groups` has a group number for each picture instead,
    such as `Audit.groups`, which includes near-duplicates. Each split gets its share of each class
    to within one picture, if there are enough pictures without duplicates. A set with validation
    or test pictures is split again only with `resplit=True`; the same seed gives the same splits.
    """
    shares = _shares(proportions)
    if _is_augmented(dataset.provenance):
        raise DataError(
            "The data set has augmented pictures, so versions of one face could end up in several "
            "splits. Split first, then balance or mirror."
        )
    held = dataset.mask("validation", "test")
    if held.any() and not resplit:
        raise DataError(
            f"{int(held.sum()):,} pictures are already in the validation or test split. Split the "
            'others, dataset.split("train"), or pass resplit=True to split all of them again.'
        )
    if groups is None:
        groups = duplicate_groups(dataset.images, progress)
    if len(groups) != len(dataset):
        raise DataError(f"groups has {len(groups)} numbers for {len(dataset)} pictures.")
    rng = np.random.default_rng(seed)
    sides = _assign(dataset.label_codes, groups, np.array(list(shares.values())), rng)
    step = {
        "step": "split",
        "proportions": {name: round(share, 6) for name, share in shares.items()},
        "seed": seed,
        "pictures": {name: int((sides == i).sum()) for i, name in enumerate(shares)},
        "different pictures": len(np.unique(groups)),
    }
    return dataset.with_splits(list(shares), sides, step)


def select_classes(dataset: Dataset, classes: Sequence[str]) -> Dataset:
    """The pictures of these classes; the data set then has no others."""
    wanted = reading_order(list(classes))
    for name in wanted:
        if name not in dataset.classes:
            raise DataError(unknown_name_message("class here", name, list(dataset.classes)))
    columns = [dataset.classes.index(name) for name in wanted]
    rows = np.flatnonzero(np.isin(dataset.label_codes, columns))
    kept = dataset.take(rows, {"step": "select classes", "classes": wanted, "kept": len(rows)})
    codes = np.full(len(dataset.classes), -1, np.int16)
    codes[columns] = np.arange(len(wanted), dtype=np.int16)
    votes = None if kept.votes is None else kept.votes[:, columns]
    if votes is not None and np.allclose(dataset.targets.sum(axis=1), 1):  # shares, not yes and no
        votes = votes / np.maximum(votes.sum(axis=1, keepdims=True), np.float32(1e-9))
    return replace(kept, classes=tuple(wanted), label_codes=codes[kept.label_codes], votes=votes)


def balance(dataset: Dataset, per_class: int, seed: int = 0) -> Dataset:
    """The data set with `per_class` training pictures of each class.

    Random pictures of a class with more are dropped. A class with fewer gets changed versions of
    its pictures, with random brightness, zoom and rotation. Other splits stay unchanged.
    """
    if per_class < 1:
        raise DataError(f"per_class is {per_class}; it is at least 1.")
    train = _training_rows(dataset, "Balancing")
    rng = np.random.default_rng(seed)
    kept = [np.flatnonzero(~dataset.mask("train"))]
    sources = []
    dropped: dict[str, int] = {}
    added: dict[str, int] = {}
    for code, label in enumerate(dataset.classes):
        rows = train[dataset.label_codes[train] == code]
        missing = per_class - len(rows)
        if not len(rows):
            raise DataError(
                f"The training split has no {label} picture to make {per_class:,} from. Exclude "
                "the class with classes=, or merge a set that has it."
            )
        if missing < 0:
            rows = np.sort(rng.choice(rows, per_class, replace=False))
            dropped[label] = -missing
        elif missing > 0:
            rounds = [rng.permutation(rows) for _ in range(-(-missing // len(rows)))]
            sources.append(np.concatenate(rounds)[:missing])
            added[label] = missing
        kept.append(rows)
    step: Step = {
        "step": "balance",
        "per_class": per_class,
        "seed": seed,
        "dropped": dropped,
        "augmented": added,
    }
    base = dataset.take(np.sort(np.concatenate(kept)), step)
    if not sources:
        return base
    from_rows = np.concatenate(sources)
    ranges = np.array([_BRIGHTNESS, _ZOOM, _ROTATION])
    changes = rng.uniform(ranges[:, 0], ranges[:, 1], (len(from_rows), 3)).astype(np.float32)
    return _with_changed(base, dataset, from_rows, changes)


def mirror(dataset: Dataset) -> Dataset:
    """The data set with the mirror image of every training picture added."""
    train = _training_rows(dataset, "Adding mirror images")
    step = {"step": "mirror", "augmented": len(train)}
    base = replace(dataset, provenance=(*dataset.provenance, step))
    return _with_changed(base, dataset, train, None)


def _with_changed(
    base: Dataset,
    dataset: Dataset,
    rows: NDArray[np.int64],
    changes: NDArray[np.float32] | None,
) -> Dataset:
    """`base` followed by changed versions of some pictures of `dataset`."""
    images = Images([Changed(dataset.images.take(rows), changes)])
    votes = None
    if base.votes is not None and dataset.votes is not None:
        votes = np.concatenate([base.votes, dataset.votes[rows]])
    return replace(
        base,
        images=base.images + images,
        label_codes=np.concatenate([base.label_codes, dataset.label_codes[rows]]),
        split_codes=np.concatenate([base.split_codes, dataset.split_codes[rows]]),
        votes=votes,
    )


def duplicate_groups(
    images: Sequence[object], progress: Progress | None = None
) -> NDArray[np.int64]:
    """A group number for each picture, the same for pictures with the same pixels."""
    numbers: dict[bytes, int] = {}
    groups = np.empty(len(images), np.int64)
    for index in range(len(images)):
        try:
            key = pixel_digest(load_image(images[index]))  # type: ignore[arg-type]
        except ImageError:
            key = b"unreadable %d" % index  # a group of its own; audit reports it
        groups[index] = numbers.setdefault(key, len(numbers))
        report_progress(progress, index, len(images))
    return groups


def pixel_digest(image: Image) -> bytes:
    """A digest of the size and pixels of a picture, 16 bytes."""
    shape = b"%d %d " % image.shape[:2]
    return hashlib.blake2b(shape + image.tobytes(), digest_size=16).digest()


def _shares(proportions: Mapping[str, float]) -> dict[str, float]:
    for name, part in proportions.items():
        if name not in SPLITS:
            raise DataError(unknown_name_message("split", name, list(SPLITS)))
        if not part > 0:
            raise DataError(f"The proportion of {name} is {part}; it must be more than 0.")
    total = sum(proportions.values())
    if not (abs(total - 1) < 1e-6 or abs(total - 100) < 1e-4):
        raise DataError(
            f"The proportions sum to {total:g}; they sum to 1 or to 100: "
            '{"train": 60, "validation": 20, "test": 20}.'
        )
    return {name: part / total for name, part in proportions.items()}


def _is_augmented(steps: Sequence[Step]) -> bool:
    return any(
        step.get("augmented") or any(_is_augmented(one) for one in step.get("sets", ()))
        for step in steps
    )


def _training_rows(dataset: Dataset, doing: str) -> NDArray[np.int64]:
    if dataset.mask(UNSPLIT).any():
        raise DataError(
            f"{doing} needs a split data set: versions of one face could end up in several splits. "
            "Split it first; {'train': 100} makes all of it the training split."
        )
    rows = np.flatnonzero(dataset.mask("train"))
    if not len(rows):
        raise DataError(
            f"{doing} changes the training split, and this data set has none. Validation and test "
            "pictures are never changed."
        )
    return rows


def _assign(
    labels: NDArray[np.int16],
    groups: NDArray[np.int64],
    shares: NDArray[np.float64],
    rng: np.random.Generator,
) -> NDArray[np.intp]:
    """The split of each picture: groups of duplicates first, then single pictures."""
    classes = int(labels.max()) + 1 if len(labels) else 0
    totals = np.bincount(labels, minlength=classes)
    missing = np.array([_whole_parts(int(total), shares) for total in totals])
    sides = np.full(len(labels), -1, np.intp)
    _, group_of, sizes = np.unique(groups, return_inverse=True, return_counts=True)
    order = np.argsort(group_of, kind="stable")
    starts = np.concatenate([[0], np.cumsum(sizes)])
    several = rng.permutation(np.flatnonzero(sizes > 1))
    for group in several[np.argsort(-sizes[several], kind="stable")]:
        members = order[starts[group] : starts[group + 1]]
        count = np.bincount(labels[members], minlength=classes)
        room = (missing - count[:, None])[count > 0].min(axis=0)
        side = int(room.argmax())
        sides[members] = side
        missing[:, side] -= count
    for code in range(classes):
        rows = rng.permutation(np.flatnonzero((labels == code) & (sides < 0)))
        left = missing[code].tolist()
        for row in rows:
            side = max(range(len(left)), key=left.__getitem__)
            left[side] -= 1
            sides[row] = side
    return sides


def _whole_parts(total: int, shares: NDArray[np.float64]) -> NDArray[np.int64]:
    """`total` divided into whole numbers, as close to the shares as possible."""
    parts = np.floor(shares * total + 1e-9).astype(np.int64)
    rest = shares * total - parts
    parts[np.argsort(-rest, kind="stable")[: total - int(parts.sum())]] += 1
    return parts


def split_or_all(
    data: D,
    wanted: str | None,
    usual: str,
    warn: Callable[[str], object] = lambda line: None,
) -> D:
    """The wanted split, else the usual one, else all of a data set without splits.

    `warn` is called with a line if some pictures are left out because they are in no split.
    """
    unsplit = data.splits == UNSPLIT
    if not wanted and unsplit.any() and not unsplit.all():
        warn(
            f"left out: {unsplit.sum():,} pictures that are in no split; --split unsplit takes "
            "those."
        )
    return data.split(wanted or (UNSPLIT if unsplit.all() else usual))
