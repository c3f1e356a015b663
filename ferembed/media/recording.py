"""Recording: what is seen in a video, written down as it comes; a table, a film, a timeline."""

from __future__ import annotations

import csv
import errno
import io
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from ferembed._text import cell, printable
from ferembed.drawing import font
from ferembed.errors import DataError, FerembedError, VideoError
from ferembed.images import Image
from ferembed.labels import EXPRESSIONS, display_name, reading_order
from ferembed.media.annotate import annotate
from ferembed.media.photos import Reading, as_json
from ferembed.media.timeline import Timeline
from ferembed.media.timeline_picture import save_timeline
from ferembed.media.video import Frame, Source, Video, openable, quietly, watch
from ferembed.pipeline import Pipeline
from ferembed.storage.files import temporary, unique_name

_ROOM = 4 << 20  # bytes that are left on the disk
_LONGEST_STILL = 60.0  # seconds that a film stands still at most
_TITLE = "ferembed"


@dataclass(frozen=True)
class Recording:
    """The result of watching a video: frames, people, notes and errors."""

    video: str
    timeline: Timeline
    notes: tuple[str, ...] = ()
    errors: tuple[str, ...] = ()
    stopped: bool = False  # by Ctrl-C

    @property
    def frames(self) -> int:
        """The number of frames that were read."""
        return self.timeline.frames

    def messages(self) -> list[str]:
        """Notes, errors and an interruption, as messages for the user."""
        kept = f"The {self.frames} frames read until then have been saved."
        errors = [f"{error} {kept}" if self.frames else error for error in self.errors]
        interrupted = [f"{self.video} was interrupted. {kept}"] if self.stopped else []
        return [*self.notes, *errors, *interrupted]

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
    every: int = 1,
    smoothing: float = 0.5,
    realtime: bool | None = None,
    frames: int | None = None,
    seconds: float | None = None,
    progress: Callable[[int, int | None], None] | None = None,
) -> Recording:
    """Watch a video or a camera to its end, and write down what is asked for.

    Ctrl-C, a camera that disconnects or a full disk end it early. Everything until then is saved,
    and the recording has the reason.

    Parameters
    ----------
    table : gets a row for each frame and person
    film : an .mp4 of the frames, drawn on
    timeline : a .png of what each person showed when
    window : show the frames, drawn on; Esc or q closes it and ends the recording
    language : of the labels in the film, the timeline and the window
    every, smoothing, realtime : as for `watch`
    frames, seconds : end after so many
    progress : is called with how many frames are done, and of how many
    """
    if window and not has_display():
        raise VideoError(
            "There is no display to open a window on. Do without (--no-window), and write what is "
            "seen to a table, a film or a timeline."
        )
    seen, stopped = Timeline(), False
    errors: list[str] = []
    notes: list[str] = []
    drawing = _Film(Path(film)) if film else None
    if film and not isinstance(source, int) and os.path.realpath(film) == os.path.realpath(source):
        raise DataError(f"The film would replace {film}, which is to be watched. Name another.")
    name = f"camera {source}" if isinstance(source, int) else os.fspath(source)
    with _collect_errors(errors), Video(source) as video:
        notes = video.notes
        watching = watch(pipeline, video, every=every, smoothing=smoothing, realtime=realtime)
        try:
            with _collect_errors(errors), closing(watching):
                for frame in watching:
                    if seconds is not None and frame.seconds >= seconds:
                        break
                    if table:
                        table.add(video, frame)
                    seen.add(frame)
                    if drawing or window:
                        drawn = draw(frame, language)
                        if drawing:
                            drawing.add(drawn, frame.seconds, video.fps)
                        if window and not _shown(drawn):
                            break
                    if progress:
                        progress(frame.index + 1, video.count)
                    if seen.frames == frames:
                        break
        except KeyboardInterrupt:
            stopped = True
    if window:
        _close_window()
    if drawing:
        with _collect_errors(errors):
            drawing.close()
    if timeline and seen.frames:
        with _collect_errors(errors, timeline):
            save_timeline(seen, timeline, language, os.path.basename(name))
    return Recording(name, seen, tuple(notes), tuple(errors), stopped)


