"""The outputs of a batch of photos or videos, and the numbers of what was read."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

Tell: TypeAlias = Callable[[str], object]


def tell_nobody(line: str) -> None:
    pass


@dataclass(frozen=True, kw_only=True)
class Outputs:
    """The outputs of a batch.

    Parameters
    ----------
    table : a file for the faces; None for standard output
    format : of the table: "json", "csv" or "text"
    drawn : a folder for copies of the photos or videos with the predictions drawn on them
    timeline : a PNG of the expressions over time; of several videos a folder
    language : of the labels
    """

    table: str | None = None
    format: str = "text"
    drawn: str | None = None
    timeline: str | None = None
    language: str = "en"


TERMINAL = Outputs()
"""Text on standard output."""


@dataclass(frozen=True, kw_only=True)
class Batch:
    """The numbers of photos, of videos, of those that failed, of faces and of frames.

    Faces are counted in photos, and frames in videos. An interrupted batch has no more to come.
    """

    photos: int = 0
    videos: int = 0
    failed: int = 0
    faces: int = 0
    frames: int = 0
    interrupted: bool = False

    @property
    def nothing(self) -> bool:
        """True if no frame of any video could be read."""
        return bool(self.failed and self.videos and not self.frames)

    def __str__(self) -> str:
        if self.videos:
            return f"{self.frames:,} frames of {self.videos:,} videos"
        return f"{self.faces:,} faces in {self.photos - self.failed:,} photos"
