"""Zips: members listed in little memory, read one by one from many threads, and never trusted.

The standard library's zipfile keeps an object of about 640 bytes for each member and one open file
behind a lock, and lists slower. A data set may have a million members that many threads and
processes read, so this module reads the central directory: a member is a name and five numbers.
"""

from __future__ import annotations

import mmap
import os
import struct
import threading
import zlib
from collections.abc import Iterator
from dataclasses import KW_ONLY, dataclass, field
from pathlib import Path
from typing import Any
from weakref import WeakValueDictionary

from ferembed.errors import DataError

MAX_PICTURE = 256 * 2**20
"""No picture in a zip may unpack to more bytes than this."""

_CHUNK = 2**20
_SPARE = 64  # bytes that a member's header may have beyond its name
_STORED, _DEFLATED = 0, 8
_ENCRYPTED = 0xFFFF  # in place of the method: what it says is of the plain file
_END = struct.Struct("<4s4H2LH")
_END64 = struct.Struct("<4sQ2H2L4Q")
_LOCATOR64 = struct.Struct("<4sLQL")
_ENTRY = struct.Struct("<4s4B4HL2L5H2L")
_LOCAL = struct.Struct("<4s2B4HL2L2H")
_opening = threading.Lock()
_known: WeakValueDictionary[str, Archive] = WeakValueDictionary()


@dataclass(unsafe_hash=True)
class Archive:
    """A zip on disk, kept open from the first read for as long as one of its members is in use.

    To open it would take longer than to read a face. Threads share it, and what travels to another
    process opens it there.
    """

    path: str
    _file: int | None = field(default=None, init=False, repr=False, compare=False)

    def __reduce__(self) -> tuple[Any, ...]:
        return _travelled, (self.path,)

    def read(self, offset: int, length: int) -> bytes:
        """At most so many bytes from there on, of the file that was found at the first call."""
        if self._file is None:
            with _opening:
                if self._file is None:
                    self._file = os.open(self.path, os.O_RDONLY)
        return os.pread(self._file, length, offset)

    def __del__(self) -> None:
        if self._file is not None:
            os.close(self._file)


def _travelled(path: str) -> Archive:
    """One archive for all members unpickled here: else each would hold the zip open."""
    with _opening:
        return _known.setdefault(path, Archive(path))


@dataclass(slots=True, unsafe_hash=True)  # frozen it would take longer to make than to read
class ZipMember:
    """One file in a zip; threads and processes may share it."""

    archive: Archive
    name: str
    _: KW_ONLY
    offset: int
    packed: int
    size: int
    crc: int
    method: int

    def __str__(self) -> str:
        return f"{self.archive.path}/{self.name}"

    @property
    def encrypted(self) -> bool:
        return self.method == _ENCRYPTED

    @property
    def unsafe(self) -> bool:
        """True if its name points outside the folder that it would be unpacked into."""
        name = self.name
        return name.startswith("/") or name[1:2] == ":" or ".." in name.split("/") or "\0" in name

    def read_bytes(self) -> bytes:
        """The member unpacked; an OSError where it is damaged or larger than it says."""
        if self.size > MAX_PICTURE:
            raise OSError(
                f"it unpacks to {self.size / 2**20:,.0f} MiB, the limit is "
                f"{MAX_PICTURE / 2**20:,.0f} MiB"
            )
        small = self.packed <= _CHUNK >= self.size
        whole = self._at_once() if small and hasattr(os, "pread") else None
        return b"".join(self.chunks()) if whole is None else whole

    def _at_once(self) -> bytes | None:
        """The member by one read; None if that is not the whole of it, `chunks` then says why."""
        length = _LOCAL.size + 2 * len(self.name) + _SPARE + self.packed
        try:
            held = self.archive.read(self.offset, length)
            start = _LOCAL.size + sum(_LOCAL.unpack_from(held)[-2:])
            whole = held[start : start + self.packed]
            if self.method != _STORED:
                whole = zlib.decompressobj(-zlib.MAX_WBITS).decompress(whole, self.size + 1)
        except (OverflowError, struct.error, zlib.error):
            return None
        return whole if len(whole) == self.size and zlib.crc32(whole) == self.crc else None

    def chunks(self) -> Iterator[bytes]:
        """The member in pieces of at most a mebibyte; stops at the size that the zip declares."""
        if self.encrypted:
            raise OSError("it is encrypted; unpack it with its password")
        if self.method not in (_STORED, _DEFLATED):
            raise OSError(
                f"it is packed with method {self.method}; only stored and deflated are read. "
                "Pack the zip again"
            )
        inflater = zlib.decompressobj(-zlib.MAX_WBITS)
        left, crc, packed, pending = self.size, 0, self.packed, b""
        with open(self.archive.path, "rb", buffering=0) as file:
            try:
                file.seek(self.offset)
            except OverflowError:
                raise OSError("it is beyond the end of the zip, which is damaged") from None
            header = file.read(_LOCAL.size)
            if len(header) < _LOCAL.size or header[:4] != b"PK\3\4":
                raise OSError("the zip changed after it was listed, or is damaged")
            file.seek(sum(_LOCAL.unpack(header)[-2:]), os.SEEK_CUR)
            while True:
                if not pending:
                    pending = file.read(min(packed, _CHUNK))
                    packed -= len(pending)
                if self.method == _STORED:
                    piece, pending = pending, b""
                    over = not piece
                else:
                    try:
                        piece = inflater.decompress(pending, _CHUNK)
                    except zlib.error as error:
                        raise OSError(f"it is damaged: {error}") from None
                    over = inflater.eof or not (piece or pending)
                    pending = inflater.unconsumed_tail
                left -= len(piece)
                if left < 0:
                    raise OSError(
                        f"it holds more than the {self.size:,} bytes that the zip declares"
                    )
                crc = zlib.crc32(piece, crc)
                if piece:
                    yield piece
                if over:
                    break
        if left:
            raise OSError(f"it ends {left:,} bytes early")
        if crc != self.crc:
            raise OSError("its checksum is wrong, the zip is damaged")


