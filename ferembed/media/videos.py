"""Videos and cameras, read into one table, with a report on each recording."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from ferembed._progress import Progress
from ferembed.media.film import has_display
from ferembed.media.outputs import TERMINAL, Batch, Outputs, Tell, tell_nobody
from ferembed.media.recording import Recording, record, record_all
from ferembed.media.table import Table
from ferembed.pipeline import Pipeline
from ferembed.storage.files import check_outputs


def predict_videos(
    pipeline: Pipeline,
    videos: Sequence[str],
    outputs: Outputs = TERMINAL,
    *,
    progress: Progress | None = None,
    warn: Tell = tell_nobody,
    show: Tell = tell_nobody,
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
    outputs: Outputs = TERMINAL,
    *,
    window: bool = True,
    progress: Progress | None = None,
    warn: Tell = tell_nobody,
    show: Tell = tell_nobody,
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
    """Count recordings, and report each as soon as it ends.

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
