"""Tasks: cells fitted and scored in worker processes."""

from __future__ import annotations

import os
import pickle
import statistics
import sys
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.base import clone
from sklearn.model_selection import StratifiedGroupKFold

from ferembed._memory import free_memory
from ferembed.benchmark.cell import OWN_LAST_LAYER, Cell
from ferembed.benchmark.records import Record
from ferembed.evaluation.predictions import KEY, Predictions
from ferembed.report import Report

TIMED = 30  # faces that are predicted one by one
_SPARE_BYTES = 1 << 30  # of memory that stays free


@dataclass(frozen=True, kw_only=True)
class Faces:
    """The faces of a split: vectors in a file, and the facts of each row."""

    vectors: Path
    labels: NDArray[np.str_]
    groups: NDArray[np.int64]  # the same number for duplicates
    duplicates: NDArray[np.bool_]  # those with a duplicate in the training split
    changed: NDArray[np.bool_]  # those made from other pictures
    spare: NDArray[np.bool_]  # those that only folds use, to score

    digests: tuple[str, ...]

    @property
    def bytes(self) -> int:
        return self.vectors.stat().st_size

    def load(self) -> NDArray[np.float32]:
        """The vectors, mapped into memory."""
        return np.asarray(np.load(self.vectors, mmap_mode="r"))


@dataclass(frozen=True, kw_only=True)
class Task:
    """A cell with everything that a worker process needs to fit and score it."""

    cell: Cell
    file: Path
    facts: Record
    training: Faces
    validation: Faces | None
    folds: int
    head: Any  # fitted, if it is the network's own last layer
    alone: bool = True  # the head may use all cores

    def prepare(self) -> Task:
        """The task for a worker that has one core; an OSError if its vectors are not seen there."""
        for part in (self.training, self.validation):
            if part is not None and not part.vectors.exists():
                raise FileNotFoundError(
                    f"{part.vectors} is not on this worker. Give an --output folder that all "
                    "workers see under the same path."
                )
        return replace(self, alone=False)

    def score(self) -> Record:
        """The record of the cell, also if it fails."""
        try:
            return {**self.facts, "status": "done", **self._scores()}
        except Exception as error:  # any error of a head fails only this cell
            return self.failure(f"{type(error).__name__}: {error}")

    def failure(self, reason: str) -> Record:
        return {**self.facts, "status": "failed", "error": reason}

    def _scores(self) -> Record:
        X, labels, spare = self.training.load(), self.training.labels, self.training.spare
        head = self._head_with_jobs()
        found: Record = {"scores": {}}
        seconds = None
        if self.cell.head != OWN_LAST_LAYER:
            if self.folds:
                found["scores"]["folds"] = self._folds(head, X)
            head = clone(head)
            started = time.perf_counter()
            head.fit(X[~spare] if spare.any() else X, labels[~spare])
            seconds = time.perf_counter() - started
        if self.validation is not None:
            X = self.validation.load()
            found["scores"] |= self._validate(head, X, found)
        found["costs"] = {
            "fit_seconds": seconds,
            "predict_ms": _latency(head, X),
            "bytes": len(pickle.dumps(head)),
        }
        return found

    def _head_with_jobs(self) -> Any:
        """The head; if other tasks run at the same time, it uses one core."""
        jobs = [name for name in self.head.get_params() if name.rpartition("__")[2] == "n_jobs"]
        if self.alone or not jobs:
            return self.head
        return self.head.set_params(**dict.fromkeys(jobs, 1))

    def _validate(self, head: Any, X: NDArray[np.float32], found: Record) -> Record:
        """The scores on the validation split; the predictions go into `found`."""
        assert self.validation is not None
        targets, duplicates = self.validation.labels, self.validation.duplicates
        probabilities = np.asarray(head.predict_proba(X))
        predicted = head.classes_[probabilities.argmax(axis=1)]
        report = Report.from_predictions(targets, probabilities, head.classes_)
        others = (predicted == targets)[~duplicates]
        predictions = Predictions.from_labels(
            targets, predicted, head.classes_, self.validation.digests
        )
        found[KEY] = predictions.to_dict()
        return {
            "accuracy": report.accuracy,
            "accuracy_deduplicated": float(others.mean()) if len(others) else None,
            "duplicates": int(duplicates.sum()),
            "faces": report.count,
            "macro_f1": report.macro_f1,
            "calibration_error": report.calibration_error,
        }

    def _folds(self, head: Any, X: NDArray[np.float32]) -> list[float]:
        """The accuracy on each fold of the training split, after training on the others.

        Changed pictures are trained on and not scored, so that all cells score the same faces.
        """
        labels, changed, spare = self.training.labels, self.training.changed, self.training.spare
        splitter = StratifiedGroupKFold(self.folds, shuffle=True, random_state=0)
        scores = []
        for others, fold in splitter.split(X, labels, self.training.groups):
            others, fold = others[~spare[others]], fold[~changed[fold]]
            predicted = clone(head).fit(X[others], labels[others]).predict(X[fold])
            scores.append(float((predicted == labels[fold]).mean()))
        return scores


def _latency(head: Any, X: NDArray[np.float32]) -> float:
    """The median time of one prediction, in milliseconds."""
    milliseconds = []
    for row in np.asarray(X[:TIMED]):
        started = time.perf_counter()
        head.predict_proba(row[None])
        milliseconds.append((time.perf_counter() - started) * 1000)
    return statistics.median(milliseconds)


def run_tasks(tasks: Sequence[Task], jobs: int) -> Iterator[tuple[Task, Record]]:
    """Yield tasks with their records as they finish; a dead worker fails only its own cell."""
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
                yield delayed(_score)(number, replace(task, alone=False), os.getpid())

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


def _score(number: int, task: Task, run: int) -> tuple[int, Record]:
    if os.getppid() == run:  # else joblib works in this process
        _end_with(run)
    return number, task.score()


@cache
def _end_with(run: int) -> None:
    """End this worker soon after the process of its run is gone: a killed one cannot say so."""

    def watch() -> None:
        while os.getppid() == run:
            time.sleep(1)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def _alone(task: Task) -> Record:
    """The record of a task that was running when a worker died, from a process of its own."""
    from joblib import Parallel, delayed
    from joblib.externals.loky.process_executor import BrokenProcessPool

    try:
        ((_, record),) = Parallel(2)([delayed(_score)(0, task, os.getpid())])
    except BrokenProcessPool:
        return task.failure("its process was killed; probably it had too little memory")
    return dict(record)


def _fitting_in_memory(tasks: Iterable[Task]) -> int:
    """The number of tasks that fit in memory; each holds its vectors in double precision."""
    free = free_memory()
    if free is None:
        return sys.maxsize
    each = max(6 * task.training.bytes + _SPARE_BYTES for task in tasks)
    return max(1, (free - _SPARE_BYTES) // each)
