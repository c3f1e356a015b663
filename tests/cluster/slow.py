"""A picture that takes a while to read, so that there is time to kill whoever reads it."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class SlowFile:
    path: str
    seconds: float

    def __str__(self) -> str:
        return self.path

    def read_bytes(self) -> bytes:
        time.sleep(self.seconds)
        return Path(self.path).read_bytes()


def slow_files(folder: Path, seconds: float, times: int = 1) -> list[SlowFile]:
    paths = sorted(map(str, folder.rglob("[0-9]*.png")))
    return [SlowFile(path, seconds) for path in paths * times]
