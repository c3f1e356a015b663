"""The work of a worker: one partition of pictures in, one Parquet file out.

A worker holds nothing that is already written. What it returns is a few numbers, so a task that is
run twice, because its worker died or was slow, finds the file and does nothing.
"""

from __future__ import annotations

import json
import pickle
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from itertools import islice
from typing import Any
from uuid import uuid4

import numpy as np

from ferembed.cluster.connection import worker_address
from ferembed.cluster.plan import Item, Partition
from ferembed.datasets.vectors import (
    PART_FACTS,
    file_system,
    import_parquet,
    is_local,
    part_name,
)
from ferembed.embedder import Embedder
from ferembed.errors import FerembedError, ImageError, StoreError
from ferembed.faces import Face, FaceRecipe
from ferembed.images import Image, LoadedSource, Source, open_source
from ferembed.pipeline import Pipeline, Prediction

_PHOTOS = 32  # whose faces are read together


@dataclass(frozen=True, kw_only=True)
class Job:
    """The work on every partition, and the folder for the results."""

    kind: str  # "vectors" or "predictions"
    model: Any  # an Embedder, or a Pipeline
    crop: FaceRecipe | None  # finds the faces of photos; None where a picture is a face
    fingerprint: str  # of the recipe, the same on every worker
    version: str  # of ferembed, the same on every worker
    folder: str
    threads: int  # that a task may use


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """The result of a partition: the file and its numbers, or an error and its worker."""

    worker: str
    file: str = ""
    rows: int = 0
    pictures: int = 0
    failures: tuple[tuple[str, str], ...] = ()  # the name of a picture, and why it was left out
    error: str = ""
    storing: bool = False  # the error is one of the place that is written to


def compute(blob: bytes, partition: Partition) -> Outcome:
    """Run the pickled job on a partition. Errors are returned, so that others may try again."""
    worker = worker_address()
    try:
        job = _job(blob)
        _check(job)
        found = stored(job.folder, partition.key)
        if found is not None:
            return found
        columns, failures = _COMPUTE[job.kind](job, partition.items)
        try:
            return _write(job, partition, columns, failures)
        except OSError as error:
            reason = f"{job.folder} cannot be written: {error.strerror or error}"
            return Outcome(worker=worker, error=reason, storing=True)
    except StoreError as error:
        return Outcome(worker=worker, error=str(error), storing=True)
    except FerembedError as error:
        return Outcome(worker=worker, error=str(error))
    except Exception as error:  # whatever fails costs this partition alone
        return Outcome(worker=worker, error=f"{type(error).__name__}: {error}")


def stored(folder: str, key: str) -> Outcome | None:
    """The outcome of a partition whose file is there; None if it is not."""
    parquet = import_parquet()
    fs, root = file_system(folder)
    name = part_name(key)
    try:
        with fs.open(f"{root}/{name}", "rb") as file:
            found = parquet.ParquetFile(file)
            facts = json.loads(found.schema_arrow.metadata[PART_FACTS])
            rows = found.metadata.num_rows
    except FileNotFoundError:
        return None
    except (KeyError, TypeError, ValueError):  # not written by us, or damaged: written again
        return None
    failures = tuple((name, reason) for name, reason in facts["failures"])
    return Outcome(worker="", file=name, rows=rows, pictures=facts["pictures"], failures=failures)


@lru_cache(maxsize=2)
def _job(blob: bytes) -> Job:
    """The job, unpickled once per process; its networks are loaded once, too."""
    job: Job = pickle.loads(blob)  # noqa: S301  (of our own client, over Dask's own pickles)
    from ferembed._threads import limit_threads

    limit_threads(job.threads)
    return job


def _check(job: Job) -> None:
    """Refuse work for other versions or weights than here: this worker may have joined late."""
    from ferembed import __version__
    from ferembed.errors import ClusterError

    if job.version != __version__:
        raise ClusterError(f"The worker runs ferembed {__version__}, the client {job.version}.")
    found = recipe_here(_embedder(job))
    if found != job.fingerprint:
        raise ClusterError("The worker has other weights than the client.")


