"""Write the results of photos as JSON, CSV or text."""

from __future__ import annotations

import csv
import json
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO, Any

from ferembed._text import cell, printable
from ferembed.errors import DataError
from ferembed.labels import EXPRESSIONS, display_name
from ferembed.media.photos import Reading
from ferembed.storage.files import atomic_write

Write = Callable[[Reading], None]


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