def record_all(
    pipeline: Pipeline,
    videos: Sequence[str],
    table: Table | None = None,
    *,
    films: str | None = None,
    timelines: str | None = None,
    **settings: Any,
) -> Iterator[Recording]:
    """A recording of each video, until one is stopped.

    `films` is the folder for their films. `timelines` is the picture of one video, or for several
    the folder for their pictures. `settings` are those of `record`.
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


def draw(frame: Frame, language: str = "en") -> Image:
    """A copy of the frame with its people drawn on it, and their numbers."""
    import PIL.Image
    import PIL.ImageDraw

    drawn = annotate(frame.image, frame.people, language, widen=False)
    picture = PIL.Image.fromarray(drawn)
    pen = PIL.ImageDraw.Draw(picture)
    letters = font(max(12, round(min(picture.size) / 24)))
    for person in frame.people:
        place = person.box[0] + letters.size / 2, person.box[1] + letters.size / 3
        pen.text(place, str(person.number), "#ffffff", letters, stroke_width=2, stroke_fill="#000")
    return np.array(picture)


class Table:
    """The people of every frame as "json", "csv" or "text", on standard output or in a file.

    The file grows as NAME.part with each frame, and is complete after each: what was written when a
    run is stopped gets the name, and of one that is killed it is found there. It takes several
    videos, one after the other.
    """

    def __init__(
        self,
        path: str | os.PathLike[str] | None = None,
        format: str = "csv",
        language: str = "en",
        labels: Sequence[str] = EXPRESSIONS,
    ) -> None:
        if path is not None and os.path.isdir(path):
            raise DataError(f"{path} is a folder. Give the name of a file for the table.")
        self._format = _FORMATS[format](language, list(labels))
        self._file: _Screen | _Growing = _Screen() if path is None else _Growing(Path(path))

    @classmethod
    def of(cls, pipeline: Pipeline, path: str | None, format: str, language: str = "en") -> Table:
        """A table with a column for each label of the pipeline."""
        return cls(
            path, format, language, reading_order([str(label) for label in pipeline.classes_])
        )

    def __enter__(self) -> Table:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def add(self, video: Video, frame: Frame) -> None:
        """Write down a frame of a video."""
        self._file.add(self._format.body(video, frame), self._format.end())

    def close(self) -> None:
        """Finish the file."""
        self._file.close(self._format.end())


class _Csv:
    def __init__(self, language: str, labels: list[str]) -> None:
        self._language, self._labels = language, labels
        self._started = False

    def body(self, video: Video, frame: Frame) -> str:
        out = io.StringIO()
        table = csv.writer(out)
        if not self._started:
            fields = ("video", "frame", "seconds", "person", "x1", "y1", "x2", "y2", "score")
            raw = [cell(f"raw_{label}") for label in self._labels]
            table.writerow(
                [*fields, "found", "carried", "label", "name", *map(cell, self._labels), *raw]
            )
            self._started = True
        for person in frame.people:
            shares = [f"{person.probabilities.get(label, 0):.6f}" for label in self._labels]
            raw = [
                f"{person.raw.get(label, 0):.6f}" if person.raw else "" for label in self._labels
            ]
            face = person.face
            facts = [
                f"{face.score:.4f}",
                *("yes" if fact else "no" for fact in (face.found, person.carried)),
            ]
            where = [
                cell(video.name),
                frame.index,
                f"{frame.seconds:.3f}",
                person.number,
                *face.box,
            ]
            names = [cell(person.label), cell(display_name(person.label, self._language))]
            table.writerow([*where, *facts, *names, *shares, *raw])
        return out.getvalue()

    def end(self) -> str:
        return ""


class _Json:
    def __init__(self, language: str, labels: list[str]) -> None:
        self._language = language
        self._video: Video | None = None

    def body(self, video: Video, frame: Frame) -> str:
        start = ",\n"
        if video is not self._video:
            start = "[\n" if self._video is None else self._end() + ",\n"
            name, fps = json.dumps(video.name, ensure_ascii=False), json.dumps(video.fps)
            start += f'{{"video": {name}, "fps": {fps}, "frames": [\n'
            self._video = video
        faces = as_json(Reading("", frame.people), self._language)["faces"]
        people = [
            {
                "person": person.number,
                **fields,
                "carried": person.carried,
                "raw": {label: round(share, 6) for label, share in person.raw.items()},
            }
            for person, fields in zip(frame.people, faces, strict=True)
        ]
        facts = {"frame": frame.index, "seconds": round(frame.seconds, 3)}
        entry = {**facts, "searched": frame.searched, "people": people}
        return start + json.dumps(entry, ensure_ascii=False)

    def _end(self) -> str:
        notes = self._video.notes if self._video else []
        return f'\n], "notes": {json.dumps(notes, ensure_ascii=False)}}}'

    def end(self) -> str:
        return "[]\n" if self._video is None else self._end() + "\n]\n"


class _Text:
    def __init__(self, language: str, labels: list[str]) -> None:
        self._language = language
        self._shown: dict[int, str] = {}
        self._video: Video | None = None

    def body(self, video: Video, frame: Frame) -> str:
        if video is not self._video:
            self._video, self._shown = video, {}
        lines = []
        for person in frame.people:
            if self._shown.get(person.number) != person.label:
                self._shown[person.number] = person.label
                name = display_name(person.label, self._language)
                share = f"{person.probabilities[person.label]:.0%}".replace("%", " %")
                where = f"{video.name}: {frame.seconds:.2f} s"
                lines.append(printable(f"{where}: person {person.number}: {name} {share}\n"))
        return "".join(lines)

    def end(self) -> str:
        return ""


_FORMATS: dict[str, Any] = {"csv": _Csv, "json": _Json, "text": _Text}


class _Screen:
    """Standard output."""

    def add(self, text: str, end: str) -> None:
        sys.stdout.write(text)
        sys.stdout.flush()

    def close(self, end: str) -> None:
        sys.stdout.write(end)


class _Growing:
    """A file that grows as NAME.part, complete after each step, and gets its name at the end."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._part = path.with_name(f"{path.name}.part")
        self._file: io.FileIO | None = None
        self._length = 0  # of what is written, without the end
        self._end = b""

    def add(self, text: str, end: str) -> None:
        try:
            if self._file is None:
                self._path.parent.mkdir(parents=True, exist_ok=True)
                self._spare_others(text)
                self._file = io.FileIO(self._part, "w")
            body, last = (part.encode("utf-8", "backslashreplace") for part in (text, end))
            if body or last != self._end:
                self._write(body + last)
                self._length, self._end = self._length + len(body), last
        except OSError as error:
            if self._file is not None:
                with suppress(OSError):
                    self._write(self._end)  # as it was before
            raise OSError(error.errno, error.strerror, str(self._path)) from None

    def _spare_others(self, text: str) -> None:
        """A DataError if NAME.part is there and no table of a run that was killed."""
        head = "".join(text.splitlines(keepends=True)[:1]).encode("utf-8", "backslashreplace")
        if self._part.exists():
            with self._part.open("rb") as file:
                found = file.read(max(1, len(head)))
            if found and found != head:
                raise DataError(
                    f"{self._part} is there and is no such table: of somebody else, or of photos "
                    "whose reading was stopped. Move it away, or give the output another name."
                )

    def _write(self, data: bytes) -> None:
        assert self._file is not None
        self._file.seek(self._length)
        while data:
            data = data[self._file.write(data) :]
        self._file.truncate()

    def close(self, end: str) -> None:
        if self._file is None:
            return  # nothing came; what was there stays
        with suppress(OSError):  # the disk is full, and that was told
            self.add("", end)
        self._file.close()
        os.replace(self._part, self._path)


