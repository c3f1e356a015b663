"""Messages and summaries of videos that were read."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from ferembed.cli.output import ExitCode, warn

if TYPE_CHECKING:
    from ferembed.media.recording import Recording
    from ferembed.pipeline import Pipeline


def record_videos(
    pipeline: Pipeline,
    videos: Sequence[str],
    output: str | None,
    format: str,
    *,
    language: str,
    quiet: bool,
    **settings: Any,
) -> ExitCode:
    """Read videos into one table and report each; `settings` are those of `record_all`."""
    from ferembed._progress import ProgressBar
    from ferembed.media.recording import record_all
    from ferembed.media.table import Table

    with (
        Table.for_pipeline(pipeline, output, format, language) as table,
        ProgressBar("frame", quiet=quiet) as progress,
    ):
        recordings = record_all(
            pipeline, videos, table, language=language, progress=progress, **settings
        )
        return report_recordings(recordings, shown_language(output, format, language))


def shown_language(output: str | None, format: str, language: str) -> str | None:
    """The language of summaries on the terminal; None where there are none."""
    return language if format == "text" and not output else None


def report_recordings(recordings: Iterable[Recording], language: str | None) -> ExitCode:
    """Print what happened to each recording, and who was in it if a language is given."""
    from tqdm import tqdm

    code, frames = ExitCode.DONE, 0
    for recording in recordings:
        frames += recording.frames
        for message in recording.messages():
            warn(message)
        if recording.stopped:
            code = ExitCode.INTERRUPTED
        elif recording.errors or recording.lost:
            code = ExitCode.SOME_FAILED
        if recording.frames and language:
            tqdm.write(recording.summary(language), file=sys.stdout)
    return code if frames or not code else ExitCode.FAILED
