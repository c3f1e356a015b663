"""open: a data set from a folder, a zip or a CSV, whose format it detects."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from ferembed._progress import Progress
from ferembed.datasets import zip_members
from ferembed.datasets.dataset import Dataset, Step
from ferembed.datasets.listing import (
    TABLES,
    ImportLog,
    Listing,
    RawDataset,
    is_hidden,
    label_and_split,
    provenance_of,
    read_steps,
)
from ferembed.datasets.sources import Images
from ferembed.datasets.tables import (
    COLUMNS,
    FER2013_FILES,
    FERPLUS,
    Table,
    kind_of,
    named_pictures,
    pixel_rows,
)
from ferembed.datasets.vocabulary import (
    FER2013_USAGES,
    SPLITS,
    UNSPLIT,
    expression,
    normalize_name,
    split_name,
)
from ferembed.datasets.votes import VOTE_FILES, VoteRules, with_votes
from ferembed.datasets.zip_members import ZipMember
from ferembed.errors import DataError
from ferembed.images import EXTENSIONS
from ferembed.labels import CONTEMPT, EXPRESSIONS, expression_set, reading_order
from ferembed.registry import unknown_name_message
from ferembed.storage.files import is_special_file

_MOST_LISTED = 20


def open(
    path: str | os.PathLike[str],
    *,
    split: str | None = None,
    classes: Sequence[str] | None = None,
    labels: Mapping[str, str | None] | None = None,
    on_unknown: Literal["error", "drop", "keep"] = "error",
    on_bad: Literal["error", "skip"] = "error",
    table: str | None = None,
    columns: Mapping[str, str] | None = None,
    votes: VoteRules | str | None = None,
    votes_file: str | os.PathLike[str] | None = None,
    expressions: int = 7,
    progress: Progress | None = None,
) -> Dataset:
    """The data set at `path`, in any of the known formats.

    It may be a folder or a zip of class folders (`CLASS/`, `train/CLASS/`, `images/train/CLASS/`),
    a FER2013 CSV of pixels, a CSV of names and labels beside its pictures or in one folder or zip
    with them, or FER+ votes beside the FER2013 CSV. `print` the data set to see its provenance.

    `votes` takes the labels from FER+ instead: "majority", "probability", "multi-target", or
    `VoteRules`. The votes are in `votes_file`, or in ferplus.csv or fer2013new.csv within the
    folder or zip or beside it, and are on pictures by file name, on a CSV of pixels by row. The
    votes of a face are then its `targets`, and its label is the class that leads them.

    `split` and `classes` select pictures. `labels` adds names to the known ones: with
    {"boredom": "neutral"} boredom is read as neutral, a name mapped to None is dropped, and a name
    mapped to itself is a new class. `on_unknown="drop"` skips pictures with any other name, and
    "keep" makes each such name a class. `on_bad="skip"` skips entries that cannot be read. Skipped
    entries are counted. `table` picks one of several CSVs in a folder or zip, and `columns` names
    its columns ({"image": "img", "label": "y"}).

    `expressions` is 7, for which contempt is an unknown label, or 8, to which it belongs.

    In a folder called `test`, FER2013's own file names tell its two test splits apart:
    PublicTest_*.jpg is validation, PrivateTest_*.jpg is test.
    """
    where = Path(path)
    _check_choice("on_unknown", on_unknown, ("error", "drop", "keep"))
    _check_choice("on_bad", on_bad, ("error", "skip"))
    rules = VoteRules.parse(votes) if isinstance(votes, str) else votes
    known = expression_set(expressions)
    for name in columns or ():
        _check_choice("meaning of a column", name, tuple(COLUMNS))
    if split is not None:
        _check_choice("split", split, (*SPLITS, UNSPLIT))
    if not where.exists():
        raise DataError(f"{where} does not exist.")
    if is_special_file(where):
        raise DataError(f"{where} is a pipe or a device: copy its content to a file.")
    log = ImportLog(str(where), on_bad == "skip", progress)
    try:
        found = _read(where, log, table, columns or {}, rules, votes_file)
    except OSError as error:
        raise DataError(f"{where} cannot be read: {error}.") from None
    return _named(found, log, split, classes, labels or {}, on_unknown, known)


def pictures(path: str | os.PathLike[str]) -> list[ZipMember]:
    """All pictures in a zip, in its order; [] if the file is not a zip."""
    where = Path(path)
    try:
        members = (
            zip_members.members(where) if where.is_file() and zip_members.is_zip(where) else ()
        )
        return [
            member
            for member in members
            if os.path.splitext(member.name)[1].lower() in EXTENSIONS and not is_hidden(member.name)
        ]
    except OSError as error:
        raise DataError(f"{where} cannot be read: {error}.") from None


def _check_choice(what: str, given: str, allowed: Sequence[str]) -> None:
    if given not in allowed:
        raise DataError(unknown_name_message(what, given, list(allowed)))


def _class_folders(listing: Listing, log: ImportLog) -> RawDataset:
    kind = "a folder" if listing.path.is_dir() else "a zip"
    found = RawDataset(
        format=f"class folders in {kind}", images=Images([listing.part]), steps=listing.steps
    )
    known: dict[str, tuple[str, str]] = {}
    for index in range(len(listing.part)):
        name = listing.part.name(index)
        folder, _, file = name.rpartition("/")
        if folder not in known:
            known[folder] = label_and_split(folder)
        label, split = known[folder]
        if not listing.steps and split in ("test", UNSPLIT):
            split = _fer2013_split(file, split)
        if label:
            found.add(label, split, name)
        else:
            log.bad(
                "pictures in no class folder",
                f"{listing.path}/{name} is in no class folder, and no CSV gives its label",
            )
            found.leave_out()
    return found


def _fer2013_split(file: str, split: str) -> str:
    """The split by FER2013's own file names, if the folder does not say it."""
    usage, _, number = file.partition("_")
    named = split_name(usage) if usage in FER2013_USAGES and number[:1].isdigit() else None
    return split if named is None or (named == "train" and split == "test") else named


