"""clean: a data set without the faults that an audit found; build: a clean one from several."""

from __future__ import annotations

import json
import os
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ferembed._progress import Progress
from ferembed.datasets import cropping, operations, reading, writing
from ferembed.datasets.audit import CLEANED, FORMAT, Audit, audit, fingerprint_of
from ferembed.datasets.dataset import Dataset
from ferembed.datasets.findings import KINDS, TRAITS, dropped
from ferembed.datasets.vocabulary import ALL_SPLITS
from ferembed.errors import DataError
from ferembed.faces import FaceRecipe
from ferembed.registry import unknown_name_message
from ferembed.storage.files import check_output_outside


def clean(
    dataset: Dataset,
    found: Audit | str | os.PathLike[str],
    *,
    kinds: Collection[str] | None = None,
    splits: Collection[str] = CLEANED,
) -> Dataset:
    """The data set without the pictures that an audit, or its JSON file, drops.

    One picture of each group of duplicates stays, preferably one of the test split, then of the
    validation split, so that no training picture is scored, too. Of duplicates with contradictory
    labels none stays. Blank, unreadable and faceless pictures are dropped, odd sizes stay. `kinds`
    limits this to some kinds or traits ("across splits"). Validation and test pictures are kept so
    that scores stay comparable; name their splits in `splits` to clean these as well.
    """
    kept, step = clean_rows(dataset, found, kinds, splits)
    return dataset.take(kept, step)


def build(
    sources: Sequence[str | os.PathLike[str] | Dataset],
    out: str | os.PathLike[str],
    *,
    crop: FaceRecipe | str | None = None,
    clean: bool = False,
    proportions: Mapping[str, float] | None = None,
    resplit: bool = False,
    per_class: int | None = None,
    mirror: bool = False,
    size: int = 48,
    seed: int = 0,
    progress: Progress | None = None,
) -> Dataset:
    """Open data sets, merge, crop, clean, split, balance and mirror them as asked, and write them.

    A source that needs options is opened with `datasets.open` and given as a Dataset. `out` becomes
    class folders, or a FER2013 CSV if it ends in .csv. An interrupted call leaves nothing with that
    name, and the same call resumes it.
    """
    check_output_outside([source for source in sources if not isinstance(source, Dataset)], out)
    dataset = operations.merge(
        *(
            source if isinstance(source, Dataset) else reading.open(source, progress=progress)
            for source in sources
        )
    )
    if crop is not None:
        dataset = cropping.crop(dataset, crop, progress)
    groups = None
    if clean:
        found = audit(dataset, progress=progress)
        splits = ALL_SPLITS if resplit and proportions else CLEANED
        kept, step = clean_rows(dataset, found, None, splits)
        dataset, groups = dataset.take(kept, step), found.groups[kept]
    if proportions:
        dataset = operations.split(
            dataset, proportions, seed, resplit=resplit, groups=groups, progress=progress
        )
    if per_class is not None:
        dataset = operations.balance(dataset, per_class, seed)
    if mirror:
        dataset = operations.mirror(dataset)
    writing.write(dataset, out, size=size, progress=progress)
    return dataset


def clean_rows(
    dataset: Dataset,
    found: Audit | str | os.PathLike[str],
    kinds: Collection[str] | None,
    splits: Collection[str],
) -> tuple[NDArray[np.int64], dict[str, Any]]:
    """The positions of the pictures that `clean` keeps, and its provenance step."""
    for kind in kinds or ():
        if kind not in (*KINDS, *TRAITS):
            raise DataError(unknown_name_message("kind of finding", kind, [*KINDS, *TRAITS]))
    if isinstance(found, Audit):
        name, fingerprint = "the audit", fingerprint_of(found.dataset)
        drops = found.drops(kinds)
    else:
        name = os.fspath(found)
        fingerprint, drops = _read_drops(Path(found), kinds)
    if fingerprint != fingerprint_of(dataset):
        raise DataError(
            f"{name} is of a different data set than these {len(dataset):,} pictures, or of the "
            "same one opened with other options. Audit this one."
        )
    gone = np.zeros(len(dataset), np.bool_)
    gone[sorted(drops)] = True
    gone &= dataset.mask(*splits)
    by_split = {split: int(gone[dataset.mask(split)].sum()) for split in splits}
    step = {"step": "clean", "dropped": {split: n for split, n in by_split.items() if n}}
    return np.flatnonzero(~gone), step


def _read_drops(path: Path, kinds: Collection[str] | None) -> tuple[str, set[int]]:
    try:
        content = json.loads(path.read_text("utf-8"))
        if content["format"] != FORMAT:
            raise DataError(f"{path} has format {content['format']}; this reads {FORMAT}.")
        drops = dropped(((o["kind"], o["traits"], o["drop"]) for o in content["findings"]), kinds)
        wrong = [one for one in drops if not 0 <= one < content["pictures"]]
        if wrong:
            raise DataError(f"{path} drops picture {wrong[0]} of {content['pictures']}.")
        return content["fingerprint"], drops
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error}.") from None
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        if isinstance(error, DataError):
            raise
        raise DataError(f"{path} is not an audit as Audit.to_json writes it: {error!r}.") from None
