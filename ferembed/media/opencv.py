"""OpenCV's video reader and writer, called without its own messages."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from ferembed.errors import VideoError
from ferembed.images import Image

_quiet = threading.Lock()


@contextmanager
def silence_opencv() -> Iterator[None]:
    """Inside `with`, OpenCV logs nothing: our errors say what failed."""
    import cv2

    log = getattr(cv2.utils, "logging", cv2)  # it has moved
    with _quiet:  # the level is one for all threads
        before = log.setLogLevel(0)
        try:
            yield
        finally:
            log.setLogLevel(before)


def opencv_path(path: str | os.PathLike[str]) -> str:
    """The absolute path, refused where OpenCV would crash: a name that is not UTF-8."""
    name = os.path.abspath(path)
    try:
        name.encode()
    except UnicodeEncodeError:
        raise VideoError(f"OpenCV cannot open {name!r}: the name is no UTF-8. Rename it.") from None
    return name


def to_rgb(pixels: Any) -> Image:
    """A frame of OpenCV, BGR or gray, as RGB."""
    import cv2

    code = cv2.COLOR_GRAY2RGB if pixels.ndim == 2 else cv2.COLOR_BGR2RGB
    return np.asarray(cv2.cvtColor(pixels, code), np.uint8)
