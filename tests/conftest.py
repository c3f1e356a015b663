"""What all tests share: a cache of their own, faces made here, and the real data where it is."""

from __future__ import annotations

import atexit
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest

ROOT = Path(__file__).parent.parent
# Set before any test imports ferembed, so that no test touches the user's own cache.
CACHE = Path(tempfile.mkdtemp(prefix="ferembed-tests-"))
os.environ["FEREMBED_CACHE"] = str(CACHE)
os.environ.pop("FEREMBED_WEIGHTS", None)
atexit.register(shutil.rmtree, CACHE, ignore_errors=True)


pytest_plugins = ["tests.helpers.skips"]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if "FEREMBED_DATA" not in os.environ:
        skip = pytest.mark.skip(reason="set FEREMBED_DATA to the folder of fer2013.zip")
        for item in items:
            if item.get_closest_marker("data"):
                item.add_marker(skip)


@pytest.fixture(scope="session")
def faces() -> np.ndarray:
    """24 blurred random faces, (24, 48, 48) uint8: smooth, as photographs are."""
    import cv2

    rng = np.random.default_rng(7)
    noise = rng.integers(0, 256, (24, 12, 12), dtype=np.uint8)
    return np.stack([cv2.resize(face, (48, 48), interpolation=cv2.INTER_CUBIC) for face in noise])


@pytest.fixture(scope="session")
def labels() -> np.ndarray:
    return np.array(["happy", "sad", "angry"] * 8)


@pytest.fixture(scope="session")
def portrait() -> Path:
    """The photo that matplotlib carries."""
    from ferembed.media.demo import photo

    return photo()


@pytest.fixture(scope="session")
def faces_on_disk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """60 faces in train/happy and so on, and one file that is no picture."""
    import cv2
    import PIL.Image

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


@pytest.fixture(scope="session")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A video of one second, in which someone walks."""
    from tests.helpers import clips

    return clips.write(tmp_path_factory.mktemp("clip") / "clip.mp4", clips.walk())


@pytest.fixture(scope="session")
def client() -> Iterator[Any]:
    """A cluster of two processes."""
    pytest.importorskip("distributed")
    from ferembed import cluster

    with cluster.connect("local:2") as client:
        yield client


def run_python(code: str, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a program in a process of its own."""
    return subprocess.run(
        [sys.executable, "-W", "error::ResourceWarning", "-c", code, *arguments],
        capture_output=True,
        text=True,
        timeout=300,
        env={**os.environ, **environment},
    )


def too_deep(folder: Path) -> None:
    """Folders within folders, until their path is longer than the system takes."""
    name, place = "d" * 200, os.open(folder, os.O_RDONLY)
    for _ in range(22):
        os.mkdir(name, dir_fd=place)
        inner = os.open(name, os.O_RDONLY, dir_fd=place)
        os.close(place)
        place = inner
    os.close(place)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 8 MB of its own; only root may make one."""
    place = tmp_path / "disk"
    place.mkdir()
    made = (
        subprocess.run(
            ["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", str(place)], capture_output=True
        )
        if shutil.which("mount")
        else None
    )
    if made is None or made.returncode:
        pytest.skip("mounting a file system needs root")
    yield place
    subprocess.run(["umount", "-l", str(place)], check=True)


def fill_disk(place: Path) -> Path:
    """Leave no room on a file system; the file that takes it all."""
    filler = place / "filler"
    with filler.open("wb", buffering=0) as file, suppress(OSError):
        while True:
            file.write(bytes(4096))
    return filler
