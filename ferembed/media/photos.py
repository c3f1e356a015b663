"""Many photos: found in folders, read one by one, written as JSON or CSV.

A photo that cannot be read is a Reading with an error, never the end of the others.
"""

from __future__ import annotations

import csv
import glob
import json
import os
import sys
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Protocol

from ferembed._prefetch import prefetch_map
from ferembed._text import cell, printable
from ferembed.errors import DataError, ImageError
from ferembed.faces import Face, FaceRecipe
from ferembed.images import EXTENSIONS, Image, Source, load_image, save_picture
from ferembed.labels import EXPRESSIONS, display_name
from ferembed.media.annotate import annotate
from ferembed.pipeline import Pipeline, Prediction
from ferembed.storage.files import atomic_write, unique_name

if TYPE_CHECKING:
    from ferembed.datasets.zip_members import ZipMember

Write = Callable[["Reading"], None]


@dataclass(frozen=True)
class Reading:
    """The result of one photo: its faces, or the reason why it could not be read."""

    photo: str
    predictions: tuple[Prediction, ...] = ()
    error: str = ""


class Journal(Protocol):
    """The journal that `read_photos` uses: it returns earlier results and keeps new ones."""

    def known(self, photo: str | ZipMember) -> Reading | None: ...

    def drawn(self, photo: str | ZipMember) -> str | None: ...

    def add(self, photo: str | ZipMember, reading: Reading, drawn: str | None = None) -> None: ...


def find_photos(patterns: Sequence[str], drawn: str | None = None) -> list[str | ZipMember]:
    """The photos that paths, folders, globs and zips stand for: `unpacked` of `find_files`."""
    return unpacked(find_files(patterns, drawn, EXTENSIONS))


def find_images(patterns: Sequence[str]) -> Sequence[Source]:
    """The pictures of one data set, whatever its labels are, or the photos at the paths."""
    if len(patterns) > 1 or not patterns[0].lower().endswith((".zip", ".csv")):
        return find_photos(patterns)
    from ferembed import datasets

    try:
        return datasets.open(patterns[0], on_unknown="keep").images
    except DataError:
        if packed := datasets.pictures(patterns[0]):  # whose labels nobody asked for
            return packed
        raise


def unpacked(files: Iterable[str]) -> list[str | ZipMember]:
    """The files, and in place of a zip the pictures in it; a damaged one stays, to be reported."""
    photos: list[str | ZipMember] = []
    for file in files:
        packed: list[ZipMember] = []
        if file.lower().endswith(".zip"):
            from ferembed import datasets

            with suppress(DataError):
                packed = datasets.pictures(file)
        photos.extend(packed or [file])
    return photos


def find_files(patterns: Sequence[str], drawn: str | None, endings: Collection[str]) -> list[str]:
    """The files that paths, folders and globs stand for, each once, in order.

    Of a folder, all files below it of these endings, also in folders that are linked there, but no
    hidden ones; a file that is named counts whatever its
    ending is, and one that does not exist is kept, to be reported like any other failure. `drawn`
    is the folder for drawn copies: what lies there is passed over, and no photo may.
    """
    found: dict[str, None] = {}

    def unreadable(error: OSError) -> None:
        found[error.filename] = None  # a folder, which is told like a photo that cannot be read

    ours = drawn and os.path.realpath(drawn)
    for pattern in patterns:
        if os.path.isdir(pattern):
            if os.path.realpath(pattern) == ours:
                raise DataError(
                    f"The folder for annotated copies must not be an input folder ({pattern})."
                )
            seen: set[tuple[int, int]] = set()
            _is_new(pattern, seen)
            for folder, subfolders, names in os.walk(pattern, onerror=unreadable, followlinks=True):
                subfolders[:] = sorted(
                    name
                    for name in subfolders
                    if not name.startswith(".")
                    and os.path.realpath(os.path.join(folder, name)) != ours
                    and _is_new(os.path.join(folder, name), seen)
                )
                pictures = (
                    name
                    for name in sorted(names)
                    if Path(name).suffix.lower() in endings and not name.startswith(".")
                )
                found.update((os.path.join(folder, name), None) for name in pictures)
        elif os.path.exists(pattern) or not glob.has_magic(pattern):
            found[pattern] = None
        else:
            files = [match for match in glob.glob(pattern, recursive=True) if os.path.isfile(match)]
            found.update((file, None) for file in sorted(files) or [pattern])
    for photo in found:
        if ours and os.path.dirname(os.path.realpath(photo)) == ours:
            raise DataError(
                f"The annotated copy of {photo} would be in the folder of the photo. Choose "
                "another folder."
            )
    if not found:
        what = "photo" if set(endings) <= EXTENSIONS else "photo or video"
        raise DataError(f"No {what} found at {', '.join(patterns)}.")
    return list(found)


def _is_new(folder: str, seen: set[tuple[int, int]]) -> bool:
    """Whether a folder is met for the first time: a link may lead back up."""
    try:
        status = os.stat(folder)
    except OSError:
        return True  # which is reported when it is opened
    identity = (status.st_dev, status.st_ino)
    if status.st_ino and identity in seen:
        return False
    seen.add(identity)
    return True


