"""Progress of a long task: the one type of callback, and what calls and shows it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeAlias

Progress: TypeAlias = Callable[[int, "int | None"], None]
"""Called with how many are done, and of how many if that is known."""


def report_progress(progress: Progress | None, index: int, total: int) -> None:
    """Say that the item at `index` is done: every 200th time, and at the end."""
    if progress and (index + 1 == total or index % 200 == 0):
        progress(index + 1, total)


@contextmanager
def progress_bar(unit: str = "img", *, quiet: bool = False) -> Iterator[Progress]:
    """A Progress that moves a bar on a terminal; it shows nothing elsewhere, or if `quiet`."""
    bar: Any = None

    def progress(done: int, total: int | None) -> None:
        nonlocal bar
        if bar is None:
            from tqdm import tqdm  # at the first step: a single photo needs no bar

            disable = True if quiet else None
            bar = tqdm(total=total, unit=unit, unit_scale=unit == "B", disable=disable)
        if done < bar.n or total != bar.total:  # the next of several passes
            bar.reset(total)
        bar.update(done - bar.n)

    try:
        yield progress
    finally:
        if bar is not None:
            bar.close()
