"""Video files and cameras, opened and read frame by frame."""

from __future__ import annotations

import os
import queue
import re
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from math import isfinite
from typing import Any, Protocol, TypeAlias

from ferembed.errors import VideoError
from ferembed.images import Image
from ferembed.media.opencv import opencv_path, silence_opencv, to_rgb
from ferembed.media.tracking import Person

Source: TypeAlias = "int | str | os.PathLike[str]"
USUAL_RATE = 30.0  # frames a second, where a video does not say
CLOSING = 3.0  # seconds that a camera's driver is waited for on closing
RETRY = 3.0  # seconds that a camera which gives no frame is waited for
_SLACK = 0.02  # share of its frames that a file may lack: its count is often an estimate


class Clock(Protocol):
    """A source of real time, such as the module `time`."""

    def monotonic(self) -> float: ...

    def sleep(self, seconds: float, /) -> None: ...


@dataclass(frozen=True)
class Frame:
    """One frame: its position and time, its picture, and the people in it.

    `index` counts all frames of the video, also those that were skipped. Where `searched` is False
    no face was detected, and the people are those of the frame before.
    """

    index: int
    seconds: float
    image: Image = field(repr=False, compare=False)
    people: tuple[Person, ...] = ()
    searched: bool = False


def open_video(source: Source) -> Video:
    """A video file, or a camera by its number or by its device, such as /dev/video0."""
    if isinstance(source, int):
        return Camera(source)
    path = os.fspath(source)
    device = re.fullmatch(r"/dev/video(\d+)", path)
    return Camera(int(device[1])) if device else VideoFile(path)


class Video(ABC):
    """An open video: a VideoFile or a Camera.

    `fps` is its rate, and `count` the number of frames that it announces, None where it announces
    none. `notes` has a sentence for each oddity.
    """

    name: str
    live = False
    count: int | None = None

    def __init__(self) -> None:
        self.notes: list[str] = []
        self._capture = self._open()
        self.fps = self._rate()

    def __enter__(self) -> Video:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @abstractmethod
    def frames(self, realtime: bool | None = None, clock: Clock = time) -> Iterator[Frame]:
        """Its frames in order, once, without people.

        In real time, frames are skipped while the caller is busy; None stands for real time with a
        camera, which has no other. A camera that fails is waited for briefly. Then it is a
        VideoError, as is, after its last frame, a file that is cut off.
        """

    def close(self) -> None:
        """Close the file or the camera."""
        self._capture.release()

    @abstractmethod
    def _open(self) -> Any:
        """The cv2.VideoCapture."""

    def _rate(self) -> float:
        rate = self._get("CAP_PROP_FPS")
        if isfinite(rate) and 0.1 <= rate <= 240:
            return rate
        self.notes.append(
            f"{self.name} says that it has {rate:g} frames a second; {USUAL_RATE:g} are assumed."
        )
        return USUAL_RATE

    def _get(self, name: str) -> float:
        import cv2

        return float(self._capture.get(getattr(cv2, name)))


class VideoFile(Video):
    """A video file, read from its first frame to its last."""

    def __init__(self, path: str) -> None:
        self.name = path
        super().__init__()
        count = self._get("CAP_PROP_FRAME_COUNT")
        self.count = int(count) if 0 < count < 1e9 else None

    def frames(self, realtime: bool | None = None, clock: Clock = time) -> Iterator[Frame]:
        index, seconds, yielded, start = -1, 0.0, 0.0, 0.0
        lost = 0
        while (failed := self._grab(index)) is not None:
            index += 1
            lost += failed
            seconds = self._seconds(index, seconds)
            if realtime:
                if index == 0:
                    start = clock.monotonic() - seconds
                early = start + seconds - clock.monotonic()
                if early < -1 / self.fps and seconds - yielded < 1:
                    continue
                if early > 0:
                    clock.sleep(early)
                yielded = seconds
            done, pixels = self._capture.retrieve()
            if done:
                yield Frame(index, seconds, to_rgb(pixels))
            else:
                lost += 1
        self._check_end(index, seconds, lost)

    def _check_end(self, index: int, seconds: float, lost: int) -> None:
        """A VideoError if the file ended early, or if frames could not be decoded."""
        if index < 0:
            raise VideoError(
                f"No frame of {self.name} can be decoded: it is damaged, or OpenCV does not know "
                "its codec. Convert it, such as with: ffmpeg -i IN.mp4 OUT.mp4"
            )
        if self.count:
            late = (self.count - 1) / self.fps - seconds
            if min(self.count - index - 1, late * self.fps) > _SLACK * self.count + 2:
                raise VideoError(
                    f"{self.name} ends after {index + 1} of the {self.count} frames that it "
                    "announces: it is cut off or damaged."
                )
            if lost:
                lost = max(lost, self.count - index - 1)
                raise VideoError(
                    f"{lost} of the {self.count} frames of {self.name} cannot be decoded: it is "
                    "damaged."
                )

    def _grab(self, index: int) -> int | None:
        """The number of damaged frames before the next one; None at the end."""
        attempts = 5 if self.count and index + 1 < self.count else 1
        return next((failed for failed in range(attempts) if self._capture.grab()), None)

    def _seconds(self, index: int, before: float) -> float:
        """When the frame is shown, as the file says; where it does not, one frame later."""
        seconds = self._get("CAP_PROP_POS_MSEC") / 1000
        if index == 0:
            return seconds if isfinite(seconds) and seconds > 0 else 0.0
        return seconds if isfinite(seconds) and seconds > before else before + 1 / self.fps

    def _open(self) -> Any:
        import cv2

        os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")  # quiet; read when it is first used
        start = _start_of(self.name)
        with silence_opencv():
            capture = cv2.VideoCapture(opencv_path(self.name), cv2.CAP_FFMPEG)
        if capture.isOpened():
            return capture
        if start[4:8] == b"ftyp":
            raise VideoError(
                f"{self.name} is cut off or damaged: an MP4 has an index, mostly at its end, and "
                "without it nothing can be read. Copy the file again."
            )
        raise VideoError(f"{self.name} is not a video in a known format, or it is damaged.")