def is_zip(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(4) in (b"PK\3\4", b"PK\5\6")


def members(path: Path) -> Iterator[ZipMember]:
    """Every member of the zip, in its order; the name of a folder ends in a slash."""
    archive = Archive(str(path))
    damaged = DataError(
        f"{path} is not a complete zip file (damaged directory). Download it again."
    )
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        try:
            yield from _listed(archive, data, damaged)
        except struct.error:
            raise damaged from None


def _listed(archive: Archive, data: mmap.mmap, damaged: DataError) -> Iterator[ZipMember]:
    position, count = _directory(data, damaged)
    for _ in range(count):
        if data[position : position + 4] != b"PK\1\2":
            raise damaged
        fields = _ENTRY.unpack_from(data, position)
        flags, method = fields[5], fields[6]
        method = _ENCRYPTED if flags & 1 else method
        crc, packed, size = fields[9:12]
        name_length, extra_length, comment_length = fields[12:15]
        offset = fields[18]
        start = position + _ENTRY.size
        name = data[start : start + name_length]
        if 0xFFFFFFFF in (packed, size, offset):
            extra = data[start + name_length : start + name_length + extra_length]
            size, packed, offset = _wide(extra, size, packed, offset, damaged)
        position = start + name_length + extra_length + comment_length
        yield ZipMember(
            archive,
            _decode(name),
            offset=offset,
            packed=packed,
            size=size,
            crc=crc,
            method=method,
        )


def _directory(data: mmap.mmap, damaged: DataError) -> tuple[int, int]:
    """The start of the central directory, and the number of its members."""
    end = data.rfind(b"PK\5\6", max(0, len(data) - _END.size - 0xFFFF))
    if end < 0 or end + _END.size > len(data):
        raise damaged
    _, _, _, _, count, length, offset, _ = _END.unpack_from(data, end)
    if count == 0xFFFF or 0xFFFFFFFF in (length, offset):
        locator = end - _LOCATOR64.size
        if locator >= 0 and data[locator : locator + 4] == b"PK\6\7":
            end = data.rfind(b"PK\6\6", 0, locator)
            if end < 0:
                raise damaged
            *_, count, length, offset = _END64.unpack_from(data, end)
    if offset + length > end:
        raise damaged
    return offset, count


def _wide(
    extra: bytes, size: int, packed: int, offset: int, damaged: DataError
) -> tuple[int, int, int]:
    """The three numbers with those that did not fit 32 bits taken from the zip64 field."""
    while len(extra) >= 4:
        kind, length = struct.unpack_from("<2H", extra)
        if kind == 1:
            wide = iter(struct.unpack_from(f"<{min(length, len(extra) - 4) // 8}Q", extra, 4))
            try:
                size = next(wide) if size == 0xFFFFFFFF else size
                packed = next(wide) if packed == 0xFFFFFFFF else packed
                offset = next(wide) if offset == 0xFFFFFFFF else offset
            except StopIteration:
                raise damaged from None
            return size, packed, offset
        extra = extra[4 + length :]
    return size, packed, offset


def _decode(name: bytes) -> str:
    # macOS writes UTF-8 without saying so; what is no UTF-8 is the old code page.
    try:
        text = name.decode("utf-8")
    except UnicodeDecodeError:
        text = name.decode("cp437")
    return text.replace("\\", "/")