def _read(
    path: Path,
    log: ImportLog,
    table: str | None,
    given: Mapping[str, str],
    rules: VoteRules | None,
    votes_file: str | os.PathLike[str] | None,
) -> RawDataset:
    inside: Mapping[str, Path | ZipMember] = {}
    if path.is_dir() or zip_members.is_zip(path):
        listing = Listing(path, log)
        name, inside = _choose_table(listing, table, given)
        if name is None:
            found, chosen = _class_folders(listing, log), None
        else:
            folder = name.rpartition("/")[0]
            beside = {
                PurePosixPath(other).name: content
                for other, content in listing.tables.items()
                if other.rpartition("/")[0] == folder
            }
            content = Table(listing.tables[name])
            found, chosen = _from_table(content, lambda: listing, folder, beside, log, given)
    elif path.suffix.lower() in (*TABLES, ".txt"):
        near = {name: path.parent / name for name in FER2013_FILES if (path.parent / name).exists()}
        quiet = ImportLog(str(path.parent), True, log.progress)  # other files are ignored
        found, chosen = _from_table(
            Table(path), lambda: Listing(path.parent, quiet), "", near, log, given
        )
        steps = read_steps(provenance_of(path)) if provenance_of(path).exists() else ()
        found.steps = found.steps or steps
    else:
        raise DataError(
            f"{path} is no folder, zip or CSV. Unpack another archive first; a single picture is "
            "no data set."
        )
    if rules is None and votes_file is None and chosen is None:
        return found
    if votes_file is not None:
        chosen = Table(Path(votes_file))
    chosen = chosen or _votes_of(path, inside)
    if kind_of(chosen, {}) != "FER+":
        raise DataError(
            f"{chosen.name} holds no votes: it needs the columns {', '.join(FERPLUS)}, unknown "
            "and NF."
        )
    return with_votes(found, chosen, rules or VoteRules(), log)


