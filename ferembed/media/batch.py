"""A batch of photos: read, written to one output, and resumed after an interruption."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from ferembed._progress import Progress
from ferembed.labels import reading_order
from ferembed.media.find import expand_zips
from ferembed.media.journal import open_journal
from ferembed.media.photos import read_photos
from ferembed.media.writers import writing
from ferembed.pipeline import Pipeline


@dataclass(frozen=True)
class Batch:
    """The numbers of photos, of those that could not be read, and of faces."""

    photos: int
    failed: int
    faces: int


def predict_photos(
    pipeline: Pipeline,
    files: Sequence[str],
    output: str | None = None,
    format: str = "text",
    *,
    annotated_folder: str | None = None,
    language: str = "en",
    progress: Progress | None = None,
    warn: Callable[[str], object] = lambda message: None,
) -> Batch:
    """Read photos, and those in zips, and write their faces to a file or to standard output.

    Photos that an interrupted run with the same output has read are not read again.

    Parameters
    ----------
    format : "json", "csv" or "text"
    annotated_folder : a folder for copies of the photos with the predictions drawn on them
    language : of the labels
    progress : is called after each photo, if there are several
    warn : is called with a line for each photo that cannot be read, and with what is resumed
    """
    photos = expand_zips(files)
    labels = reading_order([str(label) for label in pipeline.classes_])
    folder = Path(annotated_folder) if annotated_folder else None
    failed = faces = 0
    with (
        open_journal(output, pipeline, annotated_folder, language) as journal,
        writing(output, format, language, labels) as write,
    ):
        if journal:
            warn(f"{len(journal)} photos were read before.")
        readings = read_photos(pipeline, photos, folder, language, journal)
        for done, reading in enumerate(readings, 1):
            write(reading)
            faces += len(reading.predictions)
            if reading.error:
                failed += 1
                warn(reading.error)
            if progress and len(photos) > 1:
                progress(done, len(photos))
    if failed and len(photos) > 1:
        warn(f"{failed} of {len(photos)} files could not be read.")
    return Batch(len(photos), failed, faces)
