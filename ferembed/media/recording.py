"""Recording: a video or a camera, watched, with a table, a film and a timeline of it."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import KW_ONLY, dataclass, field
from pathlib import Path
from typing import Any

from ferembed._interrupts import deferred_interrupts
from ferembed._progress import Progress
from ferembed.errors import DataError, FerembedError, VideoError
from ferembed.media.film import Film, close_window, draw, has_display, show
from ferembed.media.table import Table
from ferembed.media.timeline import Timeline
from ferembed.media.timeline_picture import save_timeline
from ferembed.media.video import Frame, Source, Video, open_video
from ferembed.media.watch import watch
from ferembed.pipeline import Pipeline
from ferembed.storage.files import unique_name


@dataclass(frozen=True)
class Recording:
    """The result of watching a video: frames, people, notes and errors.

    `errors` ended it early; `lost` says which outputs could not be finished.
    """

    video: str
    timeline: Timeline
    _: KW_ONLY
    notes: tuple[str, ...] = ()
    errors: tuple[str, ...] = ()
    lost: tuple[str, ...] = ()
    stopped: bool = False  # by Ctrl-C

    @property
    def frames(self) -> int:
        """The number of frames that were read."""
        return self.timeline.frames

    def messages(self) -> list[str]:
        """Notes, errors and an interruption, as messages for the user."""
        kept = f"The {self.frames} frames read until then have been saved."
        if self.lost:
            kept = f"{self.frames} frames were read until then."
        errors = [f"{error} {kept}" if self.frames else error for error in self.errors]
        interrupted = [f"{self.video} was interrupted. {kept}"] if self.stopped else []
        return [*self.notes, *errors, *self.lost, *interrupted]

    def summary(self, language: str = "en") -> str:
        """The length of the video, and who was in it."""
        facts = f"{self.video}: {self.frames} frames, {self.timeline.seconds:.1f} s"
        return f"{facts}\n{self.timeline.text(language)}"


def record(
    pipeline: Pipeline,
    source: Source,
    table: Table | None = None,
    *,
    film: str | os.PathLike[str] | None = None,
    timeline: str | os.PathLike[str] | None = None,
    window: bool = False,
    language: str = "en",
    detect_every: int = 1,
    smoothing: float = 0.5,
    realtime: bool | None = None,
    frames: int | None = None,
    seconds: float | None = None,
    progress: Progress | None = None,
) -> Recording:
    """Watch a video or a camera to its end, and write the outputs that are named.

    Ctrl-C, a camera that disconnects or a full disk end it early. Everything until then is saved,
    and the recording has the reason.

    Parameters
    ----------
    table : gets a row for each frame and person
    film : an .mp4 of the frames, drawn on
    timeline : a .png of the expressions of each person over time
    window : show the frames, drawn on; Esc or q closes it and ends the recording
    language : of the labels in the film, the timeline and the window
    detect_every, smoothing, realtime : as for `watch`
    frames, seconds : the limits after which it ends
    progress : is called with the numbers of frames done and in all, None if unknown
    """
    _check(source, film, window)
    outputs = _Outputs(table, Film(Path(film)) if film else None, window, language, progress)
    seen, stopped = outputs.timeline, False
    errors: list[str] = []
    lost: list[str] = []
    notes: list[str] = []
    name = f"camera {source}" if isinstance(source, int) else os.fspath(source)
    with _collect_errors(errors), open_video(source) as video:
        notes = video.notes
        watching = watch(
            pipeline, video, detect_every=detect_every, smoothing=smoothing, realtime=realtime
        )
        try:
            with _collect_errors(errors), closing(watching):
                for frame in watching:
                    late = seconds is not None and frame.seconds >= seconds
                    if late or not outputs.add(video, frame) or seen.frames == frames:
                        break
        except KeyboardInterrupt:
            stopped = True
    with _collect_errors(lost):
        outputs.close()
    if timeline and seen.frames:
        with _collect_errors(lost, timeline):
            save_timeline(seen, timeline, language, os.path.basename(name))
    return Recording(
        name, seen, notes=tuple(notes), errors=tuple(errors), lost=tuple(lost), stopped=stopped
    )


def _check(source: Source, film: str | os.PathLike[str] | None, window: bool) -> None:
    if window and not has_display():
        raise VideoError(
            "There is no display to open a window on. Do without (--no-window), and write the "
            "results to a table, a film or a timeline."
        )
    if film and not isinstance(source, int) and os.path.realpath(film) == os.path.realpath(source):
        raise DataError(f"The film would replace the input {film}. Choose another name.")


@dataclass
class _Outputs:
    """The receivers of each frame: a table, a film, a window, a timeline, and `progress`."""

    table: Table | None
    film: Film | None
    window: bool
    language: str
    progress: Progress | None
    _: KW_ONLY
    timeline: Timeline = field(default_factory=Timeline)

    def add(self, video: Video, frame: Frame) -> bool:
        """Add a frame to each, or to none if interrupted; False once the window was closed."""
        drawn = draw(frame, self.language) if self.film or self.window else None
        with deferred_interrupts():
            if self.table:
                self.table.add(video, frame)
            self.timeline.add(frame)
            if self.film and drawn is not None:
                self.film.add(drawn, frame.seconds, video.fps)
        if self.progress:
            self.progress(frame.index + 1, video.count)
        return drawn is None or not self.window or show(drawn)

    def close(self) -> None:
        """Close the window and finish the film."""
        if self.window:
            close_window()
        if self.film:
            self.film.close()


def record_all(
    pipeline: Pipeline,
    videos: Sequence[str],
    table: Table | None = None,
    *,
    films: str | None = None,
    timelines: str | None = None,
    **settings: Any,
) -> Iterator[Recording]:
    """A recording of each video, until one is interrupted.

    `films` is the folder for films. `timelines` is a picture for one video, and a folder for
    several. `settings` are those of `record`.
    """
    one = len(videos) == 1 and not os.path.isdir(timelines or "")
    taken: set[str] = set()
    for video in videos:
        name = unique_name(Path(video).stem, taken)
        film = Path(films, f"{name}.mp4") if films else None
        timeline = (timelines if one else Path(timelines, f"{name}.png")) if timelines else None
        recording = record(pipeline, video, table, film=film, timeline=timeline, **settings)
        yield recording
        if recording.stopped:
            return


@contextmanager
def _collect_errors(errors: list[str], path: str | os.PathLike[str] = "") -> Iterator[None]:
    """Inside `with`, an error ends the block and is added to `errors`; `path` is the output."""
    try:
        yield
    except FerembedError as error:
        errors.append(str(error))
    except BrokenPipeError:  # the reader, such as head, has seen enough
        pass
    except OSError as error:
        errors.append(f"{os.fspath(path) or error.filename}: {error.strerror or error}.")
