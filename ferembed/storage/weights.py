"""Weights: a file that ships, or that a user puts in place or fetches -> a verified local path."""

from __future__ import annotations

import hashlib
import importlib.util
import os
import shutil
import zipfile
import zlib
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ferembed._progress import Progress
from ferembed.errors import WeightsError
from ferembed.storage.files import atomic_write


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
            raise WeightsError(self._missing_message())
        expected = self._expected(path)
        if expected is not None and (found := sha256_of(path)) != expected:
            raise WeightsError(
                f"sha256 of {path} is {found[:12]}..., expected {expected[:12]}.... "
                f"The file is damaged or of another version: {self._remedy()}"
            )
        return path

    @property
    def digest(self) -> str:
        """The sha256 of the file."""
        return self.sha256

    def find(self) -> Path | None:
        """Where the file lies, unchecked; None where it does not."""
        paths = (folder / self.file for folder in _folders())
        return next((path for path in paths if path.exists()), None)

    def _expected(self, path: Path) -> str | None:
        """The sha256 that the file at the path must have; None where that is not known."""
        return self.sha256

    def _missing_message(self) -> str:
        return (
            f"The weights {self.file} are not installed: neither in {models_folder()} nor in "
            f"{cache_folder() / 'weights'}. Install ferembed again, or put the file there."
        )

    def _remedy(self) -> str:
        return "install ferembed again."


@dataclass(frozen=True)
class PackagedWeights(Weights):
    """A file that a package of others carries: it is taken from there, and no copy of it ships."""

    command: str = ""  # what brings the package; {folder} stands for the folder of weights
    module: str = ""  # the Python package that has the file in its folder, once installed
    archive: str = ""  # or the .tgz that the command leaves in the folder of weights
    member: str = ""  # what the file is called in there, if not as here

    def path(self) -> Path:
        """Where the file lies, after its content has been checked."""
        if self.find() is None and self.archive:
            self._unpack()
        return super().path()

    def find(self) -> Path | None:
        """Where the file lies, unchecked; None where it does not or is still in the archive."""
        spec = importlib.util.find_spec(self.module) if self.module else None
        for folder in spec.submodule_search_locations or [] if spec else []:
            if (path := Path(folder, self.member or self.file)).exists():
                return path
        return super().find()

    def _unpack(self) -> None:
        import tarfile

        for archive in (folder / self.archive for folder in _folders()):
            if archive.exists():
                try:
                    with tarfile.open(archive) as packed:
                        member = packed.extractfile(self.member)
                        content = member.read() if member else b""
                except (tarfile.TarError, *_DAMAGE) as error:
                    raise WeightsError(
                        f"{archive} holds no readable {self.member}: {error}. It is damaged or of "
                        f"another version: {self._remedy()}"
                    ) from error
                with atomic_write(cache_folder() / "weights" / self.file) as unfinished:
                    unfinished.write_bytes(content)
                return

    def _missing_message(self) -> str:
        return (
            f"The weights {self.file} do not come with ferembed. They are {self.licence}, trained "
            f"on {self.trained_on}. Run: {self._command()}"
        )

    def _remedy(self) -> str:
        return f"delete it and run: {self._command()}"

    def _command(self) -> str:
        return self.command.format(folder=weights_folder())


