"""A batch of photos or videos: found, read, and written to one output."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

from ferembed._progress import Progress
from ferembed.embedder import Embedded, Embedder
from ferembed.errors import DataError
from ferembed.media.film import has_display
from ferembed.media.find import expand_zips, find_images, find_videos
from ferembed.media.journal import open_journal
from ferembed.media.photos import read_photos
from ferembed.media.recording import Recording, record, record_all
from ferembed.media.table import Table
from ferembed.media.writers import writing
from ferembed.pipeline import Pipeline
from ferembed.storage.files import check_outputs

Tell: TypeAlias = Callable[[str], object]


def _tell_nobody(line: str) -> None:
    pass


@dataclass(frozen=True, kw_only=True)
class Outputs:
    """The outputs of a batch.

    Parameters
    ----------
    table : a file for the faces; None for standard output
    format : of the table: "json", "csv" or "text"
    drawn : a folder for copies of the photos or videos with the predictions drawn on them
    timeline : a PNG of the expressions over time; of several videos a folder
    language : of the labels
    """

    table: str | None = None
    format: str = "text"
    drawn: str | None = None
    timeline: str | None = None
    language: str = "en"


@dataclass(frozen=True, kw_only=True)
class Batch:
    """The numbers of photos, of videos, of those that failed, of faces and of frames.

    Faces are counted in photos, and frames in videos. An interrupted batch has no more to come.
    """

    photos: int = 0
    videos: int = 0
    failed: int = 0
    faces: int = 0
    frames: int = 0
    interrupted: bool = False

    @property
    def nothing(self) -> bool:
        """True if no frame of any video could be read."""
        return bool(self.failed and self.videos and not self.frames)

    def __str__(self) -> str:
        if self.videos:
            return f"{self.frames:,} frames of {self.videos:,} videos"
        return f"{self.faces:,} faces in {self.photos - self.failed:,} photos"


def embed_files(embedder: Embedder, patterns: Sequence[str], output: str | None = None) -> Embedded:
    """Compute the vectors of pictures into the store; with `output` into an .npz, too.

    The pictures are at paths and globs, in folders, or those of one data set.
    """
    if output and not output.lower().endswith(".npz"):
        raise DataError(f"{output} would be an .npz. Give it a name that ends so.")
    images = find_images(patterns)
    if not output:
        return embedder.warm_store(images)
    files = [image for image in images if isinstance(image, str)]
    check_outputs([*patterns, *files], output)
    embedded = embedder.embed(images)
    embedded.save(output, images)
    return embedded


def predict_files(
    patterns: Sequence[str],
    load: Callable[[], Pipeline],
    outputs: Outputs = Outputs(),
    *,
    progress: Progress | None = None,
    warn: Tell = _tell_nobody,
    show: Tell = _tell_nobody,
    **tracking: Any,
) -> Batch:
    """Read the photos or videos at paths and globs and in folders.

    The model is loaded once they are found. See `predict_photos` and `predict_videos`.
    """
    videos, photos, skipped = find_videos(patterns, outputs.drawn)
    if outputs.timeline and not videos:
        raise DataError("--timeline is drawn of videos, and none is named.")
    if skipped:
        warn(
            f"skipped {len(skipped)} videos (first: {skipped[0]}); pass a video by name to "
            "process it."
        )
    check_outputs([*videos, *photos], outputs.table, outputs.timeline)
    if photos:
        return predict_photos(load(), photos, outputs, progress=progress, warn=warn)
    return predict_videos(
        load(), videos, outputs, progress=progress, warn=warn, show=show, **tracking
    )


def predict_photos(
    pipeline: Pipeline,
    files: Sequence[str],
    outputs: Outputs = Outputs(),
    *,
    progress: Progress | None = None,
    warn: Tell = _tell_nobody,
) -> Batch:
    """Read photos, and those in zips, and write their faces to a file or to standard output.

    Photos that an interrupted run with the same output has read are not read again. `progress` is
    called after each photo, if there are several, and `warn` with a line for each photo that cannot
    be read, and with what is resumed.
    """
    photos = expand_zips(files)
    labels = pipeline.labels
    folder = Path(outputs.drawn) if outputs.drawn else None
    language = outputs.language
    failed = faces = 0
    with (
        open_journal(outputs.table, pipeline, outputs.drawn, language) as journal,
        writing(outputs.table, outputs.format, language, labels) as write,
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
    return Batch(photos=len(photos), failed=failed, faces=faces)


def predict_videos(
    pipeline: Pipeline,
    videos: Sequence[str],
    outputs: Outputs = Outputs(),
    *,
    progress: Progress | None = None,
    warn: Tell = _tell_nobody,
    show: Tell = _tell_nobody,
    **tracking: Any,
) -> Batch:
    """Read videos, one after the other, and write the people of each frame to one table.

    `warn` and `show` are those of `report`, and `tracking` are settings of `record`.
    """
    with Table.for_pipeline(pipeline, outputs.table, outputs.format, outputs.language) as table:
        recordings = record_all(
            pipeline,
            videos,
            table,
            films=outputs.drawn,
            timelines=outputs.timeline,
            language=outputs.language,
            progress=progress,
            **tracking,
        )
        return report(recordings, outputs, warn=warn, show=show)


def watch_live(
    source: int | str,
    load: Callable[[], Pipeline],
    outputs: Outputs = Outputs(),
    *,
    window: bool = True,
    progress: Progress | None = None,
    warn: Tell = _tell_nobody,
    show: Tell = _tell_nobody,
    **settings: Any,
) -> Batch:
    """Follow the people before a camera, by its number, or in a video as it runs.

    `outputs.drawn` is an .mp4. `window` shows the frames; without a display that is an error,
    unless results go to an output. `settings` are those of `record`.
    """
    check_outputs([str(source)], outputs.table, outputs.drawn, outputs.timeline)
    written = outputs.table or outputs.drawn or outputs.timeline
    pipeline = load()
    with Table.for_pipeline(pipeline, outputs.table, outputs.format, outputs.language) as table:
        recording = record(
            pipeline,
            source,
            table,
            film=outputs.drawn,
            timeline=outputs.timeline,
            window=window and (has_display() or not written),
            language=outputs.language,
            realtime=True,
            progress=progress,
            **settings,
        )
        return report([recording], outputs, warn=warn, show=show)


def report(recordings: Iterable[Recording], outputs: Outputs, *, warn: Tell, show: Tell) -> Batch:
    """Count recordings, and tell of each as soon as it ends.

    `warn` is called with what went wrong, and `show` with who was in it, if the output is text on
    standard output.
    """
    videos = failed = frames = 0
    interrupted = False
    for recording in recordings:
        videos += 1
        frames += recording.frames
        failed += bool(recording.errors or recording.lost)
        interrupted |= recording.stopped
        for message in recording.messages():
            warn(message)
        if recording.frames and outputs.format == "text" and not outputs.table:
            show(recording.summary(outputs.language))
    return Batch(videos=videos, failed=failed, frames=frames, interrupted=interrupted)