def _votes_of(path: Path, inside: Mapping[str, Path | ZipMember]) -> Table:
    """The votes within a folder or zip, or else those beside it."""
    if len(inside) > 1:
        raise DataError(
            f"{path} holds {len(inside)} files of votes: {', '.join(inside)}. Choose one: "
            "votes_file=..., on the command line --votes-file."
        )
    names = (f"{path.stem}.{VOTE_FILES[0]}", *VOTE_FILES)
    beside = [path.parent / name for name in names if (path.parent / name).exists()]
    for place in (*inside.values(), *beside):
        return Table(place)
    raise DataError(
        f"There are no votes for {path}: no {' or '.join(VOTE_FILES)} in it or beside it. Say "
        "where they are with votes_file=..., on the command line --votes-file."
    )


def _from_table(
    table: Table,
    listing: Callable[[], Listing],
    base: str,
    beside: Mapping[str, Path | ZipMember],
    log: ImportLog,
    given: Mapping[str, str],
) -> tuple[RawDataset, Table | None]:
    """The data set of a CSV, and the CSV itself if it holds votes for the pictures of another."""
    kind = kind_of(table, given)
    if kind == "FER+":
        name = next((name for name in FER2013_FILES if name in beside), None)
        if name is None:
            raise DataError(
                f"{table.name} holds FER+ votes and no pictures. Put {' or '.join(FER2013_FILES)} "
                "beside it, or open the folder or zip of its pictures with votes=..., on the "
                "command line --votes."
            )
        return pixel_rows(Table(beside[name]), log, {}), table
    if kind == "pixels" or table.column("pixels", given) is not None:
        return pixel_rows(table, log, given), None
    return named_pictures(table, listing(), base, log, given), None


def _choose_table(
    listing: Listing, wanted: str | None, given: Mapping[str, str]
) -> tuple[str | None, dict[str, Path | ZipMember]]:
    """The CSV of labels in a folder or zip, if there is one, and its files of votes."""
    useful: list[str] = []
    votes = {}
    for name, content in listing.tables.items():
        try:
            kind = kind_of(Table(content), given)
        except DataError as error:
            if wanted is None:
                listing.log.bad("CSVs that cannot be read", str(error).removesuffix("."))
            continue
        if kind == "FER+":
            votes[name] = content
        elif kind:
            useful.append(name)
    if wanted is not None:
        if wanted not in listing.tables:
            raise DataError(
                unknown_name_message(f"CSV in {listing.path}", wanted, list(listing.tables))
            )
        return wanted, votes
    if len(useful) > 1:
        raise DataError(
            f"{listing.path} holds {len(useful)} label files: {', '.join(useful)}. "
            f"Choose one: table={useful[0]!r}, on the command line --table {useful[0]}."
        )
    return (useful[0] if useful else None), votes


def _named(
    found: RawDataset,
    log: ImportLog,
    split: str | None,
    classes: Sequence[str] | None,
    labels: Mapping[str, str | None],
    on_unknown: str,
    known: Sequence[str],
) -> Dataset:
    """The data set with the library's labels, without what the caller does not want."""
    assert found.images is not None
    codes = np.array(found.codes, np.int64)
    counts = np.bincount(codes[codes >= 0], minlength=len(found.words))
    meanings = _meanings(found, counts, log, labels, on_unknown, known)
    chosen = _chosen_classes(meanings, counts, log, classes, known)
    target = np.array([chosen.index(m) if m in chosen else -1 for m in meanings.values()] + [-1])
    label_codes = target[codes]
    kept = np.flatnonzero(label_codes >= 0)
    if not len(kept):
        raise DataError(_nothing(log))
    dataset = Dataset(
        images=found.images.take(kept),
        classes=tuple(chosen),
        label_codes=label_codes[kept].astype(np.int16),
        split_codes=np.array(found.splits, np.uint8)[kept],
        provenance=(*found.steps, _step(found, log, meanings, len(kept))),
        votes=None if found.votes is None else _class_votes(found, target, len(chosen))[kept],
    )
    return dataset if split is None else dataset.split(split)


def _chosen_classes(
    meanings: Mapping[str, str | None],
    counts: NDArray[np.int64],
    log: ImportLog,
    classes: Sequence[str] | None,
    known: Sequence[str],
) -> list[str]:
    """The classes to keep: all that occur, or those that the caller names."""
    present = reading_order([name for name in set(meanings.values()) if name])
    if classes is None:
        return present
    wanted = [expression(name) or name for name in classes]
    for name in wanted:
        if name not in {*present, *known}:
            raise DataError(unknown_name_message("class here", name, present))
    for name in present:
        if name not in wanted:
            lost = [n for n, meaning in enumerate(meanings.values()) if meaning == name]
            log.skip(f"class {name} not chosen", "", int(counts[lost].sum()))
    return reading_order(wanted)


