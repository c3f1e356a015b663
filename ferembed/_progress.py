"""How far a long task has come: the one type of callback, and what calls it."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

Progress: TypeAlias = Callable[[int, "int | None"], None]
"""Called with how many are done, and of how many if that is known."""


def tell(progress: Progress | None, index: int, total: int) -> None:
    """Now and then, and at the end, say that the item at `index` is done."""
    if progress and (index + 1 == total or index % 200 == 0):
        progress(index + 1, total)
