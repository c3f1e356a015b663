"""benchmark: tries every cell of a grid and chooses the best pipeline.

    outcome = benchmark(Grid.named("quick"), datasets.open("faces"), "out")
    print(outcome.table())

Faces are embedded once for each backbone and preprocessing, whatever the number of heads. Each cell
has a JSON file in the folder: a second run fits only new and failed cells. The validation split
chooses, or cross-validation within the training split. The test split is scored only if asked for,
once for each chosen pipeline.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from joblib import cpu_count

from ferembed._progress import Progress
from ferembed.backbones import BACKBONES
from ferembed.benchmark.cell import OWN_LAST_LAYER, Cell
from ferembed.benchmark.data_view import DataView, digest
from ferembed.benchmark.grid import Grid
from ferembed.benchmark.ranking import Outcome, make_columns, make_rows, pipeline_names
from ferembed.benchmark.records import (
    FORMAT,
    Record,
    decisive,
    machine_description,
    read_record,
    write_record,
)
from ferembed.benchmark.tasks import Task, run_tasks
from ferembed.benchmark.vectors import Vectors
from ferembed.datasets import Dataset
from ferembed.errors import DataError, FerembedError
from ferembed.evaluation import Evaluation, evaluate
from ferembed.evaluation.html import write_grid
from ferembed.pipeline import Pipeline
from ferembed.storage.files import exclusive_folder

FOLDS = 5  # if there is no validation split
_VECTORS = ".vectors-"


def benchmark(
    grid: Grid,
    data: Dataset,
    folder: str | os.PathLike[str],
    *,
    folds: int = 0,
    refit: bool = False,
    test: bool = False,
    jobs: int = 0,
    store: Any = "disk",
    engine: str = "auto",
    language: str = "en",
    progress: Progress | None = None,
    score_cells: ScoreCells | None = None,
) -> Outcome:
    """Try every cell, choose the best, and write cells/*.json, grid.html and the chosen model.

    `folds` chooses by cross-validation within the training split, with duplicates of a face in one
    fold; 0 chooses by the validation split, or by 5 folds if there is none. `refit` fits the chosen
    pipeline on training and validation together before it is saved. `test` then scores it on the
    test split; the scores of a pipeline are kept and not computed again. `jobs` cells are fitted at
    the same time; 0 is as many as cores and memory allow. A cell that fails is recorded with its
    error. `score_cells` runs them elsewhere, such as `cluster.score_cells` with a client; every
    machine must see the folder.
    """
    if folds < 0 or folds == 1:
        raise DataError(f"folds is {folds}; it is 0 or a number from 2.")
    if test and not data.mask("test").any():
        raise DataError("The data set has no test split to score: omit --test.")
    folder = Path(folder)
    with exclusive_folder(folder, DataError):
        for left in folder.glob(f"{_VECTORS}*"):  # by a run that was killed
            shutil.rmtree(left, ignore_errors=True)
        view = DataView(data, folder, progress)
        folds = folds or (0 if view.has_validation else FOLDS)
        settings = {"store": store, "engine": engine, "progress": progress}
        vectors = Vectors(view, folder, folds, settings)
        runner = Runner(grid, vectors, score_cells or partial(run_tasks, jobs=jobs or cpu_count()))
        records = runner.run()
        return Results(grid, runner, records).write(refit, test, language)


ScoreCells: TypeAlias = Callable[[Sequence[Task]], Iterator[tuple[Task, Record]]]


class Runner:
    """Fits the cells of a grid that have no record in the folder yet."""

    def __init__(self, grid: Grid, vectors: Vectors, score_cells: ScoreCells) -> None:
        self.grid, self.vectors, self.score_cells = grid, vectors, score_cells
        self.view, self.folder, self.folds = vectors.view, vectors.folder, vectors.folds
        self.notes: list[str] = []
        self.fitted = 0

    def run(self) -> dict[Cell, Record]:
        """The record of every cell."""
        with tempfile.TemporaryDirectory(dir=self.folder, prefix=_VECTORS) as place:
            records: dict[Cell, Record] = {}
            tasks = self._tasks(Path(place).absolute(), records)
            for task, record in self.score_cells(tasks):
                records[task.cell] = record
                self.fitted += 1
                if progress := self.vectors.settings["progress"]:
                    progress(self.fitted, len(tasks))
                try:
                    write_record(task.file, record)
                except OSError as error:
                    self.notes.append(f"Cannot write {task.file}: {error.strerror}.")
        return records

    def facts(self, cell: Cell, recipe: str = "") -> Record:
        """The facts of a cell that its record starts with."""
        return {
            "format": FORMAT,
            "cell": cell.facts(),
            "vectors": recipe,
            "folds": self.folds,
            "data": self.view.facts,
            "machine": machine_description(),
        }

    def _tasks(self, place: Path, records: dict[Cell, Record]) -> list[Task]:
        """The cells to fit; the records of the others are put into `records`."""
        groups: dict[Cell, list[Cell]] = {}
        for cell in self.grid.cells:
            groups.setdefault(cell.vectors, []).append(cell)
        tasks: list[Task] = []
        for number, (shared, cells) in enumerate(groups.items()):
            try:
                tasks += self._tasks_of(shared, cells, place / str(number), records)
            except (FerembedError, OSError) as error:  # it fails only the cells of these vectors
                for cell in cells:
                    if records.get(cell, {}).get("status") != "done":
                        failure = {"status": "failed", "error": str(error)}
                        records[cell] = {**self.facts(cell), **failure}
        return tasks

    def _tasks_of(
        self, shared: Cell, cells: Sequence[Cell], place: Path, records: dict[Cell, Record]
    ) -> list[Task]:
        """The tasks of cells with the same vectors."""
        recipe = self.vectors.recipe(shared)
        waiting = {}
        for cell in cells:
            facts = self.facts(cell, recipe)
            file = self._file(cell, facts)
            records[cell] = read_record(file)
            if records[cell].get("status") != "done":
                waiting[cell] = file, facts
        if not waiting:
            return []
        training = self.vectors.faces(shared, "train", place.with_suffix(".train.npy"))
        validation = None
        if self.view.has_validation:
            file = place.with_suffix(".validation.npy")
            validation = self.vectors.faces(shared, "validation", file)
        return [
            Task(
                cell=cell,
                file=file,
                facts=facts,
                training=training,
                validation=validation,
                folds=self.folds,
                head=self.vectors.head(cell),
            )
            for cell, (file, facts) in waiting.items()
        ]

    def _file(self, cell: Cell, facts: Record) -> Path:
        mark = hashlib.sha256(json.dumps(decisive(facts), sort_keys=True).encode()).hexdigest()
        return self.folder / "cells" / f"{cell.backbone}-{cell.head}-{mark[:16]}.json"


class Results:
    """The best pipeline of a run, its model, its page and its scores on the test split."""

    def __init__(self, grid: Grid, runner: Runner, records: dict[Cell, Record]) -> None:
        self.grid, self.runner, self.records = grid, runner, records
        self.vectors, self.view, self.folds = runner.vectors, runner.view, runner.folds
        self.folder = runner.folder
        self.rows = make_rows(grid, records, runner.folds)
        self.best = next((row for row in self.rows if row["score"] is not None), None)
        self.notes = [*self.view.notes, *runner.notes]

    def write(self, refit: bool, test: bool, language: str) -> Outcome:
        """Save the best pipeline, and write grid.json and the page."""
        chosen, evaluation, scores = None, None, None
        if self.best:
            chosen = self._chosen(self.best["name"])
            evaluation, scores = self._finish(chosen, self.best["name"], refit, test)
            remarks = self._remarks(chosen, self.best, refit, scores)
            self.notes = [*remarks, *self.notes]
        name = self.best["name"] if self.best else None
        columns = make_columns(self.grid, self.folds, self.view.has_validation)
        result = {
            "title": self.grid.title,
            "chosen": name,
            "chosen_by": f"{self.folds} folds" if self.folds else "the validation split",
            "rows": self.rows,
            "notes": self.notes,
            "test": scores,
            "data": self.view.facts,
            "machine": machine_description(),
        }
        write_record(self.folder / "grid.json", result)
        page = write_grid(
            self.folder,
            self.grid.title,
            self.rows,
            columns,
            evaluation=evaluation,
            chosen=name,
            notes=[note for note in (self.grid.about, *self.notes) if note],
            language=language,
        )
        return Outcome(
            rows=tuple(self.rows),
            columns=tuple(columns),
            chosen=chosen,
            page=page,
            failed=sum(record["status"] == "failed" for record in self.records.values()),
            computed=self.vectors.computed,
            fitted=self.runner.fitted,
            notes=tuple(self.notes),
            test=scores,
        )

    def _chosen(self, name: str) -> Cell:
        """The first cell of the best pipeline that did not fail."""
        names = pipeline_names(self.grid)
        cells = [cell for cell in self.grid.cells if names[cell] == name]
        return next(cell for cell in cells if self.records[cell]["status"] == "done")

    def _finish(
        self, cell: Cell, name: str, refit: bool, test: bool
    ) -> tuple[Evaluation | None, Record | None]:
        """Save the chosen pipeline; its evaluation on the validation split, its test scores."""
        model = self.vectors.pipeline(cell, "train")
        evaluation = None
        if self.view.has_validation:
            evaluation = evaluate(
                model,
                self.view.of_cell(cell).split("validation"),
                self.view.used.split("train"),
                model=name,
                near_duplicates=False,  # they are known already
            )
            groups = np.array([self.view.groups[one] for one in evaluation.names])
            evaluation = replace(evaluation, duplicates=self.view.have_duplicates(groups))
            if refit:
                model = self.vectors.pipeline(cell, "train", "validation")
        model.save(self.folder / "model")
        return evaluation, self._test(cell, model, refit) if test else None

    def _remarks(self, cell: Cell, best: Record, refit: bool, scores: Record | None) -> list[str]:
        by = f"{self.folds} folds of the training split" if self.folds else "the validation split"
        count = len({replace(cell, seed=0) for cell in self.grid.cells})
        remarks = [
            f"{best['name']} was chosen by {by} as the best of {count:,}, so its score is "
            "optimistically biased."
        ]
        known = BACKBONES[cell.backbone].weights
        if self.folds and known and cell.weights is None:
            remarks.append(
                f"{cell.backbone} was trained on {known.trained_on}. Cross-validation on such "
                "faces is optimistic; use a validation split."
            )
        mine = self.records[cell].get("scores", {})
        if mine.get("duplicates"):
            remarks.append(
                f"{mine['duplicates']:,} of {mine['faces']:,} validation faces have a duplicate or "
                "near-duplicate in the training split; the scores without duplicates exclude them."
            )
        if refit and self.view.has_validation and cell.head != OWN_LAST_LAYER:
            remarks.append("The saved model was fitted on training and validation together.")
        if scores is None:
            remarks.append("The test split was not scored.")
        else:
            remarks.append(
                f"Test split, scored once: accuracy {scores['accuracy']:.2%}, macro F1 "
                f"{scores['macro_f1']:.3f}, {scores['count']:,} faces."
            )
        return remarks

    def _test(self, cell: Cell, model: Pipeline, refit: bool) -> Record:
        """The scores on the test split, from the file if this pipeline was scored before."""
        file = self.folder / "test.json"
        kept = read_record(file)
        test = self.view.test_split(cell)
        faces = [digest(test.images[index]) for index in range(len(test))]
        content = hashlib.sha256("\n".join([*faces, *test.labels.tolist()]).encode()).hexdigest()
        facts = decisive(self.runner.facts(cell, self.vectors.recipe(cell)))
        key = json.dumps([facts, refit, content], sort_keys=True)
        if key not in kept:
            report, failures = model.evaluate(test.images, test.labels)
            kept[key] = {**report.to_dict(), "left_out": len(failures), "refit": refit}
            write_record(file, kept)
        else:
            self.notes.append("The scores on the test split are from an earlier run.")
        return dict(kept[key])