def read_photos(
    pipeline: Pipeline,
    photos: Iterable[str | ZipMember],
    annotated: Path | None = None,
    language: str = "en",
    journal: Journal | None = None,
) -> Iterator[Reading]:
    """A Reading for every photo, in order; drawn copies go into the folder `annotated`.

    What the journal knows of a photo is not read again, and what is read goes into it. While one
    photo is read, the faces of the next are looked for.
    """
    import PIL.Image

    taken: set[str] = set()
    name = None
    for photo, reading, image, found in _found(pipeline, photos, journal):
        if reading is None:
            predictions = pipeline.read([crop for _, crop in found], [face for face, _ in found])
            reading = Reading(str(photo), tuple(predictions))
        if annotated is not None:
            # Those that fail have a name, too: the others keep theirs when it can be read later.
            name = f"{unique_name(Path(str(photo)).stem, taken)}.png"
            copy = annotated / name
            known = journal is not None and journal.drawn(photo) == name and copy.exists()
            if not reading.error and (image is not None or not known):
                shown = load_image(photo, pipeline.max_pixels) if image is None else image
                drawn = annotate(shown, reading.predictions, language)
                save_picture(PIL.Image.fromarray(drawn), copy)
        if journal is not None and image is not None:
            journal.add(photo, reading, name)
        yield reading


_Found = tuple["str | ZipMember", "Reading | None", "Image | None", list[tuple[Face, Image]]]


def _found(
    pipeline: Pipeline, photos: Iterable[str | ZipMember], journal: Journal | None
) -> Iterator[_Found]:
    """Each photo with its faces, or with the reading that needs none: known, or an error."""
    recipe = FaceRecipe.resolve(pipeline.detector)

    def find(photo: str | ZipMember) -> _Found:
        if journal is not None and (reading := journal.known(photo)):
            return photo, reading, None, []
        try:
            image = load_image(photo, pipeline.max_pixels)
        except ImageError as error:
            return photo, Reading(str(photo), error=str(error)), None, []
        return photo, None, image, recipe(image)

    return prefetch_map(find, photos, threads=1)  # a large photo takes 300 MB


def as_json(reading: Reading, language: str = "en") -> dict[str, Any]:
    """The reading as plain data."""
    faces = [
        {
            "box": list(prediction.face.box),
            "score": round(prediction.face.score, 4),
            "found": prediction.face.found,
            "landmarks": prediction.face.landmarks,
            "label": prediction.label,
            "name": display_name(prediction.label, language),
            "probabilities": {k: round(p, 6) for k, p in prediction.probabilities.items()},
        }
        for prediction in reading.predictions
    ]
    fields: dict[str, Any] = {"photo": reading.photo, "faces": faces}
    return {**fields, "error": reading.error} if reading.error else fields


@contextmanager
def writing(
    path: str | None,
    format: str,
    language: str = "en",
    labels: Sequence[str] = EXPRESSIONS,
) -> Iterator[Write]:
    """A function that writes a reading as "json", "csv" or "text".

    A file appears under its name when it is complete; `path` None is standard output. `labels`
    are the columns of a CSV.
    """
    if path is not None and os.path.isdir(path):
        raise DataError(f"{path} is a folder. Give the name of a file for the readings.")
    with ExitStack() as stack:
        out = sys.stdout if path is None else stack.enter_context(_new_file(Path(path)))
        yield stack.enter_context(_FORMATS[format](out, language, labels))


@contextmanager
def _new_file(path: Path) -> Iterator[IO[str]]:
    # Names of files need not be UTF-8.
    with (
        atomic_write(path) as unfinished,
        unfinished.open("w", encoding="utf-8", errors="backslashreplace", newline="") as file,
    ):
        yield file


@contextmanager
def _json(out: IO[str], language: str, labels: Sequence[str]) -> Iterator[Write]:
    separator = "[\n"

    def write(reading: Reading) -> None:
        nonlocal separator
        out.write(separator + json.dumps(as_json(reading, language), ensure_ascii=False))
        separator = ",\n"

    yield write
    out.write("[]\n" if separator == "[\n" else "\n]\n")


@contextmanager
def _csv(out: IO[str], language: str, labels: Sequence[str]) -> Iterator[Write]:
    table = csv.writer(out)
    box = ("x1", "y1", "x2", "y2")
    table.writerow(
        ["photo", "face", *box, "score", "found", "label", "name", *map(cell, labels), "error"],
    )

    def write(reading: Reading) -> None:
        if not reading.predictions:
            table.writerow(
                [cell(reading.photo), *[""] * (9 + len(labels)), printable(reading.error)]
            )
        for number, prediction in enumerate(reading.predictions, 1):
            face, label = prediction.face, prediction.label
            shares = [f"{prediction.probabilities.get(name, 0):.6f}" for name in labels]
            found = "yes" if face.found else "no"
            row = [cell(reading.photo), number, *face.box, f"{face.score:.4f}", found, cell(label)]
            table.writerow([*row, cell(display_name(label, language)), *shares, ""])

    yield write


@contextmanager
def _text(out: IO[str], language: str, labels: Sequence[str]) -> Iterator[Write]:
    def write(reading: Reading) -> None:
        if reading.error:
            return  # reported on standard error
        if not reading.predictions:
            out.write(f"{printable(reading.photo)}: no face found\n")
        for number, prediction in enumerate(reading.predictions, 1):
            box = ", ".join(map(str, prediction.face.box))
            where = f"face {number} at ({box})"
            if not prediction.face.found:
                where = "no face found; the whole picture read as one"
            out.write(f"{printable(reading.photo)}: {where}\n")
            for label, share in prediction.probabilities.items():
                mark = ">" if label == prediction.label else " "
                bar = "█" * round(share * 30)
                shown = printable(display_name(label, language))
                out.write(f"  {mark} {shown:9} {share:6.1%} {bar}\n")

    yield write


_FORMATS = {"json": _json, "csv": _csv, "text": _text}
