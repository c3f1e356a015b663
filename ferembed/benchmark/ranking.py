"""Ranking: the rows, columns and names of the pipelines of a grid."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from ferembed.benchmark.cell import Cell
from ferembed.benchmark.grid import Grid, varying_settings
from ferembed.benchmark.records import Record
from ferembed.evaluation.html import Column
from ferembed.report import markdown_table
from ferembed.translations import Translator


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """The result of a grid.

    `rows` has an entry for each pipeline, over all seeds, the best first. `chosen` is the best,
    `page` the HTML page, `test` the scores on the test split, if they were asked for.
    """

    rows: tuple[Record, ...]
    columns: tuple[Column, ...]
    chosen: Cell | None
    page: Path
    failed: int
    computed: int  # vectors that were not in the store
    fitted: int  # cells without a record in the folder
    notes: tuple[str, ...] = ()
    test: Record | None = None

    @property
    def errors(self) -> list[str]:
        """The name of each pipeline that failed, and the reason."""
        return [f"{row['name']}: {row['error']}" for row in self.rows if row["error"]]

    def table(self) -> str:
        """The rows as a Markdown table, with the notes below it."""
        tr = Translator("en")
        cells = [[column.text(row, tr) for column in self.columns] for row in self.rows]
        table = markdown_table([column.heading for column in self.columns], cells)
        return "\n".join([table, "", *self.notes])


def pipeline_names(grid: Grid) -> dict[Cell, str]:
    """A name for each cell from the settings that vary; seeds share a name."""
    keys = [key for key in varying_settings(grid.cells) if key != "seed"]
    return {cell: _name(cell, keys) for cell in grid.cells}


def _name(cell: Cell, varied: Sequence[str]) -> str:
    usual, facts = Cell().facts(), cell.facts()
    differing = [key for key in varied if key in facts]
    words = [facts[key] for key in ("backbone", "head") if key in differing]
    words += [
        f"{key.removeprefix('head__')}={facts[key]}"
        for key in sorted(differing, key=lambda key: not key.startswith("head__"))
        if key not in ("backbone", "head") and facts[key] != usual.get(key)
    ]
    return ", ".join(words) or f"{cell.backbone}, {cell.head}"


def make_rows(grid: Grid, records: Mapping[Cell, Record], folds: int) -> list[Record]:
    """A row for each pipeline over its seeds, the best first, then the results of others."""
    names = pipeline_names(grid)
    groups: dict[Cell, list[Cell]] = {}
    for cell in grid.cells:
        groups.setdefault(replace(cell, seed=0), []).append(cell)
    rows = [
        _row(cell, names[seeds[0]], [records[one] for one in seeds], folds)
        for cell, seeds in groups.items()
    ]
    rows.sort(key=lambda row: (row["score"] is None, -(row["score"] or 0), row["fit_seconds"] or 0))
    for by, accuracy, on in grid.reported:
        name = f"{by} ({on})" if on else by
        row = {"name": name, "group": "reported", "reference": accuracy}
        rows.append({**row, "score": None, "error": None})
    return rows


def _row(cell: Cell, name: str, runs: Sequence[Record], folds: int) -> Record:
    """The means of the runs of one pipeline."""
    done = [run for run in runs if run["status"] == "done"]
    facts = {key: value for key, value in cell.facts().items() if key != "seed"}
    row: Record = {"name": name, "group": cell.head, **facts, "runs": len(done)}
    row["error"] = next((run["error"] for run in runs if run["status"] != "done"), None)
    for key in ("accuracy", "accuracy_deduplicated", "macro_f1", "calibration_error"):
        row[key] = _mean(run["scores"].get(key) for run in done)
    scores = [run["scores"]["accuracy"] for run in done if "accuracy" in run["scores"]]
    if len(scores) > 1:
        row["accuracy_min"], row["accuracy_max"] = min(scores), max(scores)
        row["variance"] = statistics.variance(scores)
    row["accuracy_folds"] = _mean(one for run in done for one in run["scores"].get("folds", []))
    for key in ("fit_seconds", "predict_ms", "bytes"):
        row[key] = _mean(run["costs"][key] for run in done)
    row["bytes"] = row["bytes"] and int(row["bytes"])
    row["score"] = row["accuracy_folds"] if folds else row["accuracy"]
    return row


def _mean(values: Iterable[float | None]) -> float | None:
    there = [value for value in values if value is not None]
    return statistics.fmean(there) if there else None


def make_columns(grid: Grid, folds: int, validation: bool) -> list[Column]:
    """The columns of the table of a grid."""
    columns = [Column("name", "pipeline"), Column("runs", "runs", "count")]
    if folds:
        columns.append(Column("accuracy_folds", f"{folds} folds", "share"))
    if validation:
        columns.append(Column("accuracy", "validation", "share"))
        columns.append(Column("accuracy_deduplicated", "without duplicates", "share"))
        if len({cell.seed for cell in grid.cells}) > 1:
            columns.append(Column("accuracy_min", "lowest", "share"))
            columns.append(Column("accuracy_max", "highest", "share"))
            columns.append(Column("variance", "variance", "number"))
        columns.append(Column("macro_f1", "macro F1", "number"))
        columns.append(Column("calibration_error", "calibration error", "number"))
    if grid.reported:
        columns.append(Column("reference", "reported", "share"))
    return [
        *columns,
        Column("fit_seconds", "fit, s", "number"),
        Column("predict_ms", "head, ms", "number"),
        Column("bytes", "head, bytes", "count"),
    ]
