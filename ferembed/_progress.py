"""Progress of a long task: the one type of callback, and what calls and shows it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeAlias

Progress: TypeAlias = Callable[[int, "int | None"], None]
"""Called with how many are done, and of how many if that is known."""


def report_progress(progress: Progress | None, index: int, total: int) -> None:
    """Say that the item at `index` is done: every 200th time, and at the end."""
    if progress and (index + 1 == total or index % 200 == 0):
        progress(index + 1, total)


@dataclass
class ProgressBar:
    """A Progress that shows a bar on a terminal; it shows nothing elsewhere, or if `quiet`.

    The bar is closed when all is done; the next task gets a new one. Used with `with`, the bar of
    a task that fails is closed, too.

    >>> progress = ProgressBar("photo")
    >>> for done in range(1, 4):
    ...     progress(done, 3)
    """

    unit: str = "img"
    quiet: bool = False
    _bar: Any = field(default=None, init=False, repr=False, compare=False)

    def __call__(self, done: int, total: int | None) -> None:
        if self.quiet:
            return
        if self._bar is None:
            from tqdm import tqdm  # at the first step: a single photo needs no bar

            # disable=None: no bar where the output is not a terminal
            scale = self.unit == "B"
            self._bar = tqdm(total=total, unit=self.unit, unit_scale=scale, disable=None)
        if done < self._bar.n or total != self._bar.total:  # the next of several passes
            self._bar.reset(total)
        self._bar.update(done - self._bar.n)
        if done == total:
            self.close()

    def note(self, text: str) -> None:
        """Show a text behind the bar."""
        if self._bar is not None:
            self._bar.set_postfix_str(text)

    def close(self) -> None:
        if self._bar is not None:
            self._bar.close()
            self._bar = None

    def __enter__(self) -> ProgressBar:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def __getstate__(self) -> dict[str, Any]:
        """Copies, such as those of scikit-learn's `clone`, get a bar of their own."""
        return {**self.__dict__, "_bar": None}
