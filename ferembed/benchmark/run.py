"""benchmark: tries every cell of a grid, and says which pipeline is best and how much that means.

    outcome = benchmark(Grid.named("quick"), datasets.open("faces"), "out")
    print(outcome.table())

Faces are embedded once for each backbone and preprocessing, whatever the number of heads. Each cell
is one JSON file in the folder: run again, only what is new, or failed, is fitted. The validation
split chooses, or cross-validation within the training split. The test split is scored only if asked
for, once for each chosen pipeline.
"""

from __future__ import annotations

import hashlib
import json
import os
import pickle
import platform
import shutil
import statistics
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from joblib import cpu_count
from numpy.typing import NDArray
from sklearn.base import clone
from sklearn.model_selection import StratifiedGroupKFold

from ferembed import datasets
from ferembed.backbones import BACKBONES
from ferembed.benchmark.grid import NETWORK, TRAINED, Cell, Grid, varying
from ferembed.datasets.audit import audit
from ferembed.datasets.dataset import Dataset
from ferembed.datasets.vocabulary import UNSPLIT
from ferembed.embedder import Embedder
from ferembed.errors import DataError, FerembedError, ImageError
from ferembed.evaluation import Evaluation, evaluate
from ferembed.evaluation.html import Column, write_grid
from ferembed.evaluation.predictions import KEY, Predictions, face_digests
from ferembed.images import Source
from ferembed.pipeline import Pipeline
from ferembed.report import Report, markdown_table
from ferembed.storage.files import atomic_write, exclusive_folder
from ferembed.training import RECIPES, TrainingRecipe, train_backbone
from ferembed.translations import Translator

FOLDS = 5  # where there is no validation split
TIMED = 30  # faces, one at a time
FORMAT = 3
_VECTORS = ".vectors-"
_MOST_PICTURES = 100_000  # among which near copies are looked for: the time grows with the square
_SPARE_BYTES = 1 << 30  # left to the rest of the machine
_Record: TypeAlias = dict[str, Any]


@dataclass(frozen=True)
class Outcome:
    """What came of a grid.

    `rows` has an entry for each pipeline, over all seeds, the best first. `chosen` is the best,
    `page` what a person would look at, `test` its scores on the test split, if they were asked for.
    """

    rows: tuple[_Record, ...]
    columns: tuple[Column, ...]
    chosen: Cell | None
    page: Path
    failed: int
    computed: int  # vectors that were not in the store
    fitted: int  # cells that were not in the folder
    notes: tuple[str, ...] = ()
    test: _Record | None = None

    def table(self) -> str:
        """The rows as a Markdown table, with the notes below it."""
        tr = Translator("en")
        cells = [[column.text(row, tr) for column in self.columns] for row in self.rows]
        table = markdown_table([column.heading for column in self.columns], cells)
        return "\n".join([table, "", *self.notes])


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
    verbose: bool = False,
) -> Outcome:
    """Try every cell, choose the best, and write cells/*.json, grid.html and the chosen model.

    `folds` chooses by cross-validation of so many folds within the training split, copies of a face
    in one fold; 0 chooses by the validation split, or by 5 folds where there is none. `refit` fits
    the chosen pipeline on training and validation together before it is saved. `test` then scores
    it on the test split: once, and if the same pipeline is chosen again its scores are shown again.
    `jobs` cells are fitted at once; 0 is as many as cores and memory allow. A cell that fails is
    recorded with its error and the rest goes on.
    """
    return _Run(grid, data, Path(folder), folds, jobs, store, engine, verbose).run(
        refit, test, language
    )


@dataclass(frozen=True)
class _Faces:
    """What is learned from, or asked: vectors in a file, and what is known of each row."""

    vectors: Path
    labels: NDArray[np.str_]
    groups: NDArray[np.int64]  # copies of one face share a number
    copies: NDArray[np.bool_]  # which have a copy in the training split
    made: NDArray[np.bool_]  # which were made of others
    spare: NDArray[np.bool_]  # which are not learned from: folds ask them
    digests: tuple[str, ...]

    @property
    def bytes(self) -> int:
        return self.vectors.stat().st_size


