"""embed and predict: pictures in, a folder of Parquet files out, over all workers of a cluster."""

from __future__ import annotations

import hashlib
import json
import os
import pickle
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext, suppress
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any
from uuid import uuid4

import joblib

from ferembed._progress import Progress
from ferembed.backbones.preprocess import Preprocess
from ferembed.cluster.connection import PATIENCE, check_workers
from ferembed.cluster.plan import Data, Partition, count_items, list_items, partitions
from ferembed.cluster.scheduling import run_tasks
from ferembed.cluster.worker import Job, Outcome, compute, recipe_here, rename, stored
from ferembed.datasets.vectors import (
    FORMAT,
    MANIFEST,
    file_system,
    is_local,
    part_name,
    read_manifest,
)
from ferembed.embedder import Embedder
from ferembed.errors import DataError, StoreError
from ferembed.faces import FaceRecipe
from ferembed.pipeline import Pipeline
from ferembed.storage.files import exclusive_folder

SIZE = 1000  # pictures in a partition


@dataclass(frozen=True, kw_only=True)
class Done:
    """The result of a run.

    `failures` are the pictures that could not be used, with the reason. `lost` are those of
    partitions that failed on every worker that tried: run again, they are tried again.
    """

    folder: str
    rows: int
    pictures: int
    computed: int  # partitions computed by this run
    found: int  # partitions that were there
    failures: tuple[tuple[str, str], ...] = ()
    lost: tuple[tuple[str, str], ...] = ()


def embed(
    data: Data,
    pipeline: Pipeline | Embedder,
    client: Any,
    output: str | os.PathLike[str],
    *,
    crop: FaceRecipe | str | None = None,
    size: int = SIZE,
    progress: Progress | None = None,
    patience: float = PATIENCE,
) -> Done:
    """Write the vectors of all faces to a folder, which `datasets.open_vectors` opens.

    `data` is a Dataset, a list of pictures, or paths and URLs of folders, zips and CSVs. With
    `crop` the pictures are photos, and each face that is found in one is a row. The folder, local
    or of fsspec, must be one that all workers see; so must the pictures. A partition of about
    `size` pictures is a task, and one Parquet file. Partitions that are there are not computed.
    """
    embedder = pipeline.embedder if isinstance(pipeline, Pipeline) else pipeline
    recipe = None if crop is None else FaceRecipe.resolve(crop)
    run = _Run("vectors", embedder, recipe, client, output, patience)
    return run.write(data, size, progress)


def predict(
    data: Data,
    pipeline: Pipeline,
    client: Any,
    output: str | os.PathLike[str],
    *,
    size: int = SIZE,
    progress: Progress | None = None,
    patience: float = PATIENCE,
) -> Done:
    """Write the predictions for the faces of all photos to a folder of Parquet files.

    Faces are found by the pipeline's detector. A photo without a face, and one that cannot be
    read, has a row, too. Otherwise as `embed`.
    """
    recipe = FaceRecipe.resolve(pipeline.detector)
    run = _Run("predictions", pipeline, recipe, client, output, patience)
    return run.write(data, size, progress)


@dataclass(kw_only=True)
class _Tally:
    """The partitions so far: their keys in the order of the listing, outcomes and losses."""

    total: int | None
    progress: Progress | None
    order: list[str] = field(default_factory=list)
    outcomes: dict[str, Outcome] = field(default_factory=dict)
    lost: dict[str, str] = field(default_factory=dict)  # pictures, with the reason
    found: int = 0  # partitions that were there
    pictures: int = 0

    def lose(self, part: Partition, reason: str) -> None:
        self.lost |= {item.name: reason for item in part.items}

    def count(self, part: Partition) -> None:
        self.pictures += len(part)
        if self.progress:
            self.progress(self.pictures, self.total)


