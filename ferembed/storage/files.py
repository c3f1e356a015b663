"""Files that are whole or not there, that spare what they are made from, and folders in use."""

from __future__ import annotations

import errno
import os
import shutil
import stat
import sys
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path

from ferembed.errors import DataError, FerembedError

LOCK = ".lock"
_LONGEST = 240  # bytes of a name that every file system takes


def is_special_file(path: Path) -> bool:
    """Whether it is a pipe or a device, which may be waited for without end."""
    try:
        mode = path.stat().st_mode
    except (OSError, ValueError):
        return False
    return not (stat.S_ISREG(mode) or stat.S_ISDIR(mode))


@contextmanager
def atomic_write(path: Path) -> Iterator[Path]:
    """A path beside `path` to write to: it takes the name when all went well, else it goes.

    A link stays one, a file keeps its rights, and a device or a pipe is written to as it is.
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
    """A name for a file like the stem that is none of those taken, to which it is added.

    Names that differ in case alone are one to some systems.
    """
    stem = os.fsdecode(os.fsencode(stem.replace("\0", ""))[:_LONGEST])
    names = (f"{stem}-{n}" if n else stem for n in count())
    name = next(name for name in names if name.casefold() not in taken)
    taken.add(name.casefold())
    return name


def check_outputs(
    inputs: Iterable[str | os.PathLike[str]], *outputs: str | os.PathLike[str] | None
) -> None:
    """A DataError where an output would take the place of an input, or of another output."""
    named = [os.fspath(output) for output in outputs if output is not None]
    places = [os.path.realpath(name) for name in named]
    for name, place in zip(named, places, strict=True):
        if places.count(place) > 1:
            raise DataError(f"Two outputs are called {name}. Give them names of their own.")
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
                f"The output {name} would take the place of {os.fspath(path)}, which is to be "
                "read. Give it another name."
            )


def check_output_outside(
    inputs: Iterable[str | os.PathLike[str]], output: str | os.PathLike[str]
) -> None:
    """A DataError where an output would lie in a folder that is read, and be read the next time."""
    place = os.path.realpath(output)
    for path in inputs:
        folder = os.path.realpath(path)
        if os.path.isdir(folder) and Path(place).is_relative_to(folder):
            raise DataError(
                f"{os.fspath(output)} would lie in {os.fspath(path)}, which is to be read. Give a "
                "place beside it."
            )


def _identity(path: str | os.PathLike[str]) -> tuple[int, int]:
    found = os.stat(path)
    return found.st_dev, found.st_ino


@contextmanager
def exclusive_folder(folder: Path, error: type[FerembedError]) -> Iterator[None]:
    """Inside `with`, no other process that asks for the folder gets it; an error if one has it.

    The folder is made, and its file LOCK tells them so.
    """
    folder.mkdir(parents=True, exist_ok=True)
    if sys.platform == "win32":  # which has no such locks
        yield
        return
    import fcntl

    with (folder / LOCK).open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise error(
                f"{folder} is in use by another process. Wait until it is done, or give another "
                "folder."
            ) from None
        except OSError:  # a file system without locks
            pass
        yield
