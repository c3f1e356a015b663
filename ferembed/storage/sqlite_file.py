"""The SQLite file of an embedding store: its schema, connections and locks.

It is in write-ahead mode. Each thread and each process has its own connection. A file on a full or
read-only disk can still be read. SQLite's errors become StoreErrors that say what to do.
"""

from __future__ import annotations

import errno
import os
import shutil
import sqlite3
import threading
import time
import urllib.parse
import weakref
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from ferembed.errors import StoreError

FORMAT = 1
APPLICATION = 0x46455245  # "FERE" in the file's header
_SCHEMA = """
CREATE TABLE recipes (
    id INTEGER PRIMARY KEY,
    fingerprint TEXT NOT NULL UNIQUE,
    facts TEXT NOT NULL,
    dim INTEGER NOT NULL,
    hits INTEGER NOT NULL DEFAULT 0,
    used REAL NOT NULL
);
CREATE TABLE vectors (
    recipe INTEGER NOT NULL REFERENCES recipes(id),
    key BLOB NOT NULL,
    checksum INTEGER NOT NULL,
    vector BLOB NOT NULL
);
CREATE UNIQUE INDEX vectors_by_key ON vectors (recipe, key);
"""
_DAMAGE = (sqlite3.Error, UnicodeDecodeError)  # the second where SQLite's message is not UTF-8
_PAGE = 16384  # bytes; with SQLite's default of 4,096 and vectors of 512 half would be empty
_SHORT = 800  # numbers in a vector; longer ones need less space in pages of the default size
_LOG = 4 << 20  # bytes of the write-ahead log after which it is moved into the file
_FILES = 4  # that SQLite has open at most
_LOCK_TIMEOUT = 60  # seconds to wait for another writer


