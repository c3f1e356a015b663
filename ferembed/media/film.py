"""Film: annotated frames as an MP4, or in a window."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
import sys
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from ferembed.drawing import font
from ferembed.errors import DataError, VideoError
from ferembed.images import Image
from ferembed.media.annotate import annotate
from ferembed.media.opencv import opencv_path, silence_opencv
from ferembed.media.video import Frame
from ferembed.storage.files import naming, replace_durably, temporary

_ROOM = 4 << 20  # bytes that are left on the disk
_LONGEST_STILL = 60.0  # seconds that a film stands still at most
_TITLE = "ferembed"


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


class Film:
    """An MP4 of pictures, each shown from its time on; it has its name when it is complete."""

    def __init__(self, path: Path) -> None:
        if path.suffix.lower() != ".mp4":
            raise DataError(f"{path} is not a name for an annotated video: it must end in .mp4.")
        self._path = path
        self._unfinished = Path(opencv_path(temporary(path)))
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
        with silence_opencv():
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
        with silence_opencv():
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
        with silence_opencv():
            self._writer.release()
            check = cv2.VideoCapture(str(self._unfinished), cv2.CAP_FFMPEG)
            whole = check.isOpened() and check.get(cv2.CAP_PROP_FRAME_COUNT) >= self._written
            check.release()
        try:
            if not whole:  # OpenCV does not say so when it cannot write
                raise VideoError(
                    f"{self._path} could not be written to its end and is lost. Is the disk full?"
                )
            with naming(self._path, self._unfinished):
                replace_durably(self._unfinished, self._path)
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


def show(picture: Image) -> bool:
    """Show a picture in the window; whether it is still open."""
    import cv2

    cv2.imshow(_TITLE, cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))
    key = cv2.waitKey(1) & 0xFF
    return key not in (27, ord("q")) and cv2.getWindowProperty(_TITLE, cv2.WND_PROP_VISIBLE) >= 1


def close_window() -> None:
    import cv2

    with suppress(cv2.error):  # its user may have closed it
        cv2.destroyWindow(_TITLE)