class _Run:
    """One call of `embed` or `predict`."""

    def __init__(
        self,
        kind: str,
        model: Pipeline | Embedder,
        crop: FaceRecipe | None,
        client: Any,
        output: str | os.PathLike[str],
        patience: float,
    ) -> None:
        from ferembed import __version__

        self.client, self.patience = client, patience
        self.folder = os.fspath(output)
        self.fs, self.root = file_system(self.folder)
        if is_local(self.fs):
            self.folder = self.root  # absolute: workers run elsewhere
        embedder = model.embedder if isinstance(model, Pipeline) else model
        recipe = embedder.recipe
        threads = check_workers(client, partial(recipe_here, embedder), patience)
        self.job = Job(
            kind=kind,
            model=model,
            crop=crop,
            fingerprint=recipe.fingerprint,
            version=__version__,
            folder=self.folder,
            threads=threads,
        )
        facts: dict[str, Any] = {
            "kind": kind,
            "fingerprint": recipe.fingerprint,
            "crop": crop and crop.facts(),
        }
        if isinstance(model, Pipeline):
            prediction = model.head_, model.prior, model.prior_strength, model.expressions
            facts["head"] = joblib.hash(prediction)
            facts["classes"] = [str(label) for label in model.classes_]
        self.mark = hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()
        self.manifest: dict[str, Any] = {
            "format": FORMAT,
            **facts,
            "mark": self.mark,
            "facts": json.loads(recipe.facts),
            "embedder": _parameters(embedder),
            "complete": False,
            "partitions": [],
            "lost": [],
        }

    def write(self, data: Data, size: int, progress: Progress | None) -> Done:
        with self._alone():
            return self._write(data, size, progress)

    def _alone(self) -> AbstractContextManager[None]:
        if is_local(self.fs):
            return exclusive_folder(Path(self.root), DataError)
        self.fs.makedirs(self.root, exist_ok=True)
        return nullcontext()

    def _write(self, data: Data, size: int, progress: Progress | None) -> Done:
        earlier = self._earlier()
        self._save()
        tally = _Tally(total=count_items(data), progress=progress)
        missing = self._missing(data, size, earlier, tally)
        tasks = run_tasks(self.client, compute, pickle.dumps(self.job), missing, self.patience)
        try:
            for part, result in tasks:
                self._take(part, result, tally)
        except BaseException:
            self._record(tally)
            with suppress(OSError):  # of a disk that is full, the first reason is the one to tell
                self._save()
            raise
        finally:
            tasks.close()  # type: ignore[attr-defined]
        self._record(tally)
        self.manifest["complete"] = True
        self._save()
        self._tidy()
        outcomes = tally.outcomes.values()
        return Done(
            folder=self.folder,
            rows=sum(one.rows for one in outcomes),
            pictures=tally.pictures,
            computed=len(outcomes) - tally.found,
            found=tally.found,
            failures=tuple(pair for one in outcomes for pair in one.failures),
            lost=tuple(tally.lost.items()),
        )

    def _missing(
        self, data: Data, size: int, earlier: dict[str, Outcome], tally: _Tally
    ) -> Iterator[tuple[str, Partition]]:
        """The partitions to compute, with the names of their tasks; the others are counted."""
        there = {os.path.basename(path) for path in self.fs.ls(self.root, detail=False)}
        for part in partitions(list_items(data), size):
            key = hashlib.sha256(f"{self.mark}{part.key}".encode()).hexdigest()[:32]
            part = replace(part, key=key)
            if key in tally.outcomes:  # the same pictures twice
                continue
            tally.order.append(key)
            name = part_name(key)
            known = earlier.get(name) if name in there else None
            if known is None and name in there:
                known = stored(self.folder, key)
            if known is None:
                yield f"ferembed-{self.job.kind}-{key}", part
                continue
            tally.outcomes[key] = known
            tally.found += 1
            tally.count(part)

    def _take(self, part: Partition, result: Outcome | Exception, tally: _Tally) -> None:
        """Count the result of a task; a StoreError if it could not be written."""
        if isinstance(result, Exception):
            tally.lose(part, f"its worker was lost: {result}")
        elif result.storing:
            raise StoreError(
                f"{result.error} (worker {result.worker}). {len(tally.outcomes):,} partitions "
                "are written and kept. Make room, or see that every worker may write "
                "there, and run again: only what is missing is computed."
            )
        elif result.error:
            tally.lose(part, result.error)
        else:
            tally.outcomes[part.key] = result
        tally.count(part)

    def _earlier(self) -> dict[str, Outcome]:
        """The outcomes of an earlier run here; a DataError if the folder holds other data."""
        manifest = read_manifest(self.folder)
        if manifest is None:
            others = [
                os.path.basename(path)
                for path in self.fs.ls(self.root, detail=False)
                if not os.path.basename(path).startswith(".")
            ]
            if others:
                raise DataError(
                    f"{self.folder} holds {others[0]} and no {MANIFEST}. Give a folder that is "
                    "empty or new."
                )
            return {}
        if manifest["mark"] != self.mark:
            raise DataError(
                f"{self.folder} holds {manifest['kind']} made by another recipe or model. Give "
                "another folder, or delete this one."
            )
        return {
            part["file"]: Outcome(
                worker="",
                file=part["file"],
                rows=part["rows"],
                pictures=part["pictures"],
                failures=tuple((name, reason) for name, reason in part["failures"]),
            )
            for part in manifest["partitions"]
        }

    def _record(self, tally: _Tally) -> None:
        """Put into the manifest what is done, in the order of the listing."""
        done = [tally.outcomes[key] for key in tally.order if key in tally.outcomes]
        self.manifest["partitions"] = [
            {
                "file": one.file,
                "rows": one.rows,
                "pictures": one.pictures,
                "failures": [[_plain(text) for text in pair] for pair in one.failures],
            }
            for one in done
        ]
        self.manifest["lost"] = [[_plain(text) for text in pair] for pair in tally.lost.items()]

    def _save(self) -> None:
        unfinished = f"{self.root}/.{MANIFEST}-{uuid4().hex[:8]}.tmp"
        try:
            self.fs.pipe_file(unfinished, json.dumps(self.manifest, indent=1).encode())
            rename(self.fs, unfinished, f"{self.root}/{MANIFEST}")
        except OSError as error:
            with suppress(OSError):
                self.fs.rm_file(unfinished)
            raise StoreError(
                f"{self.folder} cannot be written: {error.strerror or error}. Make room or give "
                "another folder, and run again."
            ) from error

    def _tidy(self) -> None:
        """Remove files of pictures that are no longer there, and what killed workers left."""
        ours = {part["file"] for part in self.manifest["partitions"]}
        for path in self.fs.ls(self.root, detail=False):
            name = os.path.basename(path)
            old = name.startswith("part-") and name.endswith(".parquet") and name not in ours
            if old or (name.startswith(".") and name.endswith(".tmp")):
                with suppress(OSError):
                    self.fs.rm_file(path)


def _parameters(embedder: Embedder) -> dict[str, Any]:
    """The parameters that decide the vectors, as JSON holds them."""

    def plain(value: Any) -> Any:
        if isinstance(value, (list, tuple)):
            return [plain(one) for one in value]
        if isinstance(value, Preprocess):
            return value.facts()
        return os.fspath(value) if isinstance(value, os.PathLike) else value

    names = ("backbone", "layer", "weights", "preprocess", "normalize", "mirror_average")
    return {name: plain(getattr(embedder, name)) for name in names}


def _plain(text: str) -> str:
    return text.encode("utf-8", "backslashreplace").decode()
