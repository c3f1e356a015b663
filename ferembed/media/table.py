"""Table: the people of every frame as JSON, CSV or text, in a file that grows."""

from __future__ import annotations

import csv
import io
import json
import os
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from ferembed._text import cell, printable
from ferembed.errors import DataError
from ferembed.labels import EXPRESSIONS, display_name
from ferembed.media.video import Frame, Video
from ferembed.media.writers import face_cells, face_columns, faces_as_json
from ferembed.pipeline import Pipeline
from ferembed.storage.files import sync


class Table:
    """The people of every frame as "json", "csv" or "text", on standard output or in a file.

    The file grows as NAME.part with each frame, and is complete after each. It is renamed to NAME
    when the run ends or is interrupted; a run that is killed leaves NAME.part. Several videos can
    be added, one after the other.
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
    def for_pipeline(
        cls, pipeline: Pipeline, path: str | None, format: str, language: str = "en"
    ) -> Table:
        """A table with a column for each label of the pipeline."""
        return cls(path, format, language, pipeline.labels)

    def __enter__(self) -> Table:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def add(self, video: Video, frame: Frame) -> None:
        """Add a frame of a video."""
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
            columns = ("video", "frame", "seconds", "person", "extrapolated")
            raw = [cell(f"raw_{label}") for label in self._labels]
            table.writerow([*columns, *face_columns(self._labels), *raw])
            self._started = True
        for person in frame.people:
            fields = (
                cell(video.name),
                frame.index,
                f"{frame.seconds:.3f}",
                person.number,
                "yes" if person.extrapolated else "no",
            )
            raw = [
                f"{person.raw.get(label, 0):.6f}" if person.raw else "" for label in self._labels
            ]
            table.writerow([*fields, *face_cells(person, self._language, self._labels), *raw])
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
        faces = faces_as_json(frame.people, self._language)
        people = [
            {
                "person": person.number,
                **fields,
                "extrapolated": person.extrapolated,
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
        """A DataError if NAME.part exists and is not the table of a run that was killed."""
        head = "".join(text.splitlines(keepends=True)[:1]).encode("utf-8", "backslashreplace")
        if self._part.exists():
            with self._part.open("rb") as file:
                found = file.read(max(1, len(head)))
            if found and found != head:
                raise DataError(
                    f"{self._part} already exists and is not such a table. Move it, or choose "
                    "another output."
                )

    def _write(self, data: bytes) -> None:
        assert self._file is not None
        self._file.seek(self._length)
        while data:
            data = data[self._file.write(data) :]
        self._file.truncate()

    def close(self, end: str) -> None:
        if self._file is None:
            return  # no frame was added; an older file stays
        with suppress(OSError):  # the disk is full, which was reported
            self.add("", end)
        self._file.close()
        with suppress(OSError):  # the disk is full: what could be written counts
            sync(self._part)
        os.replace(self._part, self._path)
