"""Reads mutated files in a process with limits of memory and time; tells what became of each."""

from __future__ import annotations

import csv
import importlib
import os
import resource
import signal
import time
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np

from tests.robustness import corpora

MODULES = (
    "ferembed.backbones.vggface",
    "ferembed.benchmark.grid",
    "ferembed.datasets",
    "ferembed.images",
    "ferembed.media.batch",
    "ferembed.media.video",
    "ferembed.pipeline",
)


class TooSlow(BaseException):
    """A file took longer than it may."""


def _read_picture(path: Path) -> None:
    from ferembed.images import load_image

    image = load_image(path)
    assert image.dtype == np.uint8
    assert image.ndim == 3


def _read_data(path: Path, **votes: Any) -> None:
    from ferembed import datasets

    data = datasets.open(path, on_bad="skip", on_unknown="drop", **votes)
    assert sum(map(sum, (counts.values() for counts in data.counts().values()))) == len(data)
    for image in data.images:
        outcome = _try(lambda image=image: _read_picture(image))
        assert outcome in ("read", "refused"), outcome


def _read_votes(path: Path) -> None:
    _read_data(path.parent / corpora.FER2013, votes="probability", votes_file=path)


def _read_grid(path: Path) -> None:
    from ferembed.benchmark.grid import Grid

    Grid.named(str(path))


def _read_model(path: Path) -> None:
    from ferembed import Pipeline

    faces = np.random.default_rng(0).integers(0, 256, (2, 48, 48), dtype=np.uint8)
    shares = Pipeline.load(path, store="memory").predict_proba(faces)
    assert np.isfinite(shares).all()
    assert abs(shares.sum(axis=1) - 1).max() < 1e-3


def _read_store(path: Path) -> None:
    from ferembed.storage.embeddings import DiskStore, EmbeddingSpec

    store = DiskStore(path)

    def compute(missing: list[int]) -> Any:
        yield missing, np.ones((len(missing), 8), np.float32)

    keys = [f"{n:032d}".encode() for n in range(20)]
    found = store.fetch(EmbeddingSpec("f" * 64, "{}", 8), keys, compute)
    assert found.present.all()
    assert np.isin(found.vectors, (1, 2)).all()  # computed, or as they were stored
    store.verify()
    store.recipes()


def _read_video(path: Path) -> None:
    from ferembed.media.video import open_video

    with open_video(str(path)) as video:
        for frame in video.frames():
            assert frame.image.dtype == np.uint8
            assert frame.image.ndim == 3


def _read_weights(path: Path) -> None:
    from ferembed.backbones import vggface
    from ferembed.storage.weights import read_weights

    arrays = vggface.read(path) if path.suffix == ".h5" else read_weights(path)
    assert all(array.dtype.kind in "fiubU" for array in arrays.values())


def _read_journal(path: Path) -> None:
    from ferembed.media.batch import predict_photos
    from ferembed.media.outputs import Outputs

    photos = sorted(map(str, path.parent.glob("*.png")))
    table = path.with_suffix("")
    batch = predict_photos(
        _pipeline(path.parent / "model"), photos, Outputs(table=str(table), format="csv")
    )
    assert batch.failed == 0
    with table.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert {row["photo"] for row in rows} == set(photos)
    assert not path.exists()


@cache
def _pipeline(path: Path) -> Any:
    from ferembed import Pipeline

    return Pipeline.load(path, store="none")


READERS: dict[str, Callable[[Path], None]] = {
    "csv": _read_data,
    "zip": _read_data,
    "FER+ table": _read_votes,
    "grid": _read_grid,
    "model": _read_model,
    "store": _read_store,
    "video": _read_video,
    "weights h5": _read_weights,
    "weights npz": _read_weights,
    "journal": _read_journal,
}


def _try(read: Callable[[], None]) -> str:
    """ "read", "refused", or what must not be: another exception, or none in time."""
    from ferembed.errors import FerembedError

    try:
        read()
    except FerembedError as error:
        return "refused" if str(error).strip() else "an error without a message"
    except TooSlow:
        return "too slow"
    except Exception as error:
        return f"{type(error).__name__}: {error}"[:300]
    return "read"


def _stop(number: int, frame: Any) -> None:
    raise TooSlow


def serve(kind: str, seconds: int, megabytes: int, paths: Connection) -> None:
    """Read the files whose paths arrive in lists; send each outcome, its seconds and megabytes."""
    silence = os.open(os.devnull, os.O_WRONLY)
    os.dup2(silence, 2)  # decoders complain there
    read = READERS.get(kind, _read_picture)
    for module in MODULES:
        importlib.import_module(module)  # which a file's time does not count
    # Of what the process maps: libraries alone take some gigabytes of that.
    limit, before = _mapped() + (megabytes << 20), _peak()
    if kind not in ("model", "journal"):  # OpenVINO maps as much as there is
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    signal.signal(signal.SIGALRM, _stop)
    signal.signal(signal.SIGPROF, _stop)
    with suppress(EOFError):
        while True:
            for path in paths.recv():
                started = time.process_time()
                signal.setitimer(signal.ITIMER_PROF, seconds)  # of work: others take time, too
                signal.alarm(12 * seconds)
                outcome = _try(lambda path=path: read(path))
                signal.alarm(0)
                signal.setitimer(signal.ITIMER_PROF, 0)
                took = time.process_time() - started
                paths.send((outcome, round(took, 3), _peak() - before))


def _peak() -> int:
    """The most memory that this process has used so far, in megabytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10


def _mapped() -> int:
    return int(Path("/proc/self/statm").read_text("ascii").split()[0]) * resource.getpagesize()
