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


def _save_model(folder: Path, first: str) -> None:
    from ferembed import Pipeline
    from ferembed.heads.softmax import Softmax

    blank = Pipeline("cnn-a", weights="random", detector=None)
    dim = blank.embedder.recipe.dim
    head = Softmax.from_layer(np.eye(dim, 2), np.zeros(2), [first, "sad"])
    Pipeline.from_head(head, backbone="cnn-a", weights="random", detector=None).save(
        folder / "model"
    )


def _first_class(folder: Path) -> str:
    """The first class of the saved model."""
    from ferembed import Pipeline

    return str(Pipeline.load(folder / "model").classes_[0])


def model(folder: Path) -> None:
    _save_model(folder, "happy")
    assert _first_class(folder) == "happy"


def _write_table(folder: Path, word: str) -> None:
    from ferembed.storage.files import atomic_write

    with atomic_write(folder / "table.csv") as unfinished:
        unfinished.write_text(f"{word}\n" * 5000, "utf-8")


def replaced(folder: Path) -> None:
    _write_table(folder, "new")
    assert (folder / "table.csv").read_text("utf-8") == "new\n" * 5000


# What an earlier run has left, and a check that after a fault it or the new output is there, whole.
EARLIER: dict[str, Callable[[Path], None]] = {
    "model": lambda folder: _save_model(folder, "angry"),
    "atomic": lambda folder: _write_table(folder, "old"),
}


def _whole_model(folder: Path) -> None:
    assert _first_class(folder) in ("angry", "happy")


def _whole_table(folder: Path) -> None:
    text = (folder / "table.csv").read_text("utf-8")
    assert text in ("old\n" * 5000, "new\n" * 5000)


def _whole_data(folder: Path) -> None:
    from ferembed import datasets, load_image

    for name in ("built", "built.csv"):
        if (folder / name).exists() and not (folder / f"{name}.part").exists():
            data = datasets.open(folder / name)
            assert len(data) == PICTURES
            assert all(load_image(image).shape for image in data.images)


WHOLE: dict[str, Callable[[Path], None]] = {
    "model": _whole_model,
    "atomic": _whole_table,
    "build": _whole_data,
    "build-csv": _whole_data,
}
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
    name, folder = sys.argv[1], Path(sys.argv[2])
    if name.startswith("check "):
        WHOLE[name.removeprefix("check ")](folder)
        return 0
    try:
        JOBS[name](folder)
    except (FerembedError, OSError) as error:
        print(f"refused: {error}", file=sys.stderr)
        return 2
    print("done", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