class _Film:
    """An MP4 of pictures, each shown from its time on; it has its name when it is complete."""

    def __init__(self, path: Path) -> None:
        if path.suffix.lower() != ".mp4":
            raise DataError(f"{path} is no name for an annotated video. Let it end in .mp4.")
        self._path = path
        self._unfinished = Path(openable(temporary(path)))
        self._writer: Any = None
        self._start = self._rate = 0.0
        self._written = 0
        self._last: Any = None

    def add(self, picture: Image, seconds: float, rate: float) -> None:
        import cv2

        if self._writer is None:
            self._open(picture, rate)
            self._start = seconds
        self._check_room()
        pixels = self._fitted(cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))
        behind = round((seconds - self._start) * self._rate) - self._written
        if behind > _LONGEST_STILL * self._rate:
            self._start += behind / self._rate - _LONGEST_STILL
            behind = round(_LONGEST_STILL * self._rate)
        with quietly():
            for _ in range(behind):
                self._writer.write(self._last)
            if behind >= 0:
                self._writer.write(pixels)
        self._written += max(0, behind + 1)
        self._last = pixels

    def _open(self, picture: Image, rate: float) -> None:
        import cv2

        self._size = picture.shape[1] // 2 * 2, picture.shape[0] // 2 * 2  # MPEG-4 wants even ones
        self._rate = rate
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._check_room()
            self._unfinished.open("wb").close()
        except OSError as error:
            raise OSError(error.errno, error.strerror, str(self._path)) from None
        code = cv2.VideoWriter_fourcc(*"mp4v")  # type: ignore[attr-defined]
        with quietly():
            self._writer = cv2.VideoWriter(
                str(self._unfinished), cv2.CAP_FFMPEG, code, rate, self._size
            )
        if not self._writer.isOpened():
            self._unfinished.unlink()
            raise VideoError(
                f"{self._path} cannot be written: this OpenCV ({cv2.__version__}) makes no MPEG-4 "
                f"video of {self._size[0]} x {self._size[1]} pixels. Run: pip install opencv-python"
            )

    def _check_room(self) -> None:
        """An OSError while there is room for the film's index: without it no player opens it."""
        if shutil.disk_usage(self._path.parent).free < _ROOM + 64 * self._written:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(self._path))

    def _fitted(self, pixels: Any) -> Any:
        """A picture in the size of the first, with black at its sides."""
        import cv2

        width, height = self._size
        if pixels.shape[1] - width in (0, 1) and pixels.shape[0] - height in (0, 1):
            return pixels[:height, :width]
        scale = min(width / pixels.shape[1], height / pixels.shape[0])
        size = max(1, round(pixels.shape[1] * scale)), max(1, round(pixels.shape[0] * scale))
        canvas = np.zeros((height, width, 3), np.uint8)
        left, top = (width - size[0]) // 2, (height - size[1]) // 2
        canvas[top : top + size[1], left : left + size[0]] = cv2.resize(pixels, size)
        return canvas

    def close(self) -> None:
        import cv2

        if self._writer is None or not self._writer.isOpened():
            return
        with quietly():
            self._writer.release()
            check = cv2.VideoCapture(str(self._unfinished), cv2.CAP_FFMPEG)
            whole = check.isOpened() and check.get(cv2.CAP_PROP_FRAME_COUNT) >= self._written
            check.release()
        try:
            if not whole:  # OpenCV does not say so when it cannot write
                raise VideoError(
                    f"{self._path} could not be written to its end and is lost. Is the disk full?"
                )
            os.replace(self._unfinished, self._path)
        finally:
            self._unfinished.unlink(missing_ok=True)


@cache
def has_display() -> bool:
    """True if a window can be opened; another process tries it, as a failure ends it."""
    if sys.platform.startswith("linux") and not {"DISPLAY", "WAYLAND_DISPLAY"} & os.environ.keys():
        return False
    code = "import cv2; cv2.namedWindow('ferembed'); cv2.destroyAllWindows()"
    try:
        tried = subprocess.run([sys.executable, "-c", code], capture_output=True, timeout=30)
    except (OSError, subprocess.TimeoutExpired):
        return False
    return tried.returncode == 0


def _shown(picture: Image) -> bool:
    """Show a picture in the window; whether it is still open."""
    import cv2

    cv2.imshow(_TITLE, cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))
    key = cv2.waitKey(1) & 0xFF
    return key not in (27, ord("q")) and cv2.getWindowProperty(_TITLE, cv2.WND_PROP_VISIBLE) >= 1


def _close_window() -> None:
    import cv2

    with suppress(cv2.error):  # its user may have closed it
        cv2.destroyWindow(_TITLE)
