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
from ferembed.media.photos import PhotoResult
from ferembed.pipeline import Prediction
from ferembed.storage.files import atomic_write

Write = Callable[[PhotoResult], None]


def faces_as_json(predictions: Sequence[Prediction], language: str = "en") -> list[dict[str, Any]]:
    """Faces and their predictions as plain data."""
    return [
        {
            "box": list(prediction.face.box),
            "score": round(prediction.face.score, 4),
            "found": prediction.face.found,
            "detector": prediction.face.detector,
            "landmarks": prediction.face.landmarks,
            "label": prediction.label,
            "name": display_name(prediction.label, language),
            "probabilities": {k: round(p, 6) for k, p in prediction.probabilities.items()},
        }
        for prediction in predictions
    ]


def face_columns(labels: Sequence[str]) -> list[str]:
    """The CSV columns of a face."""
    facts = ["x1", "y1", "x2", "y2", "score", "found", "detector", "label", "name"]
    return [*facts, *map(cell, labels)]


def face_cells(prediction: Prediction, language: str, labels: Sequence[str]) -> list[Any]:
    """The CSV cells of a face, for `face_columns`."""
    face = prediction.face
    return [
        *face.box,
        f"{face.score:.4f}",
        "yes" if face.found else "no",
        face.detector,
        cell(prediction.label),
        cell(display_name(prediction.label, language)),
        *(f"{prediction.probabilities.get(label, 0):.6f}" for label in labels),
    ]


@contextmanager
def writing(
    path: str | None,
    format: str,
    language: str = "en",
    labels: Sequence[str] = EXPRESSIONS,
) -> Iterator[Write]:
    """A function that writes a PhotoResult as "json", "csv" or "text".

    A file appears under its name when it is complete; `path` None is standard output. `labels`
    are the columns of a CSV.
    """
    if path is not None and os.path.isdir(path):
        raise DataError(f"{path} is a folder. Give the name of a file for the results.")
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

    def write(result: PhotoResult) -> None:
        nonlocal separator
        fields = {"photo": result.photo, "faces": faces_as_json(result.predictions, language)}
        if result.error:
            fields["error"] = result.error
        out.write(separator + json.dumps(fields, ensure_ascii=False))
        separator = ",\n"

    yield write
    out.write("[]\n" if separator == "[\n" else "\n]\n")


@contextmanager
def _csv(out: IO[str], language: str, labels: Sequence[str]) -> Iterator[Write]:
    table = csv.writer(out)
    columns = face_columns(labels)
    table.writerow(["photo", "face", *columns, "error"])

    def write(result: PhotoResult) -> None:
        if not result.predictions:
            table.writerow([cell(result.photo), "", *[""] * len(columns), printable(result.error)])
        for number, prediction in enumerate(result.predictions, 1):
            cells = face_cells(prediction, language, labels)
            table.writerow([cell(result.photo), number, *cells, ""])

    yield write


@contextmanager
def _text(out: IO[str], language: str, labels: Sequence[str]) -> Iterator[Write]:
    def write(result: PhotoResult) -> None:
        if result.error:
            return  # reported on standard error
        if not result.predictions:
            out.write(f"{printable(result.photo)}: no face found\n")
        for number, prediction in enumerate(result.predictions, 1):
            box = ", ".join(map(str, prediction.face.box))
            where = f"face {number} at ({box})"
            if not prediction.face.found:
                where = "no face found; the whole picture was read"
            out.write(f"{printable(result.photo)}: {where}\n")
            for label, share in prediction.probabilities.items():
                mark = ">" if label == prediction.label else " "
                bar = "█" * round(share * 30)
                shown = printable(display_name(label, language))
                out.write(f"  {mark} {shown:9} {share:6.1%} {bar}\n")

    yield write


_FORMATS = {"json": _json, "csv": _csv, "text": _text}