class SqliteFile:
    """A file of vectors by recipe and key; several processes may use it at once."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._local = threading.local()

    def exists(self) -> bool:
        """True if the file exists and is not empty."""
        try:
            return self.path.stat().st_size > 0
        except OSError:
            return False

    def size(self) -> int:
        """Bytes on disk."""
        files = (Path(f"{self.path}{end}") for end in ("", "-wal", "-shm"))
        return sum(file.stat().st_size for file in files if file.exists())

    def delete(self) -> None:
        """Remove the file; this needs no room on the disk."""
        self._local.__dict__.clear()  # closes this thread's connection
        try:
            for end in ("-wal", "-shm", ""):
                Path(f"{self.path}{end}").unlink(missing_ok=True)
        except OSError as error:
            raise StoreError(
                f"The embedding store {self.path} cannot be removed: {error.strerror}."
            ) from error

    @contextmanager
    def connection(self, dim: int = 0) -> Iterator[sqlite3.Connection]:
        """This thread's connection in this process. SQLite's errors become StoreErrors.

        A new file is laid out for vectors of `dim` numbers.
        """
        try:
            if not self.exists() or getattr(self._local, "owner", None) != self._owner():
                self._local.held = _ConnectionHandle(self._open(dim))
                self._local.owner = self._owner()
            yield self._local.held.db
        except _DAMAGE as error:
            raise StoreError(self._explain(error)) from error

    @contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """A connection to an existing store that need not be writable."""
        try:
            with self.connection() as db:
                db.execute("SELECT count(*) FROM recipes").fetchone()  # fails where reading would
        except StoreError as error:
            if not is_of_disk(error.__cause__):
                raise
        else:
            with self.connection() as db:
                yield db
            return
        try:
            db = self._read_only()
        except _DAMAGE as error:
            raise StoreError(self._explain(error)) from error
        try:
            yield db
        except _DAMAGE as error:
            raise StoreError(self._explain(error)) from error
        finally:
            db.close()

    def _read_only(self) -> sqlite3.Connection:
        """A connection that creates no files beside the store, for a read-only disk."""
        db = self._without_files()
        try:
            db.execute("SELECT count(*) FROM recipes").fetchone()
            return db
        except _DAMAGE:
            db.close()
        # Of a disk that cannot be written to, what is still in the log cannot be read.
        name = urllib.parse.quote(os.fspath(self.path))
        db = sqlite3.connect(f"file:{name}?immutable=1", uri=True, check_same_thread=False)
        try:
            db.execute("SELECT count(*) FROM recipes").fetchone()
        except BaseException as error:
            db.close()
            if "no such table" not in str(error):
                raise
            db = sqlite3.connect(":memory:")  # there was no room to begin the store
            db.executescript(_SCHEMA)
        return db

    def _without_files(self) -> sqlite3.Connection:
        """A connection of one process alone, whose index of the log is in memory."""
        db = sqlite3.connect(self.path, isolation_level=None, check_same_thread=False)
        db.execute("PRAGMA locking_mode = EXCLUSIVE")
        return db

    def _owner(self) -> tuple[int, int]:
        """The owner of a connection: this process, and the file now at the path."""
        return os.getpid(), self.path.stat().st_ino

    def _open(self, dim: int) -> sqlite3.Connection:
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StoreError(
                f"The folder of the embedding store {self.path} cannot be made: {error.strerror}. "
                "Choose another with store=PATH or $FEREMBED_CACHE, or none with store='none'."
            ) from error
        db = sqlite3.connect(
            self.path, timeout=_LOCK_TIMEOUT, isolation_level=None, check_same_thread=False
        )
        try:
            self._prepare(db, dim)
        except BaseException:
            db.close()
            raise
        return db

    def _prepare(self, db: sqlite3.Connection, dim: int) -> None:
        if not db.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]:
            if dim <= _SHORT:
                db.execute(f"PRAGMA page_size = {_PAGE}")
            use_write_ahead(db)
            with writing(db):  # two processes may meet a new file at once
                if not db.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]:
                    for statement in _SCHEMA.split(";"):
                        db.execute(statement)
                    db.execute(f"PRAGMA application_id = {APPLICATION}")
                    db.execute(f"PRAGMA user_version = {FORMAT}")
        application = db.execute("PRAGMA application_id").fetchone()[0]
        format = db.execute("PRAGMA user_version").fetchone()[0]
        if (application, format) != (APPLICATION, FORMAT):
            kind = "an embedding store" if application == APPLICATION else "a database of others"
            raise StoreError(
                f"{self.path} is {kind}, of format {format}; this version of ferembed reads "
                f"embedding stores of format {FORMAT}. Move the file away or choose another with "
                "store=PATH: vectors are computed anew."
            )
        db.execute("PRAGMA synchronous = NORMAL")
        page = db.execute("PRAGMA page_size").fetchone()[0]
        db.execute(f"PRAGMA wal_autocheckpoint = {_LOG // page}")

    def _explain(self, error: Exception) -> str:
        # Where Python cannot decode the message, 3.10 leaves it empty, others raise a UnicodeError.
        text = str(error) if isinstance(error, sqlite3.Error) else ""
        text = text or "its schema is damaged"
        if "full" in text or "disk I/O" in text:
            try:
                free = f"{shutil.disk_usage(self.path.parent).free / 1e6:.0f} MB are free there"
            except OSError:
                free = "the folder cannot be examined"
            return (
                f"The embedding store {self.path} could not be written: {text} ({free}). The "
                "batches written before are kept. Make room (ferembed cache prune), or choose "
                "another place with store=PATH, and run again."
            )
        if "locked" in text:
            return (
                f"The embedding store {self.path} has been locked by another process for "
                f"{_LOCK_TIMEOUT} seconds. Wait for that, or choose another place with store=PATH."
            )
        if "unable to open" in text or "readonly" in text:
            try:
                with ExitStack() as stack:  # SQLite does not say that too many files are open
                    for _ in range(_FILES):
                        stack.callback(os.close, os.open(os.devnull, os.O_RDONLY))
            except OSError as reason:
                if reason.errno in (errno.EMFILE, errno.ENFILE):
                    text = "too many open files"
            return (
                f"The embedding store {self.path} cannot be opened for writing ({text}). "
                "Choose another place with store=PATH or $FEREMBED_CACHE, or store='none'."
            )
        return (
            f"{self.path} is no readable embedding store: {text}. "
            "Move the file away: vectors are computed anew."
        )


@contextmanager
def writing(db: sqlite3.Connection) -> Iterator[None]:
    """A transaction that is rolled back on an error."""
    db.execute("BEGIN IMMEDIATE")
    try:
        yield
    except BaseException:
        if db.in_transaction:
            db.execute("ROLLBACK")
        raise
    db.execute("COMMIT")


class _ConnectionHandle:
    """Closes a connection at the end, except in a fork, which must not close it."""

    def __init__(self, db: sqlite3.Connection) -> None:
        self.db = db
        weakref.finalize(self, _close, db, os.getpid())


_leaked_after_fork: list[sqlite3.Connection] = []


def _close(db: sqlite3.Connection, owner: int) -> None:
    if os.getpid() == owner:
        db.close()
    else:
        _leaked_after_fork.append(db)  # closing it here would take the owner's locks


def use_write_ahead(db: sqlite3.Connection) -> None:
    """Turn on write-ahead mode; SQLite does not wait for a lock in this statement."""
    until = time.monotonic() + _LOCK_TIMEOUT
    while True:
        try:
            db.execute("PRAGMA journal_mode = WAL")
            return
        except sqlite3.OperationalError as error:
            if "locked" not in str(error) or time.monotonic() > until:
                raise
            time.sleep(0.01)


@contextmanager
def without_waiting(db: sqlite3.Connection) -> Iterator[None]:
    """Inside `with`, another process that writes is an error at once."""
    db.execute("PRAGMA busy_timeout = 0")
    try:
        yield
    finally:
        db.execute(f"PRAGMA busy_timeout = {_LOCK_TIMEOUT * 1000}")


def is_of_disk(error: BaseException | None) -> bool:
    """True if SQLite failed because the disk is full or read-only."""
    signs = ("full", "disk I/O", "readonly", "unable to open")
    return isinstance(error, sqlite3.Error) and any(sign in str(error) for sign in signs)
