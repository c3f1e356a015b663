"""Files of arrays, .npz. Sizes in those of others are checked in headers before data is read."""

from __future__ import annotations

import math
import os
import zipfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

MOST_BYTES = 4 << 30  # of all arrays of a file
_MOST_ARRAYS = 20_000
_SMALL = 64 << 20  # bytes that may be packed as tightly as they like
_RATIO = 100  # above that size: trained numbers do not shrink to a hundredth


def read_arrays(
    source: Path | IO[bytes], names: Iterable[str] = (), most: int = MOST_BYTES
) -> dict[str, NDArray[Any]]:
    """The arrays of an .npz by name: all of them, or those that are asked for.

    A ValueError says what is wrong with a file whose headers ask for more than `most` bytes, that
    is packed far more tightly than numbers can be, or that holds objects.
    """
    wanted = set(names)
    try:
        with zipfile.ZipFile(source) as archive:
            members = _checked_members(archive, most)
            found = {}
            for name, member in members.items():
                with archive.open(member) as file:
                    check_header(file, name, member.file_size)
                if not wanted or name in wanted:
                    with archive.open(member) as file:
                        found[name] = np.lib.format.read_array(file, allow_pickle=False)
            return found
    except (OSError, MemoryError, ValueError):
        raise
    except Exception as error:  # zipfile and zlib meet damage in many ways
        raise ValueError(str(error) or type(error).__name__) from error


def write_arrays(path: Path, arrays: Mapping[str, Any], *, packed: bool = True) -> None:
    """Write an .npz as NumPy does, which before 2.0 leaves it open when the disk is full."""
    compression = zipfile.ZIP_DEFLATED if packed else zipfile.ZIP_STORED
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, array in arrays.items():
            with archive.open(f"{name}.npy", "w", force_zip64=True) as file:
                np.lib.format.write_array(file, np.asanyarray(array), allow_pickle=False)


def check_packing(unpacked: int, packed: int, most: int = MOST_BYTES) -> None:
    """A ValueError for a zip that would become too large, or is packed too tightly for numbers."""
    if unpacked > most:
        raise ValueError(f"it would need {unpacked:,} bytes, and {most:,} are allowed")
    if unpacked > max(_SMALL, _RATIO * packed):
        raise ValueError(
            f"{packed:,} bytes would unpack to {unpacked:,}, which no trained numbers do"
        )


def _checked_members(archive: zipfile.ZipFile, most: int) -> dict[str, zipfile.ZipInfo]:
    members = archive.infolist()
    if len(members) > _MOST_ARRAYS:
        raise ValueError(f"it holds {len(members):,} members, and {_MOST_ARRAYS:,} are allowed")
    assert archive.fp is not None
    size = archive.fp.seek(0, os.SEEK_END)
    check_packing(sum(member.file_size for member in members), size, most)
    named = {member.filename.removesuffix(".npy"): member for member in members}
    if len(named) != len(members):
        raise ValueError("two of its members have one name")
    return named


def check_header(file: IO[bytes], name: str, size: int) -> None:
    """A ValueError unless the header of the array matches its size."""
    version = np.lib.format.read_magic(file)
    readers = {
        (1, 0): np.lib.format.read_array_header_1_0,
        (2, 0): np.lib.format.read_array_header_2_0,
    }
    if version not in readers:
        raise ValueError(f"{name} is an array of the unknown format {version}")
    shape, _, dtype = readers[version](file)
    if dtype.hasobject:
        raise ValueError(f"{name} holds objects. Object arrays cannot be loaded")
    if any(length < 0 for length in shape) or len(shape) > 8:
        raise ValueError(f"{name} has the shape {shape}")
    if math.prod(shape) * dtype.itemsize + file.tell() != size:
        raise ValueError(f"{name} is {shape} of {dtype} in its header, which is not what it holds")