def recipe_here(embedder: Embedder) -> str:
    """The fingerprint of the recipe; a WeightsError where the weights are not on this machine."""
    for request in embedder.requests:
        if request.seed is None and (request.weights or request.spec.weights):
            request.weights_path()
    return embedder.recipe.fingerprint


def _embedder(job: Job) -> Embedder:
    embedder: Embedder = job.model.embedder if isinstance(job.model, Pipeline) else job.model
    return embedder.set_params(store="none", progress=None)  # type: ignore[no-any-return]


# --- vectors ----------------------------------------------------------------------------------

Columns = dict[str, Any]
Failures = list[tuple[str, str]]


def _vectors(job: Job, items: Sequence[Item]) -> tuple[Columns, Failures]:
    """A row per face: the picture, or with `crop` each face that is found in it."""
    embedder = _embedder(job)
    failures: Failures = []
    digests: list[bytes] = []
    owners: list[int] = []  # the number of the item that each face is of
    faces: list[Face | None] = []

    def pictures() -> Iterator[Source]:
        for number, item in enumerate(items):
            try:
                opened = open_source(item.source)
                digest = opened.digest(embedder.max_pixels)
                if job.crop is None:
                    found: list[tuple[Face | None, Source]] = [(None, opened.content)]
                else:
                    found = [*_faces(job.crop, opened, embedder.max_pixels)]
            except ImageError as error:
                failures.append((item.name, str(error)))
                continue
            for face, picture in found:
                digests.append(digest)
                owners.append(number)
                faces.append(face)
                yield picture

    embedded = embedder.embed(pictures())
    for failure in embedded.failures:
        name = items[owners[failure.position]].name
        failures.append((name, name + failure.reason.removeprefix(failure.name)))
    kept = embedded.positions.tolist()
    rows = [items[owners[place]] for place in kept]
    columns = {
        **_columns(rows, [digests[place] for place in kept], [faces[place] for place in kept]),
        "face": _numbers([owners[place] for place in kept]),
        "label": [item.label for item in rows],
        "split": [item.split for item in rows],
        "vector": embedded.vectors,
    }
    return columns, failures


def _columns(
    items: Sequence[Item], digests: Sequence[bytes | None], faces: Sequence[Face | None]
) -> Columns:
    return {
        "source": [item.name.encode("utf-8", "backslashreplace").decode() for item in items],
        "digest": digests,
        "box": [None if face is None else face.box for face in faces],
        "score": [None if face is None else face.score for face in faces],
    }


def _numbers(owners: Sequence[int]) -> list[int]:
    """The number of each face within its picture."""
    numbers: list[int] = []
    for place, owner in enumerate(owners):
        same = place > 0 and owners[place - 1] == owner
        numbers.append(numbers[-1] + 1 if same else 0)
    return numbers


# --- predictions ------------------------------------------------------------------------------