def _class_votes(found: RawDataset, target: NDArray[np.int64], classes: int) -> NDArray[np.float32]:
    """The votes for each label as written, added up by class."""
    assert found.votes is not None
    votes = np.zeros((len(found.votes), classes), np.float32)
    for column, code in enumerate(target[:-1]):
        if code >= 0:
            votes[:, code] += found.votes[:, column]
    if found.multi:
        return np.minimum(votes, 1)
    votes /= np.maximum(votes.sum(axis=1, keepdims=True), np.float32(1e-9))
    return votes


def _step(
    found: RawDataset, log: ImportLog, meanings: Mapping[str, str | None], pictures: int
) -> Step:
    """The step of the provenance: the format, renamed labels, skipped and odd entries."""
    step: dict[str, Any] = {
        "step": "open",
        "path": log.path,
        "format": found.format,
        "pictures": pictures,
    }
    if found.rules:
        step["votes"] = found.rules
    renamed = {word: name for word, name in meanings.items() if name and word != name}
    if renamed:
        step["labels"] = renamed
    return step | {key: of for key, of in (("skipped", log.skipped), ("noted", log.noted)) if of}


def _meanings(
    found: RawDataset,
    counts: NDArray[np.int64],
    log: ImportLog,
    labels: Mapping[str, str | None],
    on_unknown: str,
    known: Sequence[str],
) -> dict[str, str | None]:
    """The class of each label as written; None where its pictures are skipped."""
    mapped = {normalize_name(name): meaning for name, meaning in labels.items()}
    meanings: dict[str, str | None] = {}
    strange: dict[str, str] = {}
    for (word, place), count in zip(found.words.items(), counts.tolist(), strict=True):
        meaning = expression(word)
        if meaning not in known:
            meaning = None
        if found.numbered and re.fullmatch("[0-9]{1,9}", word) and int(word) < len(EXPRESSIONS):
            meaning = EXPRESSIONS[int(word)]
        if normalize_name(word) in mapped:
            target = mapped[normalize_name(word)]
            if not isinstance(target, (str, type(None))):
                raise DataError(f"labels says that {word!r} means {target!r}, which is not a word.")
            meaning = target and (expression(target) or target)
        elif meaning is None and on_unknown == "keep":
            meaning = word
        elif meaning is None and count:
            strange[word] = f"{word!r} ({count:,}, first {place})"
        meanings[word] = meaning
        if meaning is None:
            log.skip(f"label {word!r}", place, count)
    if strange and on_unknown == "error":
        first = next(iter(strange))
        option = "--label=" if first.startswith("-") else "--label "
        listed = [*strange.values()][:_MOST_LISTED]
        if len(strange) > _MOST_LISTED:
            listed.append(f"and {len(strange) - _MOST_LISTED:,} others")
        eight = "expressions=8, on the command line --expressions 8, takes contempt. "
        raise DataError(
            f"{log.path} has labels that are none of the {len(known)} expressions "
            f"({', '.join(known)}): {'; '.join(listed)}. "
            + eight
            * any(expression(word) == CONTEMPT for word in strange)
            + f"Say what they mean with labels={{{first!r}: 'neutral'}}, drop one with "
            f'labels={{{first!r}: None}}, or all with on_unknown="drop"; on the command line with '
            f"{option}{first}=neutral, {option}{first}= or --drop-unknown."
        )
    return meanings


def _nothing(log: ImportLog) -> str:
    skipped = "; ".join(f"{n['count']:,} {kind}" for kind, n in log.skipped.items())
    return (
        f"{log.path} has no labelled pictures"
        + (f" (skipped: {skipped})" if skipped else "")
        + ". A data set is a folder or zip of class folders (train/happy/x.jpg), a FER2013 CSV, or "
        "a CSV of names and labels beside its pictures."
    )