class Camera(Video):
    """A camera, read in a separate thread: the newest frame is given, older ones are dropped."""

    live = True

    def __init__(self, number: int) -> None:
        self.name = f"camera {number}"
        self._number = number
        super().__init__()
        self._closed = threading.Event()
        self._reader = threading.Thread(target=self._read_camera, daemon=True)
        self._seen: queue.Queue[Frame | Exception] = queue.Queue(1)

    def close(self) -> None:
        self._closed.set()
        until = time.monotonic() + CLOSING
        while self._reader.is_alive() and time.monotonic() < until:
            with suppress(queue.Empty):
                self._seen.get(timeout=0.1)
        if not self._reader.is_alive():  # else its driver hangs, and would also hang on release
            super().close()

    def frames(self, realtime: bool | None = None, clock: Clock = time) -> Iterator[Frame]:
        self._reader.start()
        while not self._closed.is_set():
            try:
                frame = self._seen.get(timeout=0.2)  # or Windows would not notice Ctrl-C
            except queue.Empty:
                continue
            if isinstance(frame, Exception):
                raise frame
            yield frame

    def _read_camera(self) -> None:
        start, index = time.monotonic(), 0
        try:
            while not self._closed.is_set():
                pixels = self._from_camera(index)
                frame = Frame(index, time.monotonic() - start, to_rgb(pixels))
                with suppress(queue.Empty):
                    self._seen.get_nowait()
                self._seen.put(frame)
                index += 1
        except Exception as error:  # raised where the frames are asked for
            self._seen.put(error)

    def _from_camera(self, index: int) -> Any:
        """The next frame of a camera, which is opened again if need be."""
        done, pixels = self._capture.read()
        until = time.monotonic() + RETRY
        while not done and time.monotonic() < until and not self._closed.wait(0.1):
            self._capture.release()
            with suppress(VideoError):
                self._capture = self._open()
                done, pixels = self._capture.read()
        if not done:
            raise VideoError(
                f"{self.name} gave no more frames after {index}, nor within {RETRY:g} seconds. "
                "Check that it is connected, and that no other program uses it."
            )
        return pixels

    def _open(self) -> Any:
        import cv2

        with silence_opencv():
            capture = cv2.VideoCapture(min(self._number, 2**31 - 1))  # the largest int of C
        if capture.isOpened():
            return capture
        raise VideoError(
            f"{self.name} cannot be opened. Check that it is connected, that no other program "
            "uses it, and that you may read it. Cameras are numbered from 0; a file is given by "
            "its name."
        )


def _start_of(path: str) -> bytes:
    """The first bytes of a file, if it is one."""
    if os.path.isdir(path):
        raise VideoError(f"{path} is a folder, not a video.")
    if os.path.exists(path) and not os.path.isfile(path):
        raise VideoError(f"{path} is no ordinary file.")
    try:
        with open(path, "rb") as file:
            start = file.read(8)
    except FileNotFoundError:
        raise VideoError(f"{path} does not exist.") from None
    except OSError as error:
        raise VideoError(f"{path} cannot be read: {error.strerror}.") from None
    if not start:
        raise VideoError(f"{path} is empty (0 bytes).")
    return start