def _predictions(job: Job, items: Sequence[Item]) -> tuple[Columns, Failures]:
    """A row per face, and a row without a face for a photo that shows none or cannot be read."""
    pipeline: Pipeline = job.model
    pipeline.set_params(store="none", progress=None)
    failures: Failures = []
    rows: list[tuple[int, bytes | None, Any, str | None]] = []  # the first is the item's number
    numbered = iter(enumerate(items))
    while some := list(islice(numbered, _PHOTOS)):
        found: list[tuple[int, bytes, list[tuple[Face, Image]]]] = []
        for number, item in some:
            try:
                opened = open_source(item.source)
                digest = opened.digest(pipeline.max_pixels)
                faces = _faces(job.crop, opened, pipeline.max_pixels)
            except ImageError as error:
                failures.append((item.name, str(error)))
                rows.append((number, None, None, str(error)))
            else:
                found.append((number, digest, faces))
        crops = [crop for _, _, faces in found for _, crop in faces]
        predictions = iter(
            pipeline.read(crops, [face for _, _, faces in found for face, _ in faces])
        )
        for number, digest, faces in found:
            of_photo: list[Prediction | None] = [*islice(predictions, len(faces))]
            rows += [(number, digest, one, None) for one in of_photo or [None]]
    rows.sort(key=lambda row: row[0])  # which keeps the order of a photo's faces
    read = [prediction for _, _, prediction, _ in rows]
    numbers = _numbers([row[0] for row in rows])
    photos = [items[row[0]] for row in rows]
    labels = [str(label) for label in pipeline.classes_]
    columns = {
        **_columns(photos, [row[1] for row in rows], [one and one.face for one in read]),
        "face": [
            None if one is None else number for one, number in zip(read, numbers, strict=True)
        ],
        "found": [one and one.face.found for one in read],
        "predicted": [one and one.label for one in read],
        **{f"p_{label}": [one and one.probabilities[label] for one in read] for label in labels},
        "error": [row[3] for row in rows],
        "label": [photo.label for photo in photos],
        "split": [photo.split for photo in photos],
    }
    return columns, failures


def _faces(
    crop: FaceRecipe | None, photo: LoadedSource, max_pixels: int
) -> list[tuple[Face, Image]]:
    """The faces of a photo, or a picture that is a face."""
    if crop is not None:
        return crop(*photo.reduced(crop.shorter_side, max_pixels))
    image = photo.image(max_pixels)
    return [(Face((0, 0, image.shape[1], image.shape[0]), 1.0), image)]


_COMPUTE: dict[str, Callable[[Job, Sequence[Item]], tuple[Columns, Failures]]] = {
    "vectors": _vectors,
    "predictions": _predictions,
}


# --- writing ----------------------------------------------------------------------------------


def _write(job: Job, partition: Partition, columns: Columns, failures: Failures) -> Outcome:
    """Write the file under a temporary name and rename it."""
    parquet = import_parquet()
    facts = {
        "fingerprint": job.fingerprint,
        "pictures": len(partition),
        "failures": [
            [text.encode("utf-8", "backslashreplace").decode() for text in failure]
            for failure in failures
        ],
    }
    table = _table(columns).replace_schema_metadata({PART_FACTS: json.dumps(facts)})
    name = part_name(partition.key)
    fs, root = file_system(job.folder)
    unfinished = f"{root}/.{name}-{uuid4().hex[:8]}.tmp"
    try:
        with fs.open(unfinished, "wb") as file:
            # Vectors do not get smaller by compression, and as they are they can be mapped.
            parquet.write_table(
                table, file, compression="none", use_dictionary=["label", "split", "predicted"]
            )
        rename(fs, unfinished, f"{root}/{name}")
    except BaseException:
        with suppress(OSError):
            fs.rm_file(unfinished)
        raise
    return Outcome(
        worker=worker_address(),
        file=name,
        rows=table.num_rows,
        pictures=len(partition),
        failures=tuple(failures),
    )


def rename(fs: Any, source: str, target: str) -> None:
    if is_local(fs):
        import os

        os.replace(source, target)
    else:
        fs.mv(source, target)


def _table(columns: Columns) -> Any:
    import pyarrow as pa

    kinds = {
        "source": pa.string(),
        "digest": pa.binary(32),
        "face": pa.int16(),
        "box": pa.list_(pa.int32()),  # pyarrow before 26 reads no missing lists of a fixed size
        "score": pa.float64(),
        "found": pa.bool_(),
        "label": pa.string(),
        "split": pa.string(),
        "predicted": pa.string(),
        "error": pa.string(),
    }
    arrays: dict[str, Any] = {}
    for name, values in columns.items():
        if isinstance(values, np.ndarray):
            flat = pa.array(np.ascontiguousarray(values).ravel())
            arrays[name] = pa.FixedSizeListArray.from_arrays(flat, values.shape[1])
        else:
            arrays[name] = pa.array(values, kinds.get(name, pa.float64()))
    return pa.table(arrays)
