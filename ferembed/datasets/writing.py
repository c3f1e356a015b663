"""write: a data set as class folders or as a FER2013 CSV, whole or not at all."""

from __future__ import annotations

import hashlib
import io
import json
import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from ferembed._progress import Progress, report_progress
from ferembed.datasets.cropping import Crop
from ferembed.datasets.dataset import Dataset
from ferembed.datasets.listing import PROVENANCE, provenance_of
from ferembed.datasets.sources import ChangedImage
from ferembed.datasets.vocabulary import UNSPLIT
from ferembed.datasets.votes import VOTE_FILES, votes_text
from ferembed.datasets.zip_members import ZipMember
from ferembed.errors import DataError, ImageError
from ferembed.images import EXTENSIONS, LazyPicture, Source, load_image, open_source
from ferembed.labels import EXPRESSIONS
from ferembed.storage.files import LOCK, exclusive_folder, replace_durably, sync

_USAGE = {"train": "Training", "validation": "PublicTest", "test": "PrivateTest"}
_PLAN = "plan.txt"


def write(
    dataset: Dataset,
    out: str | os.PathLike[str],
    *,
    size: int = 48,
    progress: Progress | None = None,
) -> Path:
    """The data set at `out`: class folders, or the FER2013 format where `out` ends in .csv.

    Files are copied as they are, what was made from others is written as PNG; in a CSV every
    picture is gray and `size` x `size`. Votes go to ferplus.csv in the folder, or beside the CSV to
    a file of its name that ends in .ferplus.csv; `open(out, votes="probability")` reads them. The
    work goes on in `out`.part until it is whole: call again with the same data set after an
    interruption, and what was done stays done. How the set came about is written beside it, and
    `open` reads that too.
    """
    out = Path(out)
    part = out.with_name(f"{out.name}.part")
    if _finish(dataset, out, part, size if out.suffix.lower() == ".csv" else 0):
        return out
    _check_free(out)
    if not len(dataset):
        raise DataError(f"The data set has no pictures; there is nothing to write to {out}.")
    as_csv = out.suffix.lower() == ".csv"
    strange = [label for label in dataset.classes if label not in EXPRESSIONS]
    if as_csv and size < 1:
        raise DataError(f"size is {size}; pictures of a CSV have a side of at least 1.")
    if as_csv and strange:
        raise DataError(
            f"A FER2013 CSV has numbers for the seven expressions, and none for "
            f"{', '.join(strange)}. Write class folders, or map such labels when opening the set."
        )
    for label in dataset.classes:
        if not re.fullmatch(r"\w[\w +-]*", label):
            raise DataError(
                f"The label {label!r} cannot be the name of a folder. Map it to another."
            )
    with exclusive_folder(part, DataError):
        try:
            _check_free(out)
        except DataError:  # another process has finished just now
            shutil.rmtree(part)
            raise
        try:
            _write(dataset, out, part, size if as_csv else 0, progress)
        except ImageError as error:
            raise type(error)(
                f"{error} Fix it and call again to resume, or leave such pictures "
                f"out: delete {part}, and clean the data set first (on the command line --clean)."
            ) from None
    if not as_csv:  # which moves a file; a folder is moved once nothing in it is open
        if out.exists():
            out.rmdir()
        replace_durably(part, out)
    _clean_up(out, part)
    return out


def _check_free(out: Path) -> None:
    """A DataError if there is something at `out`."""
    if out.exists() and not (out.is_dir() and not any(out.iterdir())):
        raise DataError(f"{out} exists already. Delete it, or choose another name.")


def _finish(dataset: Dataset, out: Path, part: Path, size: int) -> bool:
    """True if `out` is complete, from a call that was interrupted before it had cleaned up."""
    place = part if size else out
    known = place / _PLAN
    if not out.exists() or not known.is_file() or (size and (part / "rows.csv").exists()):
        return False
    if known.read_bytes() != _plan(dataset, size).encode():
        return False
    _clean_up(out, part)
    return True


def _clean_up(out: Path, part: Path) -> None:
    """Remove what the work needed and the data set does not."""
    if out.is_dir():
        (out / LOCK).unlink(missing_ok=True)
        (out / _PLAN).unlink(missing_ok=True)
    else:
        shutil.rmtree(part)


def _write(dataset: Dataset, out: Path, part: Path, size: int, progress: Progress | None) -> None:
    as_csv = bool(size)
    _begin(part, _plan(dataset, size), out)
    if as_csv:
        _write_rows(dataset, part / "rows.csv", size, progress)
    else:
        _write_folders(dataset, part, progress)
    if dataset.votes is not None:
        _write_votes(dataset, out, part)
    steps = json.dumps(list(dataset.provenance), indent=1, ensure_ascii=False)
    written = steps.encode("utf-8", "backslashreplace")  # names of files need not be UTF-8
    if as_csv:
        _write_whole(provenance_of(out), written)
        replace_durably(part / "rows.csv", out)
    else:
        _write_whole(part / PROVENANCE, written)


def _plan(dataset: Dataset, size: int) -> str:
    """A digest of what will be written, by which a later call knows its own work."""
    plan = hashlib.blake2b(digest_size=16)
    plan.update(json.dumps([list(dataset.provenance), dataset.classes, size]).encode())
    for index, (source, _, _) in enumerate(dataset):
        name = dataset.images.name(index).encode("utf-8", "surrogateescape")
        plan.update(name + b"\n" + _mark(source))
    plan.update(dataset.label_codes.tobytes() + dataset.split_codes.tobytes())
    plan.update(b"" if dataset.votes is None else dataset.votes.tobytes())
    return plan.hexdigest()


