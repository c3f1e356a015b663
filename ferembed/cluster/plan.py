"""Partitions: pictures listed lazily and cut so that a new picture changes few partitions."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from ferembed.datasets.dataset import Dataset
from ferembed.datasets.sources import PixelRow
from ferembed.datasets.vectors import file_system, is_local
from ferembed.datasets.zip_members import ZipMember
from ferembed.errors import DataError, ImageError, LabelError
from ferembed.images import EXTENSIONS, LazyPicture, Source, open_source, source_name

Data: TypeAlias = "Dataset | str | os.PathLike[str] | Iterable[Source] | NDArray[np.uint8]"


@dataclass(frozen=True)
class RemoteFile:
    """A file of any file system that fsspec knows, read where it is needed."""

    url: str

    def __str__(self) -> str:
        return self.url

    def read_bytes(self) -> bytes:
        fs, path = file_system(self.url)
        return bytes(fs.cat_file(path))


@dataclass(frozen=True, slots=True)
class Item:
    """One picture: its name, what changes when its content does, its label and its split."""

    source: Source
    name: str
    content: str
    label: str | None = None
    split: str | None = None


@dataclass(frozen=True)
class Partition:
    """Some pictures that one task reads; `key` is made of their names, contents and labels."""

    items: tuple[Item, ...]
    key: str

    def __len__(self) -> int:
        return len(self.items)


def partitions(items: Iterable[Item], size: int) -> Iterator[Partition]:
    """Cut a listing into partitions of about `size` pictures.

    The hash of a name decides where to cut, so a picture more or less moves only the next cuts, if
    any. A partition has at least half and at most twice as many pictures as given.
    """
    if size < 1:
        raise DataError(f"The size of a partition is {size}; give 1 or more.")
    low, high = max(1, size // 2), 2 * size
    some: list[Item] = []
    for item in items:
        some.append(item)
        name = hashlib.blake2b(item.name.encode("utf-8", "surrogateescape"), digest_size=8)
        cut = int.from_bytes(name.digest(), "big") % low == 0
        if len(some) >= high or (cut and len(some) >= low):
            yield _partition(some)
            some = []
    if some:
        yield _partition(some)


def _partition(items: list[Item]) -> Partition:
    digest = hashlib.sha256()
    for item in items:
        facts = (item.name, item.content, item.label, item.split)
        digest.update(repr(facts).encode("utf-8", "backslashreplace"))
    return Partition(tuple(items), digest.hexdigest()[:32])


def list_items(data: Data) -> Iterator[Item]:
    """The pictures of a Dataset, of sources, or of paths and URLs, in a stable order."""
    if isinstance(data, Dataset):
        for number, (source, label, split) in enumerate(data):
            yield _item(source, number, label, split)
        return
    if isinstance(data, (str, os.PathLike)):
        data = [data]
    for number, source in enumerate(data):
        if isinstance(source, (str, os.PathLike)):
            yield from _of_path(os.fspath(source))
        else:
            yield _item(source, number)


def count_items(data: Data) -> int | None:
    """The number of pictures, if it is known before they are listed."""
    if isinstance(data, (str, os.PathLike)):
        return None
    if isinstance(data, (Dataset, np.ndarray)):
        return len(data)
    paths = not isinstance(data, (list, tuple)) or any(
        isinstance(one, (str, os.PathLike)) for one in data
    )
    return None if paths else len(data)  # type: ignore[arg-type]


def _item(source: Source, number: int, label: str | None = None, split: str | None = None) -> Item:
    named = isinstance(source, (str, Path, LazyPicture)) or hasattr(source, "read_bytes")
    name = source_name(source) if named else f"picture {number}"
    return Item(source, name, _content(source), label, split)


def _content(source: Source) -> str:
    """A value that changes with the picture; of a file its size and time, without reading it."""
    if isinstance(source, (str, Path)):
        try:
            found = os.stat(source)
        except (OSError, ValueError):
            return "missing"
        return f"{found.st_size}-{found.st_mtime_ns}"
    if isinstance(source, ZipMember):
        return f"{source.size}-{source.crc}"
    if isinstance(source, PixelRow):
        return f"{_content(source.path)}-{source.offset}-{source.length}"
    try:
        return open_source(source).digest().hex()
    except ImageError:
        return "unreadable"


def _of_path(path: str) -> Iterator[Item]:
    """The pictures of a folder, a zip, a CSV or a file; of a data set with labels and splits."""
    fs, root = file_system(path)
    if not fs.exists(root):
        raise DataError(f"Nothing is found at {path}.")
    if fs.isdir(root):
        found = _as_data_set(root) if is_local(fs) else None
        yield from _of_folder(fs, root) if found is None else list_items(found)
    elif not is_local(fs):
        if root.lower().endswith(".zip"):
            yield from _of_path(f"zip://::{path}")
        elif root.lower().endswith(".csv"):
            raise DataError(f"A CSV is read from a disk: copy {path} to one that workers share.")
        else:
            yield _remote(fs, root, fs.info(root))
    elif root.lower().endswith((".zip", ".csv")):
        yield from _of_data_set(root)
    else:
        yield _item(path, 0)


def _as_data_set(folder: str) -> Dataset | None:
    """The data set of a folder whose folders are called like expressions; None if they are not."""
    from ferembed import datasets

    try:
        return datasets.open(folder)
    except (DataError, LabelError):
        return None


def _of_data_set(path: str) -> Iterator[Item]:
    from ferembed import datasets

    try:
        yield from list_items(datasets.open(path, on_unknown="keep"))
    except DataError:
        packed = datasets.pictures(path)  # whose labels are not used
        if not packed:
            raise
        for number, source in enumerate(packed):
            yield _item(source, number)


def _of_folder(fs: Any, root: str) -> Iterator[Item]:
    """The pictures below a folder: folder by folder, each sorted, so that few names are held."""
    local = is_local(fs)
    for folder, subfolders, files in fs.walk(root, detail=True):
        ordered = sorted(subfolders.items())
        subfolders.clear()
        subfolders.update(ordered)
        for name, info in sorted(files.items()):
            if Path(name).suffix.lower() not in EXTENSIONS:
                continue
            place = f"{folder.rstrip('/')}/{name}"
            yield _item(place, 0) if local else _remote(fs, place, info)


def _remote(fs: Any, path: str, info: dict[str, Any]) -> Item:
    url = fs.unstrip_protocol(path)
    marks = ("size", "ETag", "etag", "mtime", "LastModified", "last_modified", "created", "CRC")
    content = "-".join(str(info[mark]) for mark in marks if mark in info)
    return Item(RemoteFile(url), url, content)