@dataclass(frozen=True)
class DownloadableWeights(Weights):
    """A file that others publish: it is fetched when the user says so, and never before.

    Where nobody publishes a sha256 with it, `sha256` is empty. Then the first fetch records the one
    it finds in a `.sha256` beside the file, which is held to that from then on.
    """

    url: str = ""
    size: int = 0  # bytes; where sha256 is empty, about
    backbone: str = ""  # whose weights they are

    @property
    def digest(self) -> str:
        """The sha256 of the file."""
        return self.sha256 or sha256_of(self.path())

    def fetch(
        self,
        source: Path | None = None,
        check: Callable[[Path], object] = lambda path: None,
        progress: Progress = lambda done, total: None,
    ) -> Path:
        """Download the file, or copy it from `source`; where it lies, after it has been checked.

        Where nobody publishes a sha256, it is `check` that refuses what cannot be the file.
        """
        path = self.find() or weights_folder() / self.file
        if source is not None:
            self._check(source, str(source), path, check)
            self._record(path, source)
            self._copy(source, path)
        elif path.exists():
            self._check(path, str(path), path, check)
            self._record(path, path)
        else:
            self._download(path, check, progress)
        return self.path()

    def _copy(self, source: Path, path: Path) -> None:
        try:
            with atomic_write(path) as copy:
                shutil.copyfile(source, copy)
        except OSError as error:
            raise WeightsError(f"{source} cannot be copied to {path}: {error.strerror}.") from error

    def _download(self, path: Path, check: Callable[[Path], object], progress: Progress) -> None:
        from ferembed.storage.download import download  # HTTP takes 30 ms to import

        try:
            part = download(self.url, path, self.size if self.sha256 else None, progress)
        except WeightsError as error:
            raise WeightsError(f"{error} {self._by_hand()}") from error
        if part.exists():
            try:
                self._check(part, self.url, path, check)
            except WeightsError as error:
                part.unlink(missing_ok=True)
                raise WeightsError(f"{error} The download was deleted.") from error
            self._record(path, part)
            with suppress(FileNotFoundError):  # another process has just done so
                os.replace(part, path)
        for stale in path.parent.glob(f"{path.name}.*.part"):
            stale.unlink(missing_ok=True)

    def _check(self, found: Path, origin: str, path: Path, check: Callable[[Path], object]) -> None:
        expected = self._expected(path)
        if not found.is_file():
            raise WeightsError(f"There is no file at {found}.")
        if expected is None:
            check(found)
        elif (sha256 := sha256_of(found)) != expected:
            recorded = "" if self.sha256 else f", as recorded in {_recorded_at(path)}"
            raise WeightsError(
                f"sha256 of {origin} is {sha256[:12]}..., expected {expected[:12]}...{recorded}."
            )

    def _record(self, path: Path, found: Path) -> None:
        if not self.sha256:
            # Where a folder cannot be written to, whoever looks after it answers for the file.
            with suppress(OSError), atomic_write(_recorded_at(path)) as unfinished:
                unfinished.write_text(f"{sha256_of(found)}  {path.name}\n")

    def _expected(self, path: Path) -> str | None:
        record = _recorded_at(path)
        if self.sha256 or not record.exists():
            return self.sha256 or None
        return record.read_text(errors="replace").partition(" ")[0]

    def _missing_message(self) -> str:
        return (
            f"The weights {self.file} do not come with ferembed: {self.size / 1e6:.0f} MB, trained "
            f"on {self.trained_on}. Licence: {self.licence}. "
            f"To fetch them: ferembed models fetch {self.backbone}. {self._by_hand()}"
        )

    def _by_hand(self) -> str:
        return (
            f"By hand, on any machine: download {self.url} and put the file into "
            f"{weights_folder()}, or into a folder that $FEREMBED_WEIGHTS names."
        )

    def _remedy(self) -> str:
        return f"delete it and run: ferembed models fetch {self.backbone}"


def _recorded_at(path: Path) -> Path:
    """Where the sha256 that a file had when it was fetched is written, as sha256sum writes it."""
    return path.with_name(f"{path.name}.sha256")


def weights_folder() -> Path:
    """Where weights are put, and looked for first: $FEREMBED_WEIGHTS, or in the cache."""
    return Path(os.environ.get("FEREMBED_WEIGHTS") or cache_folder() / "weights")


def _folders() -> tuple[Path, ...]:
    """Where weights are looked for."""
    return weights_folder(), models_folder() / "backbones", cache_folder() / "weights"


def models_folder() -> Path:
    """The models that ship: inside the package when installed, beside it in a checkout."""
    package = Path(__file__).parent.parent
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