def _mark(source: Source) -> bytes:
    """The digest of a picture that has no file; b"" for others."""
    if isinstance(source, (ChangedImage, Crop)):
        return _mark(source.source)
    if isinstance(source, (str, Path, ZipMember, LazyPicture)):
        return b""
    try:
        return open_source(source).digest()
    except ImageError:  # reported when it is written
        return b""


def _begin(part: Path, plan: str, out: Path) -> None:
    known = part / _PLAN
    if known.exists() and known.read_bytes() == plan.encode():
        return
    if any(path.name not in (LOCK, f"{_PLAN}.new") for path in part.iterdir()):
        raise DataError(
            f"{part} holds a part of another data set. Delete it, or write to a name other "
            f"than {out.name}."
        )
    _write_whole(known, plan.encode())


def _write_whole(path: Path, content: bytes) -> None:
    unfinished = path.with_name(f"{path.name}.new")
    unfinished.write_bytes(content)
    sync(unfinished)
    os.replace(unfinished, path)


def _write_folders(dataset: Dataset, part: Path, progress: Progress | None) -> None:
    for index, (target, source) in enumerate(_targets(dataset, part)):
        if not target.exists():
            target.parent.mkdir(parents=True, exist_ok=True)
            _write_whole(target, _encoded(source))
        report_progress(progress, index, len(dataset))


def _write_votes(dataset: Dataset, out: Path, part: Path) -> None:
    """The votes in the folder by file name, or beside the CSV by row."""
    assert dataset.votes is not None
    if out.suffix.lower() == ".csv":
        place, names = out.with_suffix(f".{VOTE_FILES[0]}"), [""] * len(dataset)
    else:
        place = part / VOTE_FILES[0]
        names = [target.relative_to(part).as_posix() for target, _ in _targets(dataset, part)]
    usages = [_USAGE.get(split, "") for split in dataset.splits]
    text = votes_text(dataset.classes, names, usages, dataset.votes)
    _write_whole(place, text.encode("utf-8", "surrogateescape"))


def _targets(dataset: Dataset, part: Path) -> Iterator[tuple[Path, Source]]:
    """The path of each picture; no two names in a folder differ in case alone."""
    taken: set[str] = set()
    for index, (source, label, split) in enumerate(dataset):
        folder = part / label if split == UNSPLIT else part / split / label
        is_file = isinstance(source, (str, Path, ZipMember))
        name = dataset.images.original(index)
        stem, ending = os.path.splitext(name.rpartition("/")[2])
        if not is_file or ending.lower() not in EXTENSIONS:
            ending = ".png"
        stem = re.sub(r"[^\w.+-]+", "-", stem).strip("-.") or "picture"
        name, number = stem, 1
        while (key := f"{split}/{label}/{name}{ending}".casefold()) in taken:
            number += 1
            name = f"{stem}-{number}"
        taken.add(key)
        yield folder / f"{name}{ending}", source


def _encoded(source: Source) -> bytes:
    """A file as it is, anything else as PNG."""
    if isinstance(source, str):
        source = Path(source)
    if isinstance(source, (Path, ZipMember)):
        try:
            return source.read_bytes()
        except OSError as error:
            raise ImageError(f"{source} cannot be read: {error}.") from None
    import PIL.Image

    image = load_image(source)
    gray = (image == image[:, :, :1]).all()
    png = io.BytesIO()
    PIL.Image.fromarray(image[:, :, 0] if gray else image).save(png, "PNG")
    return png.getvalue()


def _write_rows(dataset: Dataset, path: Path, size: int, progress: Progress | None) -> None:
    split = not dataset.mask(UNSPLIT).all()
    done = _whole_rows(path)
    with path.open("ab") as file:
        if not done:
            file.write(b"emotion,pixels,Usage\n" if split else b"emotion,pixels\n")
        for index, (source, label, usage) in enumerate(dataset):
            if index + 1 > done - 1 or not done:
                pixels = " ".join(map(str, _gray(source, size).ravel().tolist()))
                row = f"{EXPRESSIONS.index(label)},{pixels}"
                row += f",{_USAGE.get(usage, '')}" if split else ""
                file.write(row.encode() + b"\n")
            report_progress(progress, index, len(dataset))


def _whole_rows(path: Path) -> int:
    """The number of whole lines that an interrupted call left; the rest is cut off."""
    if not path.exists():
        return 0
    lines = end = 0
    with path.open("rb") as file:
        for line in file:
            if line.endswith(b"\n"):
                lines += 1
                end += len(line)
    os.truncate(path, end)
    return lines


def _gray(source: Source, size: int) -> NDArray[np.uint8]:
    image = load_image(source)
    gray = image[:, :, 0] if (image == image[:, :, :1]).all() else _luma(image)
    if gray.shape != (size, size):
        smaller = gray.shape[0] > size
        gray = _resized(gray, size, cv2.INTER_AREA if smaller else cv2.INTER_LINEAR)
    return gray


def _luma(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return np.asarray(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), np.uint8)


def _resized(gray: NDArray[np.uint8], size: int, how: int) -> NDArray[np.uint8]:
    return np.asarray(cv2.resize(gray, (size, size), interpolation=how), np.uint8)
