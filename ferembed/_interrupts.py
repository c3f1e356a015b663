"""Interruptions: Ctrl-C and signals to end, which wait while a step is done whole."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

ENDING = tuple(
    getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)
)
"""The signals that ask a process to end; Windows has no SIGHUP."""


@contextmanager
def deferred_interrupts() -> Iterator[None]:
    """Inside `with`, a signal to end waits until the block is done; a second one does not.

    So a step that writes to several places is done in all of them or in none. Only the main thread
    gets signals: in another, and for signals without a handler in Python, nothing changes.
    """
    waiting: list[tuple[int, FrameType | None]] = []

    def wait(number: int, frame: FrameType | None) -> None:
        waiting.append((number, frame))
        restore()

    def restore() -> None:
        for number, handler in handlers.items():
            signal.signal(number, handler)

    here = threading.current_thread() is threading.main_thread()
    found = {number: signal.getsignal(number) for number in ENDING} if here else {}
    handlers = {number: handler for number, handler in found.items() if callable(handler)}
    try:
        for number in handlers:
            signal.signal(number, wait)
        yield
    finally:
        restore()
    if waiting:
        number, frame = waiting[0]
        handlers[number](number, frame)