@dataclass(frozen=True)
class _Task:
    """All that a worker needs for one cell."""

    cell: Cell
    file: Path
    facts: _Record
    training: _Faces
    unseen: _Faces | None
    folds: int
    head: Any  # fitted if it is the network's own last layer
    alone: bool = True  # the head may take all cores

    def score(self) -> _Record:
        """The record of the cell; a failure is one, too."""
        try:
            return {**self.facts, "status": "done", **self._scores()}
        except Exception as error:  # whatever a head raises costs this cell alone
            return self.failure(f"{type(error).__name__}: {error}")

    def failure(self, reason: str) -> _Record:
        return {**self.facts, "status": "failed", "error": reason}

    def _scores(self) -> _Record:
        X, labels = np.load(self.training.vectors, mmap_mode="r"), self.training.labels
        spare = self.training.spare
        head = self.head
        jobs = [name for name in head.get_params() if name.rpartition("__")[2] == "n_jobs"]
        if not self.alone and jobs:
            head = head.set_params(**dict.fromkeys(jobs, 1))
        found: _Record = {"scores": {}}
        seconds = None
        if self.cell.head != NETWORK:
            if self.folds:
                found["scores"]["folds"] = self._folds(head, X)
            head = clone(head)
            started = time.perf_counter()
            head.fit(X[~spare] if spare.any() else X, labels[~spare])
            seconds = time.perf_counter() - started
        asked = X
        if self.unseen is not None:
            asked = np.load(self.unseen.vectors, mmap_mode="r")
            truth, copies = self.unseen.labels, self.unseen.copies
            shares = np.asarray(head.predict_proba(asked))
            answers = head.classes_[shares.argmax(axis=1)]
            report = Report.from_predictions(truth, shares, head.classes_)
            alone = (answers == truth)[~copies]
            found["scores"] |= {
                "accuracy": report.accuracy,
                "accuracy_deduplicated": float(alone.mean()) if len(alone) else None,
                "duplicates": int(copies.sum()),
                "faces": report.count,
                "macro_f1": report.macro_f1,
                "calibration_error": report.calibration_error,
            }
            mine = Predictions.from_labels(truth, answers, head.classes_, self.unseen.digests)
            found[KEY] = mine.to_dict()
        milliseconds = []
        for row in np.asarray(asked[:TIMED]):
            started = time.perf_counter()
            head.predict_proba(row[None])
            milliseconds.append((time.perf_counter() - started) * 1000)
        found["costs"] = {
            "fit_seconds": seconds,
            "predict_ms": statistics.median(milliseconds),
            "bytes": len(pickle.dumps(head)),
        }
        return found

    def _folds(self, head: Any, X: NDArray[np.float32]) -> list[float]:
        """The accuracy on each fold of the training split, learned from the others.

        What was made of faces is learned from and not asked, so that all cells answer for the same.
        """
        labels, made, spare = self.training.labels, self.training.made, self.training.spare
        splitter = StratifiedGroupKFold(self.folds, shuffle=True, random_state=0)
        scores = []
        for learned, rest in splitter.split(X, labels, self.training.groups):
            learned, rest = learned[~spare[learned]], rest[~made[rest]]
            answers = clone(head).fit(X[learned], labels[learned]).predict(X[rest])
            scores.append(float((answers == labels[rest]).mean()))
        return scores


