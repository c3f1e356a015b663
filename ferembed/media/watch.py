"""Follow the people in a video or before a camera, frame by frame."""

from __future__ import annotations

import copy
import time
from collections import deque
from collections.abc import Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from typing import TypeAlias

from ferembed.errors import VideoError
from ferembed.faces import Face, FaceRecipe
from ferembed.faces.frames import FrameSearch
from ferembed.images import Image
from ferembed.media.tracking import People
from ferembed.media.video import Clock, Frame, Source, Video, open_video
from ferembed.pipeline import Pipeline

_AHEAD = 2  # frames in which faces are detected while another is read


def watch(
    pipeline: Pipeline,
    source: Source | Video = 0,
    *,
    detect_every: int = 1,
    smoothing: float = 0.5,
    realtime: bool | None = None,
    clock: Clock = time,
) -> Generator[Frame, None, None]:
    """The frames of a video or a camera with the people in them, each with a constant number.

    A file that is cut off or a camera that is gone raises a VideoError after the last frame.

    Parameters
    ----------
    detect_every : detect faces in every Nth frame, and extrapolate in between
    smoothing : the time constant, in seconds, of the probabilities; 0 leaves them as they are
    realtime : skip frames to keep pace with the clock; None: for a camera
    """
    if isinstance(detect_every, bool) or not isinstance(detect_every, int) or detect_every < 1:
        raise ValueError(f"detect_every is {detect_every!r}; it is a whole number above 0.")
    people, search = People(smoothing), FrameSearch(FaceRecipe.resolve(pipeline.detector))
    video = source if isinstance(source, Video) else open_video(source)
    frames = video.frames(realtime, clock)
    ahead = 0 if video.live or realtime else _AHEAD
    reader = copy.copy(pipeline)
    reader.store = "none"  # no frame comes twice

    def watched() -> Generator[Frame, None, None]:
        try:
            for frame, found in _searched(frames, search, detect_every, ahead):
                if found is None:
                    size = frame.image.shape[1], frame.image.shape[0]
                    here = people.extrapolated(frame.seconds, size)
                else:
                    faces, crops = [face for face, _ in found], [crop for _, crop in found]
                    here = people.seen(reader.read(crops, faces), frame.seconds)
                yield replace(frame, people=here, searched=found is not None)
        finally:
            if video is not source:
                video.close()

    return watched()


_Found: TypeAlias = "list[tuple[Face, Image]]"


def _searched(
    frames: Iterable[Frame], search: FrameSearch, detect_every: int, ahead: int
) -> Iterator[tuple[Frame, _Found | None]]:
    """Each frame with its faces, None if it was not searched; a few frames are searched ahead."""
    with ThreadPoolExecutor(1) as pool:
        waiting: deque[tuple[Frame, Future[_Found] | None]] = deque()

        def first() -> tuple[Frame, _Found | None]:
            frame, found = waiting.popleft()
            return frame, None if found is None else found.result()

        failure = None
        try:
            try:
                for position, frame in enumerate(frames):
                    skipped = position % detect_every
                    waiting.append((frame, None if skipped else pool.submit(search, frame.image)))
                    if len(waiting) > ahead:
                        yield first()
            except VideoError as error:
                failure = error
            while waiting:
                yield first()
            if failure:
                raise failure
        finally:
            pool.shutdown(cancel_futures=True)
