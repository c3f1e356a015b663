"""The grid page: a table of the pipelines that were tried, a trade-off plot, the best one's report.

A pipeline is a row, a mapping of names to values. A row with an entry "error" failed.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeAlias

from ferembed.evaluation.evaluation import Evaluation
from ferembed.evaluation.html import charts
from ferembed.evaluation.html.blocks import Block, Cell, Figure, Group, Legend, Table, Text
from ferembed.evaluation.html.page import Page, Section
from ferembed.evaluation.html.report_page import report_sections
from ferembed.evaluation.predictions import REPORT
from ferembed.translations import Translator

Row: TypeAlias = Mapping[str, Any]
_MISSING = "–"


@dataclass(frozen=True)
class Column:
    """A column of a grid's table: an entry of each row, and how it is written."""

    key: str
    heading: str
    kind: Literal["text", "count", "number", "share"] = "text"

    def text(self, row: Row, tr: Translator) -> str:
        """The entry as text: a count with separators, a number with three digits, a percentage."""
        value = row.get(self.key)
        if value is None:
            return _MISSING
        if self.kind == "share":
            return tr.percent(value)
        if self.kind == "count":
            return tr.count(value)
        return f"{value:.3g}" if self.kind == "number" else str(value)


def write_grid(
    folder: str | os.PathLike[str],
    title: str,
    rows: Sequence[Row],
    columns: Sequence[Column],
    *,
    evaluation: Evaluation | None = None,
    chosen: str | None = None,
    notes: Sequence[str] = (),
    language: str = "en",
) -> Path:
    """Write grid.md, grid.html and the report.json of the evaluation; the path of the HTML.

    The page has the `notes` as paragraphs, the table (a click on a heading sorts it), the
    trade-off plot, and the report on `evaluation`, which is the best pipeline's. The row with the
    "name" `chosen` is marked.

    The plot takes the entries "name", "accuracy", "predict_ms", "fit_seconds" and "bytes"; rows
    without an accuracy are not drawn. Rows with the same "group" (such as the head) have the same
    colour.
    """
    tr = Translator(language)
    table = _table(rows, columns, chosen, tr)
    sections = [
        Section(tr("grid"), [*map(Text, notes), table]),
        Section(tr("tradeoff"), _tradeoff(rows, tr)),
    ]
    files = {}
    if evaluation is not None:
        files[REPORT] = evaluation.to_json()
        head = tr("report", model=evaluation.model or chosen or "ferembed")
        first, *rest = report_sections(evaluation, tr)
        sections += [Section(f"{head}: {first.title.lower()}", first.blocks), *rest]
    return Page(title, sections, tr).write(Path(folder), "grid", files)


def _table(
    rows: Sequence[Row], columns: Sequence[Column], chosen: str | None, tr: Translator
) -> Table:
    cells, marked = [], None
    for number, row in enumerate(rows):
        line = [Cell(column.text(row, tr), row.get(column.key)) for column in columns]
        if row.get("error"):
            missing = next((i for i, cell in enumerate(line) if cell.value is None), -1)
            line[missing] = Cell(tr("error", error=row["error"]), failed=True)
        if chosen is not None and row.get("name") == chosen:
            marked = number
            line[0] = Cell(f"{line[0].text} ({tr('chosen')})", line[0].value)
        cells.append(line)
    return Table(
        head=[column.heading for column in columns],
        rows=cells,
        numeric=[i for i, column in enumerate(columns) if column.kind != "text"],
        marked=marked,
        sort_hint=tr("grid sort"),
    )


def _tradeoff(rows: Sequence[Row], tr: Translator) -> list[Block]:
    drawn = [row for row in rows if _is_drawn(row.get("accuracy"), -1)]
    groups = list(dict.fromkeys(str(row["group"]) for row in drawn if row.get("group")))
    figures = [
        _plot(drawn, key, tr(text), scale, groups, tr)
        for key, text, scale in (
            ("predict_ms", "time predict", 1.0),
            ("fit_seconds", "time fit", 1.0),
            ("bytes", "size", 1e-6),
        )
    ]
    legend = [Legend(groups)] if groups else []
    return [Text(tr("plot frontier")), *legend, Group("charts", figures)]


def _plot(
    drawn: Sequence[Row],
    key: str,
    axis: str,
    scale: float,
    groups: Sequence[str],
    tr: Translator,
) -> Figure:
    """Accuracy against one cost."""
    kept = [row for row in drawn if _is_drawn(row.get(key), 0)]
    title = axis[0].upper() + axis[1:]
    if not kept:
        return Figure(title=title, svg="", note=tr("plot none"))
    places = [(row[key] * scale, float(row["accuracy"])) for row in kept]
    best = _pareto_front(places)
    dots = []
    for i, (row, (x, y)) in enumerate(zip(kept, places, strict=True)):
        name = str(row.get("name", ""))
        tip = f"{name}: {tr.percent(y)}; {axis}: {x:.3g}"
        group = groups.index(str(row["group"])) if row.get("group") else 0
        dots.append(charts.Dot(x, y, name if i in best else "", tip, group))
    svg = charts.scatter(axis, dots, (axis, tr("accuracy")), logarithmic=True, line=best)
    left_out = len(drawn) - len(kept)
    return Figure(
        title=title, svg=svg, note=tr("plot left out", count=left_out) if left_out else ""
    )


def _is_drawn(value: Any, above: float) -> bool:
    return isinstance(value, (int, float)) and above < value < float("inf")


def _pareto_front(places: Sequence[tuple[float, float]]) -> list[int]:
    """Positions of the points that no other beats in both cost and accuracy, the cheapest first."""
    best: list[int] = []
    for i in sorted(range(len(places)), key=lambda i: (places[i][0], -places[i][1])):
        if not best or places[i][1] > places[best[-1]][1]:
            best.append(i)
    return best
