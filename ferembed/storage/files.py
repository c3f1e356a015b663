"""Atomic writing of files, checks of output paths, and locks on folders."""

from __future__ import annotations

import errno
import os
import shutil
import stat
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path

from ferembed.errors import DataError, FerembedError

LOCK = ".lock"
_LONGEST = 240  # bytes of a file name that every file system accepts


def is_special_file(path: Path) -> bool:
    """True for a pipe or a device: reading one may never end."""
    try:
        mode = path.stat().st_mode
    except (OSError, ValueError):
        return False
    return not (stat.S_ISREG(mode) or stat.S_ISDIR(mode))


@contextmanager
def atomic_write(path: Path) -> Iterator[Path]:
    """A temporary path beside `path`; it replaces `path` at the end, or is deleted after an error.

    A symbolic link stays a link and a file keeps its permissions. A device or a pipe is written to
    directly.
    """
    if is_special_file(path):
        yield path
        return
    if path.is_symlink():
        path = path.resolve()
    if path.is_dir():
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), os.fspath(path))
    path.parent.mkdir(parents=True, exist_ok=True)
    writer = f"{os.getpid()}-{threading.get_ident()}"
    unfinished = path.with_name(f".{writer}-{path.name[-40:]}")
    try:
        yield unfinished
        if path.is_file():
            shutil.copymode(path, unfinished)
        os.replace(unfinished, path)
    except OSError as error:
        full = error.filename is None and error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
        if full or error.filename in (unfinished, os.fspath(unfinished)):
            error.filename, error.filename2 = os.fspath(path), None
        raise
    finally:
        unfinished.unlink(missing_ok=True)


def unique_name(stem: str, taken: set[str]) -> str:
    """A file name close to `stem` that is not in `taken`; it is added to `taken`.

    Case is ignored, as some file systems do.
    """
    stem = os.fsdecode(os.fsencode(stem.replace("\0", ""))[:_LONGEST])
    names = (f"{stem}-{n}" if n else stem for n in count())
    name = next(name for name in names if name.casefold() not in taken)
    taken.add(name.casefold())
    return name


def check_outputs(
    inputs: Iterable[str | os.PathLike[str]], *outputs: str | os.PathLike[str] | None
) -> None:
    """Raise a DataError if an output would overwrite an input or another output."""
    named = [os.fspath(output) for output in outputs if output is not None]
    places = [os.path.realpath(name) for name in named]
    for name, place in zip(named, places, strict=True):
        if places.count(place) > 1:
            raise DataError(f"Two outputs have the name {name}. Give them different names.")
    there = {}
    for name in named:
        if os.path.isfile(name):
            there[_identity(name)] = name
    for path in inputs if there else ():
        try:
            name = there.get(_identity(path), "")
        except (OSError, ValueError):
            continue
        if name:
            raise DataError(
                f"The output {name} would overwrite the input {os.fspath(path)}. Choose another "
                "name."
            )


def check_output_outside(
    inputs: Iterable[str | os.PathLike[str]], output: str | os.PathLike[str]
) -> None:
    """Raise a DataError if the output is inside an input folder: the next run would read it."""
    place = os.path.realpath(output)
    for path in inputs:
        folder = os.path.realpath(path)
        if os.path.isdir(folder) and Path(place).is_relative_to(folder):
            raise DataError(
                f"The output {os.fspath(output)} is inside the input folder {os.fspath(path)}. "
                "Choose a folder outside it."
            )


def _identity(path: str | os.PathLike[str]) -> tuple[int, int]:
    found = os.stat(path)
    return found.st_dev, found.st_ino


@contextmanager
def exclusive_folder(folder: Path, error: type[FerembedError]) -> Iterator[None]:
    """Hold a lock on a folder inside `with`; raise `error` if another process holds it.

    The folder is created if it is missing. The lock is its file LOCK.
    """
    import filelock

    folder.mkdir(parents=True, exist_ok=True)
    lock = filelock.FileLock(folder / LOCK)
    try:
        lock.acquire(blocking=False)
    except filelock.Timeout:
        raise error(
            f"{folder} is in use by another process. Wait until it has finished, or choose "
            "another folder."
        ) from None
    except (NotImplementedError, OSError):  # a file system without locks
        pass
    try:
        yield
    finally:
        lock.release()
