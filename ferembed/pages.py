"""Pages: results as files that a person looks at, each whole in itself, in English or Spanish."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ferembed.evaluation import Evaluation


def write_report(
    folder: str | os.PathLike[str], evaluation: Evaluation, language: str = "en"
) -> Path:
    """Write report.json, report.md and report.html into the folder; the path of the HTML."""
    raise NotImplementedError


def write_grid(
    folder: str | os.PathLike[str],
    title: str,
    cells: Sequence[Mapping[str, Any]],
    columns: Sequence[tuple[str, str]],
    *,
    evaluation: Evaluation | None = None,
    chosen: str | None = None,
    notes: Sequence[str] = (),
    language: str = "en",
) -> Path:
    """Write grid.md and grid.html into the folder; the path of the HTML.

    The page has the `notes` as paragraphs, the table of `cells` (a reader sorts it by a click on
    a heading), the trade-off plot, and the full report on `evaluation`, the one that was chosen.

    A cell is a mapping. `columns` says which of its entries are shown, as pairs of (key, heading):
    an int is shown with separators, a float as a percentage if its key has "accuracy" or
    "reference" in it and else with three digits that count, None and what is missing as a dash,
    anything else as its text. The cell whose "name" is `chosen` is marked. An entry under
    "error" marks a cell that failed: its text stands in the place of the scores.

    The plot takes the entries "name", "accuracy", "predict_ms", "fit_seconds" and "bytes"; cells
    without an accuracy are not drawn. Optional entries: "group" (such as the head: one colour and
    one mark each) and "reference" (an accuracy that others report, drawn as a line if all cells
    that have one agree).
    """
    raise NotImplementedError


def tradeoff(cells: Sequence[Mapping[str, Any]], language: str = "en") -> str:
    """Accuracy against the time of a prediction, the time to fit and the size, as inline SVG."""
    raise NotImplementedError
