"""Small jobs that write, each in a process of its own that may be killed or meet a fault.

    python -m tests.robustness.jobs JOB FOLDER

A job takes up what an earlier one has left in the folder, and prints "done" when its output is
whole. What it refuses or cannot write it says in one line of standard error, with exit code 2.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

VECTORS = 300
PICTURES = 24


def _keys() -> list[bytes]:
    return [f"{n:032d}".encode() for n in range(VECTORS)]


def _expected() -> np.ndarray:
    return np.arange(VECTORS * 8, dtype=np.float32).reshape(VECTORS, 8)


def store(folder: Path) -> None:
    from ferembed.storage.embeddings import DiskStore, EmbeddingSpec

    def compute(missing: list[int]) -> Iterator[tuple[list[int], Any]]:
        for start in range(0, len(missing), 20):
            some = missing[start : start + 20]
            yield some, _expected()[some]

    spec = EmbeddingSpec("f" * 64, "{}", 8)
    found = DiskStore(folder / "store.sqlite").fetch(spec, _keys(), compute)
    assert np.array_equal(found.vectors, _expected())


def prune(folder: Path) -> None:
    from ferembed.storage.embeddings import DiskStore

    store(folder)
    DiskStore(folder / "store.sqlite").prune(fingerprint="f")
    assert DiskStore(folder / "store.sqlite").recipes() == []


def build(folder: Path, out: str = "built") -> None:
    from ferembed import datasets

    rng = np.random.default_rng(3)
    images = [rng.integers(0, 256, (24, 24), np.uint8) for _ in range(PICTURES)]
    labels = ["happy", "sad"] * (PICTURES // 2)
    data = datasets.Dataset.of(images, labels)
    if not (folder / out).exists() or (folder / f"{out}.part").exists():
        datasets.write(data, folder / out)
    again = datasets.open(folder / out)
    assert len(again) == PICTURES


def build_csv(folder: Path) -> None:
    build(folder, "built.csv")


def model(folder: Path) -> None:
    from ferembed.heads.softmax import Softmax
    from ferembed.persistence import bundle

    head = Softmax()
    head.classes_, head.n_features_in_ = np.array(["happy", "sad"]), 4
    head.coef_, head.intercept_ = np.eye(2, 4), np.zeros(2)
    pipeline = {
        "backbone": "cnn-a", "detector": {}, "layer": None, "weights": None, "preprocess": None,
        "normalize": False, "symmetric": False,
    }  # fmt: skip
    facts = {"dim": 4, "backbone": "cnn-a"}
    bundle.write(folder / "model", pipeline, "0", facts, head)
    assert bundle.find(folder / "model").exists()


def replaced(folder: Path) -> None:
    from ferembed.storage.files import atomic_write

    with atomic_write(folder / "table.csv") as unfinished:
        unfinished.write_text("whole\n" * 5000, "utf-8")
    assert (folder / "table.csv").read_text("utf-8") == "whole\n" * 5000


JOBS: dict[str, Callable[[Path], None]] = {
    "store": store,
    "prune": prune,
    "build": build,
    "build-csv": build_csv,
    "model": model,
    "atomic": replaced,
}


def main() -> int:
    from ferembed.errors import FerembedError

    print("started", flush=True)
    try:
        JOBS[sys.argv[1]](Path(sys.argv[2]))
    except (FerembedError, OSError) as error:
        print(f"refused: {error}", file=sys.stderr)
        return 2
    print("done", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
