"""A cluster of two processes that all tests of this folder share."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest

pytest.importorskip("distributed")


@pytest.fixture(scope="session")
def client() -> Iterator[Any]:
    from ferembed import cluster

    with cluster.connect("local:2") as client:
        yield client


@pytest.fixture(scope="session")
def class_folders(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """60 faces in train/happy and so on, and one file that is no picture."""
    import cv2

    root = tmp_path_factory.mktemp("faces")
    rng = np.random.default_rng(3)
    for number in range(60):
        split, label = ("train", "validation")[number % 2], ("happy", "sad", "angry")[number % 3]
        small = rng.integers(0, 256, (9, 9), dtype=np.uint8)
        face = cv2.resize(small, (48, 48), interpolation=cv2.INTER_CUBIC)
        path = root / split / label / f"{number:03}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        PIL.Image.fromarray(face).save(path)
    (root / "train" / "happy" / "broken.png").write_bytes(b"no picture")
    return root