class _Run:
    """One run of a grid."""

    def __init__(
        self,
        grid: Grid,
        data: Dataset,
        folder: Path,
        folds: int,
        jobs: int,
        store: Any,
        engine: str,
        verbose: bool,
    ) -> None:
        self.grid, self.data, self.folder, self.verbose = grid, data, folder, verbose
        self.settings = {"store": store, "engine": engine, "verbose": verbose}
        whole = data.mask(UNSPLIT).all()
        self.learned_from = UNSPLIT if whole else "train"
        self.has_unseen = bool(data.mask("validation").any())
        if folds < 0 or folds == 1:
            raise DataError(f"folds is {folds}; it is 0 or a number from 2.")
        self.folds = folds or (0 if self.has_unseen else FOLDS)
        self.jobs = jobs or cpu_count()
        self.notes: list[str] = []
        self.digests: dict[str, str] = {}
        self.computed = self.fitted = 0
        self._networks: dict[Cell, Pipeline] = {}

    def run(self, refit: bool, test: bool, language: str) -> Outcome:
        if test and not self.data.mask("test").any():
            raise DataError("The data set has no test split to score: leave out --test.")
        with exclusive_folder(self.folder, DataError):
            return self._run(refit, test, language)

    def _run(self, refit: bool, test: bool, language: str) -> Outcome:
        for left in self.folder.glob(f"{_VECTORS}*"):  # by a run that was killed
            shutil.rmtree(left, ignore_errors=True)
        self._look_at_data()
        with tempfile.TemporaryDirectory(dir=self.folder, prefix=_VECTORS) as vectors:
            records = self._records(Path(vectors))
        rows = _rows(self.grid, records, self.folds)
        best = next((row for row in rows if row["score"] is not None), None)
        chosen, evaluation, scores = None, None, None
        if best:
            names = _names(self.grid)
            chosen = next(
                cell
                for cell in self.grid.cells
                if names[cell] == best["name"] and records[cell]["status"] == "done"
            )
            evaluation, scores = self._finish(chosen, best["name"], refit, test)
            self.notes = [*self._remarks(chosen, best, records, refit, scores), *self.notes]
        columns = _columns(self.grid, self.folds, self.has_unseen)
        name = best["name"] if best else None
        result = {
            "title": self.grid.title,
            "chosen": name,
            "chosen_by": f"{self.folds} folds" if self.folds else "the validation split",
            "rows": rows,
            "notes": self.notes,
            "test": scores,
            "data": self.data_facts,
            "machine": _machine(),
        }
        _write(self.folder / "grid.json", result)
        page = write_grid(
            self.folder,
            self.grid.title,
            rows,
            columns,
            evaluation=evaluation,
            chosen=name,
            notes=[note for note in (self.grid.about, *self.notes) if note],
            language=language,
        )
        failed = sum(record["status"] == "failed" for record in records.values())
        return Outcome(
            tuple(rows),
            tuple(columns),
            chosen,
            page,
            failed,
            self.computed,
            self.fitted,
            tuple(self.notes),
            scores,
        )

    def _finish(
        self, cell: Cell, name: str, refit: bool, test: bool
    ) -> tuple[Evaluation | None, _Record | None]:
        """Save the chosen pipeline; what it answers to the validation split, and to the test."""
        model = self._pipeline(cell, "train")
        evaluation = None
        if self.has_unseen:
            data = self._data_of(cell)
            evaluation = evaluate(
                model,
                data.split("validation"),
                self.used.split("train"),
                model=name,
                near_duplicates=False,  # they are known already
            )
            groups = [self.groups[name] for name in evaluation.names]
            evaluation = replace(evaluation, duplicates=np.isin(groups, self.learned_groups))
            if refit:
                model = self._pipeline(cell, "train", "validation")
        model.save(self.folder / "model")
        return evaluation, self._test(cell, model, refit) if test else None

    def _remarks(
        self,
        cell: Cell,
        best: _Record,
        records: dict[Cell, _Record],
        refit: bool,
        scores: _Record | None,
    ) -> list[str]:
        by = f"{self.folds} folds of the training split" if self.folds else "the validation split"
        count = len({replace(cell, seed=0) for cell in self.grid.cells})
        remarks = [
            f"{best['name']} was chosen by {by}, the best of {count:,}: "
            "the score of the best of many is a little kind."
        ]
        known = BACKBONES[cell.backbone].weights
        if self.folds and known and cell.weights is None:
            remarks.append(
                f"{cell.backbone} learned from {known.trained_on}. Scores by folds are too "
                "high for such faces: it has seen those of every fold. A validation split tells."
            )
        mine = records[cell].get("scores", {})
        if mine.get("duplicates"):
            remarks.append(
                f"{mine['duplicates']:,} of {mine['faces']:,} validation faces have a duplicate or "
                "near-duplicate in the training split; the scores without duplicates exclude them."
            )
        if refit and self.has_unseen and cell.head != NETWORK:
            remarks.append("The saved model learned from training and validation together.")
        if scores is None:
            remarks.append("The test split was not scored.")
        else:
            remarks.append(
                f"Test split, scored once: accuracy {scores['accuracy']:.2%}, macro F1 "
                f"{scores['macro_f1']:.3f}, {scores['count']:,} faces."
            )
        return remarks

    # --- what is learned from

    def _look_at_data(self) -> None:
        """Know the data by its content, and number the copies of each face."""
        used = self.data.select(self.data.mask(self.learned_from, "validation"))
        if self.learned_from == UNSPLIT:
            used = used.with_splits(
                ["train"], np.zeros(len(used), np.intp), {"step": "learn from all"}
            )
        self.used, names = used, [used.images.name(index) for index in range(len(used))]
        if len(set(names)) < len(names):  # of sets that were merged
            twice = next(name for name, count in Counter(names).items() if count > 1)
            raise DataError(
                f"Several pictures are called {twice}, and a grid knows them by their names. Write "
                "the data set with datasets.write, which gives each a name of its own, and open it."
            )
        with _bar(self.verbose, "reading", len(used)) as bar:
            for index, name in enumerate(names):
                self.digests[name] = _digest(used.images[index])
                bar.update()
        known = [*self.digests.values(), *used.labels.tolist(), *used.splits.tolist()]
        content = hashlib.sha256("\n".join(known).encode()).hexdigest()
        self.data_facts = {"sha256": content, "faces": used.counts()}
        kept = self.folder / f"copies-{content[:16]}.json"
        if kept.exists():
            numbers = json.loads(kept.read_text("utf-8"))
        else:
            with _bar(self.verbose, "looking for copies", len(used)) as bar:

                def progress(done: int, total: int | None) -> None:
                    bar.update(done - bar.n)

                found = audit(used, near_duplicates=len(used) <= _MOST_PICTURES, progress=progress)
            numbers = found.groups.tolist()
            _write(kept, numbers)
        self.groups = dict(zip(names, numbers, strict=True))
        # Whatever share of it a cell learns from, a network may have learned from all of it.
        self.learned_groups = np.unique(np.array(numbers)[used.mask("train")])

    def _data_of(self, cell: Cell) -> Dataset:
        """Of the cell's classes, its training split cut down, balanced or mirrored."""
        data = self.used
        if cell.classes != "all":
            data = datasets.select_classes(data, cell.classes.split("+"))
        if cell.faces:
            data = _fewer(data, cell.faces)
        if cell.balance:
            data = datasets.balance(data, cell.balance)
        return datasets.mirror(data) if cell.mirrored else data

    def _faces(self, cell: Cell, split: str, file: Path) -> _Faces:
        """The vectors of a split, in a file that workers share."""
        part = self._data_of(cell).split(split)
        learned = len(part)
        if self.folds and cell.balance and split == "train":
            taken = {part.images.name(index) for index in range(learned)}
            whole = self._data_of(replace(cell, balance=0, mirrored=False)).split(split)
            dropped = [whole.images.name(index) not in taken for index in range(len(whole))]
            if any(dropped):
                part = datasets.merge(part, whole.select(dropped))
        embedded = Embedder(**self._vector_settings(cell)).embed(part.images)
        self.computed += embedded.computed
        for failure in embedded.failures:
            self.notes.append(f"Left out of {split}: {failure.reason}")
        if not len(embedded.positions):
            raise DataError(f"No face of the {split} split can be read.")
        np.save(file, embedded.vectors)
        given = [part.images.name(int(i)) for i in embedded.positions]
        names = [_original(name, self.groups) for name in given]
        return _Faces(
            file,
            part.labels[embedded.positions],
            groups := np.array([self.groups[name] for name in names]),
            np.isin(groups, self.learned_groups),
            np.array([name not in self.groups for name in given]),
            embedded.positions >= learned,
            tuple(self.digests[name] for name in names),
        )

    # --- what learns

    def _network(self, cell: Cell) -> Pipeline:
        """The network of a cell whose weights are trained, with its own last layer."""
        key = replace(cell.vectors, layer=None, preprocess="none")
        if key not in self._networks:
            mark = hashlib.sha256(repr((key, self.data_facts["sha256"])).encode()).hexdigest()
            folder = self.folder / "networks" / f"{cell.backbone}-{cell.seed}-{mark[:12]}"
            if not self.has_unseen:
                raise DataError("Training a network needs a validation split: datasets.split.")
            recipe = replace(RECIPES.get(cell.backbone, TrainingRecipe()), seed=cell.seed)
            trained = train_backbone(
                self._data_of(cell), cell.backbone, folder, recipe, verbose=self.verbose
            )
            self._networks[key] = trained.pipeline
        return self._networks[key]

    def _vector_settings(self, cell: Cell) -> _Record:
        """What an embedder or a pipeline is told of how faces become vectors."""
        trained = cell.weights == TRAINED
        return {
            "backbone": cell.backbone,
            "layer": cell.layer,
            "weights": self._network(cell).weights if trained else cell.weights,
            "preprocess": cell.recipe,
            **self.settings,
        }

    def _recipe(self, cell: Cell) -> str:
        """What stands for all that decides the vectors beside the faces."""
        embedder = Embedder(**self._vector_settings(cell))
        return embedder.recipe.fingerprint + (embedder.request.precision_tag or "")

    def _head(self, cell: Cell) -> Any:
        """The head, which is fitted if it is the network's own last layer."""
        if cell.head != NETWORK:
            return cell.make_head()
        if cell.weights == TRAINED:
            return self._network(cell).head_
        classes = set(self.data.classes)
        sets = BACKBONES[cell.backbone].label_sets
        same = next((name for name, labels in sets if set(labels) == classes), None)
        return Pipeline.from_networks(cell.backbone, label_set=same).head_

    def _pipeline(self, cell: Cell, *splits: str) -> Pipeline:
        """The pipeline of a cell, learned from these splits."""
        settings = self._vector_settings(cell)
        head = self._head(cell)
        if cell.head == NETWORK:
            return Pipeline.from_head(head, **settings)
        data = self._data_of(cell)
        data = data.select(data.mask(*splits))
        pipeline = Pipeline(head=head, **settings)
        return pipeline.fit(data.images, data.labels, skip_unreadable=True)

    # --- the cells

    def _records(self, vectors: Path) -> dict[Cell, _Record]:
        """The record of every cell: those of the folder, and those that are fitted now."""
        groups: dict[Cell, list[Cell]] = {}
        for cell in self.grid.cells:
            groups.setdefault(cell.vectors, []).append(cell)
        records: dict[Cell, _Record] = {}
        tasks: list[_Task] = []
        for number, (shared, cells) in enumerate(groups.items()):
            try:
                recipe = self._recipe(shared)
                waiting = {}
                for cell in cells:
                    facts = self._facts(cell, recipe)
                    file = self._file(cell, facts)
                    records[cell] = _read(file)
                    if records[cell].get("status") != "done":
                        waiting[cell] = file, facts
                if not waiting:
                    continue
                training = self._faces(shared, "train", vectors / f"{number}-train.npy")
                unseen = None
                if self.has_unseen:
                    unseen = self._faces(shared, "validation", vectors / f"{number}-unseen.npy")
                for cell, (file, facts) in waiting.items():
                    head = self._head(cell)
                    tasks.append(_Task(cell, file, facts, training, unseen, self.folds, head))
            except (FerembedError, OSError) as error:  # it costs the cells of these vectors alone
                for cell in cells:
                    if records.get(cell, {}).get("status") != "done":
                        records[cell] = {**self._facts(cell), "status": "failed"}
                        records[cell]["error"] = str(error)
        with _bar(self.verbose, "fitting", len(tasks), "cell") as bar:
            for task, record in _scored(tasks, self.jobs):
                records[task.cell] = record
                self.fitted += 1
                bar.update()
                try:
                    _write(task.file, record)
                except OSError as error:
                    self.notes.append(f"{task.file} cannot be kept: {error.strerror}.")
        return records

    def _facts(self, cell: Cell, recipe: str = "") -> _Record:
        facts = {"format": FORMAT, "cell": cell.facts(), "vectors": recipe, "folds": self.folds}
        return {**facts, "data": self.data_facts, "machine": _machine()}

    def _file(self, cell: Cell, facts: _Record) -> Path:
        mark = hashlib.sha256(json.dumps(_decisive(facts), sort_keys=True).encode()).hexdigest()
        return self.folder / "cells" / f"{cell.backbone}-{cell.head}-{mark[:16]}.json"

    # --- the test split

    def _test(self, cell: Cell, model: Pipeline, refit: bool) -> _Record:
        """The scores on the test split: made once for a pipeline and split, then read again."""
        file = self.folder / "test.json"
        kept = _read(file)
        test = self.data.split("test")
        if cell.classes != "all":
            test = datasets.select_classes(test, cell.classes.split("+"))
        asked = [_digest(test.images[index]) for index in range(len(test))]
        content = hashlib.sha256("\n".join([*asked, *test.labels.tolist()]).encode()).hexdigest()
        facts = _decisive(self._facts(cell, self._recipe(cell)))
        key = json.dumps([facts, refit, content], sort_keys=True)
        if key not in kept:
            report, failures = model.evaluate(test.images, test.labels)
            kept[key] = {**report.to_dict(), "left_out": len(failures), "refit": refit}
            _write(file, kept)
        else:
            self.notes.append("This pipeline was scored on the test split before; it is not again.")
        return dict(kept[key])


