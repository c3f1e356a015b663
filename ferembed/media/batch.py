"""A batch of photos or videos: found, read, and written to one output."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from ferembed._progress import Progress
from ferembed.embedder import Embedded, Embedder
from ferembed.errors import DataError
from ferembed.media.find import expand_zips, find_images, find_videos
from ferembed.media.journal import open_journal
from ferembed.media.outputs import TERMINAL, Batch, Outputs, Tell, tell_nobody
from ferembed.media.photos import read_photos
from ferembed.media.writers import writing
from ferembed.pipeline import Pipeline
from ferembed.storage.files import check_outputs


def embed_files(embedder: Embedder, patterns: Sequence[str], output: str | None = None) -> Embedded:
    """Compute the vectors of pictures into the store; with `output` into an .npz, too.

    The pictures are at paths and globs, in folders, or those of one data set.
    """
    if output and not output.lower().endswith(".npz"):
        raise DataError(f"{output} is not a name for an .npz file: it must end in .npz.")
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
    outputs: Outputs = TERMINAL,
    *,
    progress: Progress | None = None,
    warn: Tell = tell_nobody,
    show: Tell = tell_nobody,
    **tracking: Any,
) -> Batch:
    """Read the photos or videos at paths and globs and in folders.

    The model is loaded once they are found. See `predict_photos` and
    `videos.predict_videos`.
    """
    videos, photos, skipped = find_videos(patterns, outputs.drawn)
    if outputs.timeline and not videos:
        raise DataError("--timeline draws videos, and no video is given. Leave it out for photos.")
    if skipped:
        warn(
            f"skipped {len(skipped)} videos (first: {skipped[0]}); pass a video by name to "
            "process it."
        )
    check_outputs([*videos, *photos], outputs.table, outputs.timeline)
    if photos:
        return predict_photos(load(), photos, outputs, progress=progress, warn=warn)
    from ferembed.media.videos import predict_videos

    return predict_videos(
        load(), videos, outputs, progress=progress, warn=warn, show=show, **tracking
    )


def predict_photos(
    pipeline: Pipeline,
    files: Sequence[str],
    outputs: Outputs = TERMINAL,
    *,
    progress: Progress | None = None,
    warn: Tell = tell_nobody,
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
