"""Weights: a file that ships, or that a user puts in place -> a verified local path."""

from __future__ import annotations

import hashlib
import os
import zipfile
import zlib
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ferembed.errors import WeightsError


@dataclass(frozen=True)
class Weights:
    """A file of known content. Two of the same content are the same weights."""

    file: str
    sha256: str
    licence: str
    trained_on: str

    def path(self) -> Path:
        """Where the file lies, after its content has been checked."""
        for folder in (models_folder() / "backbones", cache_folder() / "weights"):
            if (path := folder / self.file).exists():
                break
        else:
            raise WeightsError(
                f"The weights {self.file} are not installed: neither in {models_folder()} nor in "
                f"{cache_folder() / 'weights'}. Install ferembed again, or put the file there."
            )
        found = sha256_of(path)
        if found != self.sha256:
            raise WeightsError(
                f"sha256 of {path} is {found[:12]}..., expected {self.sha256[:12]}.... "
                "The file is damaged or of another version: install ferembed again."
            )
        return path


def models_folder() -> Path:
    """The models that ship: inside the package when installed, beside it in a checkout."""
    package = Path(__file__).parent
    installed = package / "models"
    return installed if installed.exists() else package.parent / "models"


def cache_folder() -> Path:
    """Where ferembed keeps what it can make again: $FEREMBED_CACHE, or the user's cache."""
    if chosen := os.environ.get("FEREMBED_CACHE"):
        return Path(chosen)
    root = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(root) / "ferembed"


def sha256_of(path: Path) -> str:
    stat = path.stat()
    return _sha256(path, stat.st_mtime_ns, stat.st_size)


def read_weights(path: Path, *names: str) -> dict[str, NDArray[Any]]:
    """The arrays of an .npz by name, all or those that are asked for. Nothing in it is run."""
    try:
        with np.load(path, allow_pickle=False) as file:
            return {name: file[name] for name in file.files if not names or name in names}
    except _DAMAGE as error:
        reason = str(error).partition(".")[0]
        raise WeightsError(f"{path} is no readable .npz of weights: {reason}.") from error


_DAMAGE = (
    OSError, ValueError, EOFError, AttributeError, KeyError, TypeError,
    zipfile.BadZipFile, zlib.error,
)  # fmt: skip


@lru_cache(maxsize=64)
def _sha256(path: Path, modified: int, size: int) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()
