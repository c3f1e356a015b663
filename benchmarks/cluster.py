"""Time ferembed.cluster: scaling, overhead, scheduling, growth of heads, and a run end to end.

python -m benchmarks.cluster fer2013.zip --work /tmp/cluster scaling --faces 20000
python -m benchmarks.cluster fer2013.zip --work /tmp/cluster scheduling --partitions 10000
python -m benchmarks.cluster fer2013.zip --work /tmp/cluster growth --rows 64000 256000 1000000
python -m benchmarks.cluster fer2013.zip --work /tmp/cluster heads
python -m benchmarks.cluster fer2013.zip --work /tmp/cluster whole --faces 1000000

Each line of the results is written when it is there, and is not measured again; --again does.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import resource
import shutil
import time
import zipfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
from numpy.typing import NDArray

from ferembed import Embedder, Pipeline, cluster, datasets
from ferembed.benchmark import benchmark
from ferembed.benchmark.grid import Grid
from ferembed.cluster.scheduling import run_tasks
from ferembed.heads import HEADS
from ferembed.images import load_image
from ferembed.storage.files import atomic_write

RESULTS = Path(__file__).parent / "results" / "cluster.json"
BACKBONE = "mini-vgg"
GRID = f"""
title = "SVM"
[[cells]]
backbone = "{BACKBONE}"
head = "svm"
head__C = [0.1, 0.3, 1, 3, 10, 30, 100, 300]
head__gamma = [0.0003, 0.001, 0.002, 0.003, 0.005, 0.01, 0.03, 0.1]
"""
CELLS = len(Grid.parse(GRID, "svm").cells)
MOST_IN_GRID = 6000  # faces: the SVMs take a few seconds each
ENGINE_OF_MANY = "openvino-int8"  # whose network ships
HEADS_IN_BATCHES = ("softmax", "fourier-svm", "approximate-knn")
EXACT = {"fourier-svm": "svm", "approximate-knn": "knn"}  # where both can be fitted


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", help="fer2013.zip")
    parser.add_argument("--work", type=Path, required=True, help="a folder for what is made")
    parser.add_argument("--again", action="store_true", help="measure what is there, too")
    parts = parser.add_subparsers(dest="part", required=True)
    for name in ("scaling", "whole"):
        part = parts.add_parser(name)
        part.add_argument("--faces", type=int, default=20_000)
    parts.choices["whole"].add_argument("--workers", type=int, default=2)
    parts.choices["scaling"].add_argument("--rounds", type=int, default=2)
    part = parts.add_parser("scheduling")
    part.add_argument("--partitions", type=int, default=10_000)
    part.add_argument("--workers", type=int, default=64)
    part.add_argument("--seconds", type=float, default=0.5, help="that each task sleeps")
    part = parts.add_parser("growth")
    part.add_argument("--rows", type=int, nargs="+", default=[64_000, 256_000])
    parts.add_parser("heads")
    options = parser.parse_args()
    options.work.mkdir(parents=True, exist_ok=True)
    MEASURE[options.part](options)


def measured(options: argparse.Namespace, name: str, measure: Callable[[], dict[str, Any]]) -> Any:
    """The result of `measure`, or the one that an earlier run wrote under this name."""
    results = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    if name not in results or options.again:
        facts = {**measure(), "cores": os.cpu_count(), "load": round(os.getloadavg()[0], 1)}
        results = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
        results[name] = facts
        with atomic_write(RESULTS) as unfinished:
            unfinished.write_text(json.dumps(results, indent=1) + "\n")
    print(name, results[name], flush=True)
    return results[name]


# --- faces ------------------------------------------------------------------------------------


def faces_of(options: argparse.Namespace) -> Path:
    """A zip of class folders with as many faces as asked for: real ones, shifted and dimmed."""
    path: Path = options.work / f"faces-{options.faces}.zip"
    if not path.exists():
        real = datasets.open(options.data).split("train")
        rng = np.random.default_rng(0)
        pictures = [load_image(source)[:, :, 0] for source in real.images]
        with (
            atomic_write(path) as unfinished,
            zipfile.ZipFile(unfinished, "w", zipfile.ZIP_STORED) as archive,
        ):
            for number in range(options.faces):
                row = number % len(pictures)
                face = pictures[row]
                if number >= len(pictures):
                    face = np.roll(face, rng.integers(-2, 3, 2), (0, 1))
                    face = (face * rng.uniform(0.8, 1.0)).astype(np.uint8)
                label = real.classes[real.label_codes[row]]
                archive.writestr(f"train/{label}/{number:07}.png", png(face))
    return path


def png(face: NDArray[np.uint8]) -> bytes:
    file = io.BytesIO()
    PIL.Image.fromarray(face).save(file, "PNG", compress_level=1)
    return file.getvalue()


# --- the parts --------------------------------------------------------------------------------


def scaling(options: argparse.Namespace) -> None:
    """The plain command, 1 worker and 2, in turn; the shortest of the rounds of each."""
    faces = faces_of(options)
    counts = dict.fromkeys(PREPARE, options.faces) | {"grid": min(options.faces, MOST_IN_GRID)}
    for name, count in counts.items():
        what = f"{name} {count:,} faces" + (f", {CELLS} cells" if name == "grid" else "")
        measured(options, what, partial(scale, options, name, faces, count))


def scale(options: argparse.Namespace, name: str, faces: Path, count: int) -> dict[str, Any]:
    """The plain command and one worker would use all cores; they are held to one."""
    out = options.work / "out"
    shutil.rmtree(out, ignore_errors=True)  # of a run that was killed
    seconds: dict[str, list[float]] = {}
    for _ in range(options.rounds):
        for workers in (1, 2):
            with cluster.connect(f"local:{workers}") as client:
                if workers == 1:
                    client.run(os.sched_setaffinity, 0, {0})  # or it would use both cores
                seconds_of(name, faces, out, client, 64 * workers)  # loads the networks
                seconds.setdefault(f"workers_{workers}", []).append(
                    seconds_of(name, faces, out, client, count)
                )
        seconds.setdefault("plain_1_thread", []).append(plain_seconds(name, faces, out, count))
    best = {key: round(min(values), 2) for key, values in seconds.items()}
    return {
        "seconds": best,
        "speedup_of_2_workers": round(best["workers_1"] / best["workers_2"], 2),
        "overhead_of_1_worker": round(best["workers_1"] / best["plain_1_thread"] - 1, 3),
    }


def plain_seconds(name: str, faces: Path, out: Path, count: int) -> float:
    """The seconds of the same work without a cluster, in a process with one thread."""
    import multiprocessing

    context = multiprocessing.get_context("spawn")
    with context.Pool(1) as pool:
        return float(pool.apply(_plain, (name, faces, out, count)))


def _plain(name: str, faces: Path, out: Path, count: int) -> float:
    from ferembed._threads import limit_threads

    os.sched_setaffinity(0, {0})
    limit_threads(1)
    seconds_of(name, faces, out, None, 64)
    return seconds_of(name, faces, out, None, count)


def seconds_of(name: str, faces: Path, out: Path, client: Any, count: int) -> float:
    """The seconds of the work on `count` faces on the cluster, or here without a client."""
    work = PREPARE[name](faces, out, client, count)
    started = time.perf_counter()
    work()
    seconds = time.perf_counter() - started
    shutil.rmtree(out, ignore_errors=True)
    return seconds


def embedding(faces: Path, out: Path, client: Any, count: int) -> Callable[[], object]:
    embedder = Embedder(BACKBONE, store="none", engine="openvino")
    data = some_of(faces, count)
    if client is None:
        return partial(embedder.embed, data.images)
    return partial(cluster.embed, data, embedder, client, out, size=part_size(count))


def predicting(faces: Path, out: Path, client: Any, count: int) -> Callable[[], object]:
    pipeline = Pipeline.load("fast", store="none", detector="none")
    data = some_of(faces, count)
    if client is None:
        return partial(pipeline.predict_proba, data.images)
    return partial(cluster.predict, data, pipeline, client, out, size=part_size(count))


def grid(faces: Path, out: Path, client: Any, count: int) -> Callable[[], object]:
    """A grid of SVMs on the faces, whose vectors are in a store."""
    data = some_of(faces, count)
    store = faces.with_suffix(".sqlite")
    Embedder(BACKBONE, store=store).embed(data.images)
    spread: dict[str, Any] = {"jobs": 1}
    if client is not None:
        spread = {"score_cells": partial(cluster.score_cells, client=client)}

    def work() -> None:
        outcome = benchmark(Grid.parse(GRID, "svm"), data, out, folds=2, store=store, **spread)
        assert not outcome.failed, outcome.errors

    return work


def some_of(faces: Path, count: int) -> datasets.Dataset:
    """As many faces, of all classes."""
    data = datasets.open(faces)
    return data.select(np.linspace(0, len(data) - 1, count).astype(int))


def part_size(count: int) -> int:
    """Pictures in a partition: so few that no worker is left alone with the last one for long."""
    return max(8, count // 64)


PREPARE = {"embed": embedding, "predict": predicting, "grid": grid}


def scheduling(options: argparse.Namespace) -> None:
    name = (
        f"scheduling of {options.partitions:,} tasks of {options.seconds:g} s "
        f"on {options.workers} workers"
    )

    def measure() -> dict[str, Any]:
        import distributed

        tasks = ((f"sleep-{number}", options.seconds) for number in range(options.partitions))
        with (
            distributed.LocalCluster(
                n_workers=options.workers,
                threads_per_worker=1,
                processes=False,
                memory_limit=0,  # or each would take the memory of all for its own
                dashboard_address="127.0.0.1:0",
            ) as local,
            distributed.Client(local) as client,
        ):
            started = time.perf_counter()
            count = sum(1 for _ in run_tasks(client, sleep, None, tasks))
            seconds = time.perf_counter() - started
        ideal = options.partitions * options.seconds / options.workers
        return {
            "tasks": count,
            "sleep_seconds": options.seconds,
            "seconds": round(seconds, 1),
            "ideal_seconds": round(ideal, 1),
            "tasks_per_second": round(count / seconds, 1),
            "overhead_ms_per_task": round(1000 * (seconds - ideal) / count, 2),
        }

    measured(options, name, measure)


class Slept:
    error = worker = ""


def sleep(shared: object, seconds: float) -> Slept:
    time.sleep(seconds)
    return Slept()


def growth(options: argparse.Namespace) -> None:
    """Fits on real vectors with noise added, from batches that are made as they are read."""
    X, codes, classes = vectors_of(options, "train")
    spread = X.std(axis=0) / 10
    for name in HEADS_IN_BATCHES:
        seconds = {}
        for rows in sorted(options.rows):

            def fit(rows: int = rows, name: str = name) -> dict[str, Any]:
                head = HEADS[name].make()
                started = time.perf_counter()
                head.fit_batches(noisy(X, codes, spread, rows), classes)
                facts = {"seconds": round(time.perf_counter() - started, 1)}
                if hasattr(head, "recall_"):
                    facts["recall"] = round(head.recall_, 4)
                return {**facts, "peak_mb": peak_mb()}

            seconds[rows] = measured(options, f"fit {name} on {rows:,} rows", fit)["seconds"]
        few, many = min(seconds), max(seconds)
        if many > few:
            exponent = np.log(seconds[many] / seconds[few]) / np.log(many / few)
            measured(
                options,
                f"growth of {name} from {few:,} to {many:,} rows",
                lambda exponent=exponent: {"exponent": round(float(exponent), 2)},  # type: ignore[misc]
            )


def heads(options: argparse.Namespace) -> None:
    """The accuracy of heads in batches on PublicTest, beside that of the exact heads."""
    X, codes, classes = vectors_of(options, "train")
    unseen, labels, _ = vectors_of(options, "validation")
    for name, exact in EXACT.items():

        def compare(name: str = name, exact: str = exact) -> dict[str, Any]:
            facts = {}
            for key, one in (("batches", name), ("exact", exact)):
                head = HEADS[one].make()
                started = time.perf_counter()
                head.fit(X, classes[codes])
                facts[f"seconds_{key}"] = round(time.perf_counter() - started, 1)
                right = head.predict(unseen) == classes[labels]
                facts[f"accuracy_{key}"] = round(float(right.mean()), 4)
            return {**facts, "rows": len(X), "faces": len(unseen)}

        measured(options, f"{name} against {exact}", compare)


def vectors_of(options: argparse.Namespace, split: str) -> tuple[Any, Any, Any]:
    """The vectors of real faces, their labels by number, and the classes."""
    embedder = Embedder(BACKBONE, store=options.work / "store.sqlite")
    part = datasets.open(options.data).split(split)
    return embedder.transform(part.images), part.label_codes, np.array(part.classes)


def noisy(
    X: NDArray[np.float32], codes: NDArray[np.int16], spread: NDArray[np.float32], rows: int
) -> Any:
    def batches(size: int, seed: int | None) -> Iterator[tuple[Any, Any]]:
        rng = np.random.default_rng(seed)
        for start in range(0, rows, size):
            count = min(size, rows - start)
            places = np.arange(start, start + count) % len(X)
            if seed is not None:
                places = rng.integers(0, len(X), count)
            noise = np.random.default_rng(start).normal(0, 1, (count, X.shape[1]))
            yield (X[places] + noise * spread).astype(np.float32), codes[places]

    return batches


def whole(options: argparse.Namespace) -> None:
    """Embed, fit, predict and audit, with the memory and the disk that each takes, in INT8."""
    path, size = faces_of(options), f"{options.faces:,} faces, {options.workers} workers"
    vectors = options.work / f"vectors-{options.faces}"
    predictions = options.work / f"predictions-{options.faces}"
    model = options.work / "model"

    def embed(client: Any) -> cluster.Done:
        embedder = Embedder(BACKBONE, store="none", engine=ENGINE_OF_MANY)
        return cluster.embed(path, embedder, client, vectors)

    def predict(client: Any) -> cluster.Done:
        pipeline = Pipeline.load(model, store="none", engine=ENGINE_OF_MANY)
        return cluster.predict(path, pipeline, client, predictions)

    for name, measure in (
        (f"embed {size}", partial(_spread, embed, vectors, options.workers)),
        (f"fit fourier-svm on {options.faces:,} vectors", partial(_fit, vectors, model)),
        (f"predict {size}", partial(_spread, predict, predictions, options.workers)),
        (f"audit {size}", partial(_audit, path, options.workers)),
    ):
        measured(options, f"whole: {name}", measure)


def _on_cluster(run: Callable[[Any], Any], workers: int) -> tuple[Any, dict[str, Any]]:
    """The result of a run, its time, and the memory that it took."""
    with cluster.connect(f"local:{workers}") as client:
        started = time.perf_counter()
        found = run(client)
        seconds = time.perf_counter() - started
        peaks = client.run(peak_mb)
    return found, {
        "seconds": round(seconds, 1),
        "peak_mb_client": peak_mb(),
        "peak_mb_worker": max(peaks.values()),
    }


def _spread(run: Callable[[Any], cluster.Done], out: Path, workers: int) -> dict[str, Any]:
    """The time, memory and disk of a run that writes to the folder."""
    shutil.rmtree(out, ignore_errors=True)
    done, facts = _on_cluster(run, workers)
    return {
        **facts,
        "rows": done.rows,
        "per_second": round(done.rows / facts["seconds"], 1),
        "partitions": done.computed,
        "mb_on_disk": round(sum(file.stat().st_size for file in out.iterdir()) / 1e6, 1),
    }


def _audit(path: Path, workers: int) -> dict[str, Any]:
    """The time and memory of an audit, and its findings."""
    data = datasets.open(path)

    def audit(client: Any) -> datasets.Audit:
        return datasets.audit(data, gather_facts=partial(cluster.gather_facts, client=client))

    found, facts = _on_cluster(audit, workers)
    counts = {kind: found.count(kind) for kind in found.looked_for}
    return {**facts, "pictures": len(data), "findings": counts}


def _fit(folder: Path, model: Path) -> dict[str, Any]:
    """The time and memory of fitting a head on the vectors in a folder."""
    vectors = datasets.open_vectors(folder)
    started = time.perf_counter()
    pipeline = Pipeline.for_vectors(vectors, "fourier-svm", detector="none").fit(vectors)
    seconds = time.perf_counter() - started
    pipeline.save(model)
    return {"seconds": round(seconds, 1), "rows": len(vectors), "peak_mb_client": peak_mb()}


def peak_mb() -> int:
    """The most memory that this process has held."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10


MEASURE = {
    "scaling": scaling,
    "scheduling": scheduling,
    "growth": growth,
    "heads": heads,
    "whole": whole,
}

if __name__ == "__main__":
    main()