def _scored(tasks: Sequence[_Task], jobs: int) -> Iterator[tuple[_Task, _Record]]:
    """The records of tasks as they come; a worker that dies costs the cell that killed it."""
    from joblib import Parallel, delayed
    from joblib.externals.loky.process_executor import BrokenProcessPool

    waiting = dict(enumerate(tasks))
    while waiting:
        at_once = min(jobs, len(waiting), _fitting_in_memory(waiting.values()))
        if at_once == 1:
            for task in waiting.values():
                yield task, task.score()
            return
        begun: list[int] = []

        def begin(begun: list[int] = begun) -> Iterator[Any]:
            for number, task in list(waiting.items()):
                begun.append(number)
                yield delayed(_score)(number, replace(task, alone=False))

        pool = Parallel(
            at_once, return_as="generator_unordered", pre_dispatch=at_once, batch_size=1
        )
        try:
            for number, record in pool(begin()):
                yield waiting.pop(number), record
        except BrokenProcessPool:
            for number in [one for one in begun if one in waiting]:
                task = waiting.pop(number)
                yield task, _alone(task)


def _score(number: int, task: _Task) -> tuple[int, _Record]:
    return number, task.score()


def _alone(task: _Task) -> _Record:
    """The record of a task in whose company a worker died: in a process with no other."""
    from joblib import Parallel, delayed
    from joblib.externals.loky.process_executor import BrokenProcessPool

    try:
        ((_, record),) = Parallel(2)([delayed(_score)(0, task)])
    except BrokenProcessPool:
        return task.failure("its process was killed, as happens where memory is short")
    return dict(record)


