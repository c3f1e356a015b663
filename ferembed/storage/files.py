"""Atomic writing of files, checks of output paths, and locks on folders."""

from __future__ import annotations

import errno
import os
import platform
import re
import shutil
import stat
import sys
import threading
import time
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from functools import lru_cache
from itertools import count
from pathlib import Path

from ferembed.errors import DataError, FerembedError

LOCK = ".lock"
# The machine, the process and the thread that a temporary belongs to.
_TEMPORARY = re.compile(r"\.ferembed-([0-9a-f]{8})-(\d+)-\d+-")
_OF_DISKS = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EROFS)
_STALE = 7 * 86400  # seconds after which a temporary of another machine belongs to nobody
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
    unfinished = temporary(path)
    with naming(path, unfinished):
        try:
            yield unfinished
            replace_durably(unfinished, path)
        finally:
            unfinished.unlink(missing_ok=True)


def replace_durably(source: Path, target: Path) -> None:
    """Rename a file, or a folder of files, so that a power loss leaves the old or all of the new.

    Without this a file system may keep the new name before the content. A file keeps the
    permissions of the one that it replaces.
    """
    for path in source.rglob("*"):
        sync(path)
    sync(source)
    if target.is_file():
        shutil.copymode(target, source)
    os.replace(source, target)
    with suppress(OSError):  # what is new is in its place
        sync(target.parent)


def sync(path: Path) -> None:
    """Have the disk store what was written, if the file system can."""
    if sys.platform == "win32" and path.is_dir():
        return
    descriptor = os.open(path, os.O_RDWR if sys.platform == "win32" else os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOSYS, errno.ENOTSUP):
            raise OSError(error.errno, error.strerror, os.fspath(path)) from None
    finally:
        os.close(descriptor)


@contextmanager
def naming(path: Path, temporary: Path) -> Iterator[None]:
    """Inside `with`, an OSError that names a temporary, or nothing at all, names `path` instead."""
    try:
        yield
    except OSError as error:
        if error.filename is None:
            ours = error.errno in _OF_DISKS
        else:
            ours = Path(os.fsdecode(error.filename)).is_relative_to(temporary)
        if ours:
            error.filename, error.filename2 = os.fspath(path), None
        raise


def temporary(path: Path) -> Path:
    """A hidden name beside `path`, of this process and thread, for what is to take its place.

    What processes of this machine that were killed have left there goes.
    """
    _remove_dead(path.parent)
    writer = f"{_machine()}-{os.getpid()}-{threading.get_ident()}"
    return path.with_name(f".ferembed-{writer}-{path.name[-40:]}")


@lru_cache(maxsize=256)  # once for each folder: it may hold a million files
def _remove_dead(folder: Path) -> None:
    with suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            found = _TEMPORARY.match(entry.name)
            if found is None:
                continue
            if found[1] == _machine():
                dead = not _is_alive(int(found[2]))
            else:
                dead = time.time() - entry.stat(follow_symlinks=False).st_mtime > _STALE
            if dead:
                with suppress(OSError):
                    is_folder = entry.is_dir(follow_symlinks=False)
                    shutil.rmtree(entry.path) if is_folder else os.unlink(entry.path)


@lru_cache(maxsize=1)
def _machine() -> str:
    """A name of this machine or container; process numbers are unique within it."""
    facts = [platform.node()]
    hidden = (FileNotFoundError, PermissionError)  # not where too many files are open, for example
    with suppress(*hidden):
        facts.append(os.readlink("/proc/self/ns/pid"))
    with suppress(*hidden):
        facts.append(Path("/proc/sys/kernel/random/boot_id").read_text("ascii"))
    return f"{zlib.crc32(repr(facts).encode()):08x}"


def _is_alive(process: int) -> bool:
    if sys.platform == "win32":  # where asking would end it: such files go when they are stale
        return True
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except (OSError, OverflowError):
        return True
    return True


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
