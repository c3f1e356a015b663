"""Standard output and error that survive odd names, closed streams and readers that leave."""

from __future__ import annotations

import codecs
import json
import os
import sys
from typing import Any


def prepare_streams() -> None:
    """Make standard output and error take any text; a stream that is closed takes it, too."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:  # closed by the caller
            setattr(sys, name, open(os.devnull, "w"))  # noqa: SIM115  (stays open as the stream)
        elif hasattr(stream, "reconfigure"):  # names of files need not fit the terminal
            codecs.register_error("ferembed", _escape_as_json)
            stream.reconfigure(errors="ferembed")


def discard(stream: Any) -> None:
    """Send what is still written to the stream nowhere: its reader has gone."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


class IgnoreBrokenPipe:
    """Standard error that interrupts nothing when its reader has gone."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        try:
            self._stream.write(text)
        except BrokenPipeError:
            discard(self._stream)
        return len(text)


def _escape_as_json(error: UnicodeError) -> tuple[str, int]:
    """Characters that the encoding lacks, escaped as in JSON."""
    assert isinstance(error, UnicodeEncodeError)
    part = error.object[error.start : error.end]
    return json.dumps(part)[1:-1], error.end
