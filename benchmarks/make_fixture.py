"""Make the vectors that tests/test_accuracy.py fits every head on, and measure what each reaches.

    python -m benchmarks.make_fixture fer2013.zip

Vectors of real faces, of the training split to learn from and of PublicTest to score on, drawn at
random in the proportions of the classes, none of them a copy of another; half precision.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np

from ferembed import EXPRESSIONS, ProgressBar, datasets
from ferembed.datasets.audit import audit
from ferembed.embedder import Embedder
from ferembed.heads import HEADS

FIXTURE = Path(__file__).parent.parent / "tests" / "fixtures" / "vectors.npz"
MEASURED = FIXTURE.with_name("accuracy.json")
SIZES = {"train": 700, "validation": 400}


def main() -> None:
    data = datasets.open(sys.argv[1])
    _, first = np.unique(audit(data).groups, return_index=True)
    data = data.select(np.sort(first))  # one of each group of copies
    embedder = Embedder("mini-vgg", store="none", progress=ProgressBar())
    arrays: dict[str, Any] = {}
    for split, size in SIZES.items():
        part = data.split(split)
        part = part.select(drawn(part.labels, size))
        arrays[split] = embedder.transform(part.images).astype(np.float16)
        arrays[f"{split}_labels"] = np.array(
            [EXPRESSIONS.index(label) for label in part.labels], np.uint8
        )
    FIXTURE.parent.mkdir(exist_ok=True)
    np.savez_compressed(FIXTURE, recipe=np.array(embedder.recipe.fingerprint), **arrays)
    learned, unseen = (arrays[split].astype(np.float32) for split in SIZES)
    labels, truth = (arrays[f"{split}_labels"] for split in SIZES)
    measured = {
        name: float((HEADS[name].make().fit(learned, labels).predict(unseen) == truth).mean())
        for name in HEADS
    }
    MEASURED.write_text(json.dumps(measured, indent=1) + "\n")
    print(FIXTURE, FIXTURE.stat().st_size, "bytes", measured)


def drawn(labels: np.ndarray, size: int) -> np.ndarray:
    """Positions of a sample of that size with the classes in proportion."""
    rng = np.random.default_rng(0)
    names, counts = np.unique(labels, return_counts=True)
    wanted = np.floor(size * counts / counts.sum()).astype(int)
    wanted[np.argsort(wanted)[: size - wanted.sum()]] += 1  # the rest goes to the rarest
    rows = [
        rng.choice(np.flatnonzero(labels == name), n, replace=False)
        for name, n in zip(names, wanted, strict=True)
    ]
    return np.sort(np.concatenate(rows))


if __name__ == "__main__":
    main()