def _fitting_in_memory(tasks: Iterable[_Task]) -> int:
    """How many of the tasks may run at once: each holds its vectors in double precision."""
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
    except OSError:
        return sys.maxsize
    free = next(int(line.split()[1]) << 10 for line in lines if line.startswith("MemAvailable"))
    each = max(6 * task.training.bytes + _SPARE_BYTES for task in tasks)
    return max(1, (free - _SPARE_BYTES) // each)


def _names(grid: Grid) -> dict[Cell, str]:
    """What tells each pipeline from the others of the grid, whatever its seed."""
    keys = [key for key in varying(grid.cells) if key != "seed"]
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


def _rows(grid: Grid, records: dict[Cell, _Record], folds: int) -> list[_Record]:
    """A row for each pipeline over its seeds, the best first, then what others report."""
    names = _names(grid)
    groups: dict[Cell, list[Cell]] = {}
    for cell in grid.cells:
        groups.setdefault(replace(cell, seed=0), []).append(cell)
    rows = []
    for cell, seeds in groups.items():
        runs = [records[one] for one in seeds]
        done = [run for run in runs if run["status"] == "done"]
        facts = {key: value for key, value in cell.facts().items() if key != "seed"}
        row = {"name": names[seeds[0]], "group": cell.head, **facts, "runs": len(done)}
        row["error"] = next((run["error"] for run in runs if run["status"] != "done"), None)
        for key in ("accuracy", "accuracy_deduplicated", "macro_f1", "calibration_error"):
            row[key] = _mean(run["scores"].get(key) for run in done)
        scores = [run["scores"]["accuracy"] for run in done if "accuracy" in run["scores"]]
        if len(scores) > 1:
            row["accuracy_min"], row["accuracy_max"] = min(scores), max(scores)
            row["variance"] = statistics.variance(scores)
        parts = [part for run in done for part in run["scores"].get("folds", [])]
        row["accuracy_folds"] = _mean(parts)
        for key in ("fit_seconds", "predict_ms", "bytes"):
            row[key] = _mean(run["costs"][key] for run in done)
        row["bytes"] = row["bytes"] and int(row["bytes"])
        row["score"] = row["accuracy_folds"] if folds else row["accuracy"]
        rows.append(row)
    rows.sort(key=lambda row: (row["score"] is None, -(row["score"] or 0), row["fit_seconds"] or 0))
    others = [
        {"name": f"{by} ({on})" if on else by, "group": "reported", "reference": accuracy}
        for by, accuracy, on in grid.reported
    ]
    return rows + [{**row, "score": None, "error": None} for row in others]


def _mean(values: Iterable[float | None]) -> float | None:
    there = [value for value in values if value is not None]
    return statistics.fmean(there) if there else None


def _columns(grid: Grid, folds: int, unseen: bool) -> list[Column]:
    columns = [Column("name", "pipeline"), Column("runs", "runs", "count")]
    if folds:
        columns.append(Column("accuracy_folds", f"{folds} folds", "share"))
    if unseen:
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


def _decisive(facts: _Record) -> _Record:
    """What of a cell's facts decides its scores."""
    return {key: facts[key] for key in ("format", "cell", "vectors", "folds", "data")}


def _fewer(data: Dataset, faces: int) -> Dataset:
    """The data set with so many training faces, drawn with the shares of the classes."""
    training = np.flatnonzero(data.mask("train"))
    if faces >= len(training):
        return data
    from sklearn.model_selection import train_test_split

    try:
        kept, _ = train_test_split(
            training, train_size=faces, stratify=data.label_codes[training], random_state=0
        )
    except ValueError as error:
        raise DataError(
            f"{faces} of {len(training):,} faces cannot keep the shares of the classes: {error}"
        ) from None
    return data.select(np.sort(np.concatenate([kept, np.flatnonzero(~data.mask("train"))])))


def _original(name: str, known: Mapping[str, object]) -> str:
    """The name of the picture that a picture was made of."""
    while name not in known:
        name = name.rpartition(" (")[0]
    return name


def _digest(image: Source) -> str:
    try:
        return face_digests([image])[0]
    except ImageError:
        return "unreadable"


def _read(file: Path) -> _Record:
    """What an earlier run wrote; {} if there is nothing, or only part of it."""
    try:
        found = json.loads(file.read_text("utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _write(file: Path, facts: Any) -> None:
    with atomic_write(file) as unfinished:
        text = json.dumps(facts, indent=1, ensure_ascii=False) + "\n"
        # Names of files need not be UTF-8.
        unfinished.write_text(text, "utf-8", errors="backslashreplace")


def _bar(verbose: bool, what: str, total: int, unit: str = "img") -> Any:
    from tqdm import tqdm

    return tqdm(total=total, desc=what, unit=unit, disable=None if verbose else True)


def _machine() -> str:
    packages = ("ferembed", "scikit-learn", "numpy")
    made_with = ", ".join(f"{name} {version(name)}" for name in packages)
    return (
        f"{os.cpu_count()} cores of {platform.machine()}, Python {platform.python_version()}, "
        f"{made_with}"
    )
