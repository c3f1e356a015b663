"""EmbeddingStore: vectors on disk, by the content that was embedded and the recipe.

One SQLite file in write-ahead mode. A vector's key is the digest of the source's content, its row
belongs to a recipe (the fingerprint of everything that changes a vector), and a checksum guards
both. Every batch is its own transaction: a process killed at any moment loses the batch in flight.
Reading needs neither room on the disk nor the right to write.
"""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import threading
import time
import urllib.parse
import warnings
import weakref
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from ferembed.errors import StoreError, StoreWarning
from ferembed.storage.files import atomic_write
from ferembed.storage.folders import cache_folder

Vectors: TypeAlias = NDArray[np.float32]
Compute: TypeAlias = Callable[[list[int]], Iterable[tuple[list[int], Vectors]]]

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
_PAGE = 16384  # bytes; with SQLite's default of 4,096 and vectors of 512 half would be empty
_SHORT = 800  # numbers in a vector; longer ones need less space in pages of the default size
_LOG = 4 << 20  # bytes of the write-ahead log after which it is moved into the file
_LOOKUP = 512  # keys in one SELECT
_REBUILT = 2 << 30  # bytes of a store that is pruned in memory where the disk is full
_LOCK_TIMEOUT = 60  # seconds to wait for another writer


@dataclass(frozen=True)
class EmbeddingSpec:
    """A recipe of vectors: its fingerprint, its facts as JSON, and the number of values."""

    fingerprint: str
    facts: str
    dim: int


@dataclass(frozen=True)
class Fetched:
    """A row for each key. `present` is false for rows that could not be computed."""

    vectors: Vectors
    present: NDArray[np.bool_]
    hits: int
    computed: int
    damaged: int  # rows whose checksum did not match, computed again
    duplicates: int = 0  # rows of contents that came more than once and were computed
    unstored: int = 0  # vectors that could not be written to the store


@dataclass(frozen=True)
class RecipeUse:
    """The content of the store for one recipe."""

    fingerprint: str
    facts: str
    dim: int
    vectors: int
    bytes: int
    hits: int
    used: float  # seconds since the epoch


def use_table(recipes: Sequence[RecipeUse]) -> str:
    """The recipes as a table for the terminal."""
    if not recipes:
        return "No vectors are kept."
    lines = [f"{'recipe':12} {'vectors':>9} {'MB':>8} {'hits':>9}  made by"]
    for use in recipes:
        facts = json.loads(use.facts)
        made = f"{facts.get('backbone', '?')} at {facts.get('layer', '?')}"
        size = f"{use.bytes / 1e6:8.1f}"
        lines.append(f"{use.fingerprint[:12]} {use.vectors:9} {size} {use.hits:9}  {made}")
    return "\n".join(lines)


class EmbeddingStore:
    """Vectors by recipe and content.

    `EmbeddingStore.open("disk")` is the user's cache, "memory" lasts as long as the process, "none"
    keeps nothing, and anything else is the path of a file. Processes may share a file.
    """

    def __init__(self, path: Path | None) -> None:
        self.path = path
        self._local = threading.local()

    @classmethod
    def open(cls, place: str | os.PathLike[str]) -> EmbeddingStore:
        """The store for "disk", "memory", "none" or a path; one object per file."""
        if place == "none":
            return _NoStore(None)
        if place == "memory":
            return _MEMORY
        path = cache_folder() / "embeddings.sqlite" if place == "disk" else Path(place)
        return _disk_store(path.absolute())

    def __getstate__(self) -> dict[str, Any]:
        return {"path": self.path}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(state["path"])  # type: ignore[misc]

    def fetch(
        self,
        recipe: EmbeddingSpec,
        keys: Sequence[bytes],
        compute: Compute,
        *,
        must_store: bool = True,
    ) -> Fetched:
        """A vector for each key, from the store or from `compute`. New vectors are stored.

        `compute` is given the positions of the keys that are missing, each content once, and yields
        batches of (positions, vectors). A position that it leaves out stays absent. Where the store
        cannot be written to, that is a StoreError, or without `must_store` a warning.
        """
        vectors = np.zeros((len(keys), recipe.dim), np.float32)
        present = np.zeros(len(keys), bool)
        places: dict[bytes, list[int]] = {}
        for i, key in enumerate(keys):
            places.setdefault(key, []).append(i)

        found, damaged = self._lookup(recipe, list(places))
        if found:
            rows = [i for key in found for i in places[key]]
            values = np.frombuffer(b"".join(found.values()), "<f4").reshape(-1, recipe.dim)
            if len(rows) > len(found):
                values = values.repeat([len(places[key]) for key in found], axis=0)
            vectors[rows] = values
            present[rows] = True
        hits = int(present.sum())
        missing = [positions[0] for key, positions in places.items() if key not in found]
        computed = unstored = 0
        if missing:
            for positions, batch in compute(missing):
                if unstored:
                    unstored += len(positions)
                else:
                    try:
                        self._insert(recipe, [keys[i] for i in positions], batch)
                    except StoreError as error:
                        if must_store:
                            raise
                        warnings.warn(f"{error} Going on without it.", StoreWarning, stacklevel=2)
                        unstored = len(positions)
                for i, vector in zip(positions, batch, strict=True):
                    vectors[places[keys[i]]] = vector
                    present[places[keys[i]]] = True
                computed += len(positions)
        if hits:
            with suppress(StoreError):  # a count is worth no failure
                self._count_hits(recipe, hits)
        duplicates = int(present.sum()) - hits - computed
        return Fetched(vectors, present, hits, computed, damaged, duplicates, unstored)

    def recipes(self) -> list[RecipeUse]:
        """The recipes in the store, the last used first."""
        if not self._exists():
            return []
        with self._reading() as db:
            rows = db.execute(
                "SELECT fingerprint, facts, dim, count(vector), coalesce(sum(length(vector)), 0),"
                " hits, used FROM recipes LEFT JOIN vectors ON recipe = id"
                " GROUP BY id ORDER BY used DESC"
            )
            return [RecipeUse(*row) for row in rows]

    def size(self) -> int:
        """Bytes on disk."""
        if self.path is None:
            return 0
        files = (Path(f"{self.path}{end}") for end in ("", "-wal", "-shm"))
        return sum(file.stat().st_size for file in files if file.exists())

    def verify(self) -> tuple[int, int]:
        """The numbers of sound vectors, and of damaged ones, which are removed."""
        if not self._exists():
            return 0, 0
        with self._reading() as db:
            rows = db.execute(
                "SELECT v.rowid, key, checksum, vector, dim FROM vectors v"
                " JOIN recipes ON id = recipe"
            )
            total, damaged = 0, []
            for rowid, key, checksum, vector, dim in rows:
                total += 1
                if _checksum(key, vector) != checksum or len(vector) != 4 * dim:
                    damaged.append((rowid,))
        if damaged:
            with self._connection() as db, self._writing(db):
                db.executemany("DELETE FROM vectors WHERE rowid = ?", damaged)
        return total - len(damaged), len(damaged)

    def prune(self, fingerprint: str | None = None, unused_since: float | None = None) -> int:
        """Remove the vectors of a recipe, or of recipes unused since a time, or all."""
        if not self._exists():
            return 0
        try:
            with self._connection() as db:
                removed = self._remove(db, fingerprint, unused_since)
                if removed:
                    db.execute("VACUUM")
                    db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            return removed
        except StoreError as error:
            if not _is_of_disk(error.__cause__):
                raise
        if fingerprint is None and unused_since is None:
            return self._delete_file()
        return self._rebuild(fingerprint, unused_since)

    def _remove(
        self, db: sqlite3.Connection, fingerprint: str | None, unused_since: float | None
    ) -> int:
        removed = 0
        with self._writing(db):
            chosen = [
                id
                for id, name, used in db.execute("SELECT id, fingerprint, used FROM recipes")
                if (fingerprint is None or name.startswith(fingerprint))
                and (unused_since is None or used < unused_since)
            ]
            for id in chosen:
                removed += db.execute("DELETE FROM vectors WHERE recipe = ?", (id,)).rowcount
                db.execute("DELETE FROM recipes WHERE id = ?", (id,))
        return removed

    def _rebuild(self, fingerprint: str | None, unused_since: float | None) -> int:
        """Prune a copy in memory and write it over the store, for a full disk."""
        assert self.path is not None
        if self.size() > _REBUILT:
            raise StoreError(
                f"There is no room to prune the embedding store {self.path}. Remove all "
                "of it with: ferembed cache clear"
            )
        copy = sqlite3.connect(":memory:", isolation_level=None)
        try:
            with self._reading() as db:
                db.backup(copy)
            removed = self._remove(copy, fingerprint, unused_since)
            if removed:
                copy.execute("VACUUM")
                self._delete_file()
                with atomic_write(self.path) as unfinished:
                    new = sqlite3.connect(unfinished)
                    copy.backup(new)
                    _use_write_ahead(new)
                    new.close()
            return removed
        finally:
            copy.close()

    def _delete_file(self) -> int:
        """Remove the whole store, which needs no room; how many vectors it held."""
        assert self.path is not None
        with self._reading() as db:
            (count,) = db.execute("SELECT count(*) FROM vectors").fetchone()
        self._local.__dict__.clear()  # closes this thread's connection
        try:
            for end in ("-wal", "-shm", ""):
                Path(f"{self.path}{end}").unlink(missing_ok=True)
        except OSError as error:
            raise StoreError(
                f"The embedding store {self.path} cannot be removed: {error.strerror}."
            ) from error
        return int(count)

    def _exists(self) -> bool:
        """True if the file exists and is not empty."""
        try:
            return self.path is not None and self.path.stat().st_size > 0
        except OSError:
            return False

    def _lookup(self, recipe: EmbeddingSpec, keys: list[bytes]) -> tuple[dict[bytes, bytes], int]:
        """The sound vectors by key, as stored, and the number of damaged rows."""
        found: dict[bytes, bytes] = {}
        if not self._exists():
            return found, 0
        damaged = 0
        with self._reading() as db:
            for start in range(0, len(keys), _LOOKUP):
                some = keys[start : start + _LOOKUP]
                marks = ",".join("?" * len(some))
                rows = db.execute(
                    "SELECT key, checksum, vector FROM vectors"  # noqa: S608  (marks are "?")
                    f" WHERE key IN ({marks}) AND recipe ="
                    " (SELECT id FROM recipes WHERE fingerprint = ?)",
                    (*some, recipe.fingerprint),
                )
                for key, checksum, vector in rows:
                    if _checksum(key, vector) == checksum and len(vector) == 4 * recipe.dim:
                        found[key] = vector
                    else:
                        damaged += 1
        return found, damaged

    def _insert(self, recipe: EmbeddingSpec, keys: list[bytes], vectors: Vectors) -> None:
        blobs = [np.asarray(vector, "<f4").tobytes() for vector in vectors]
        with self._connection(recipe.dim) as db, self._writing(db):
            db.execute(
                "INSERT INTO recipes (fingerprint, facts, dim, used) VALUES (?, ?, ?, ?)"
                " ON CONFLICT (fingerprint) DO UPDATE SET used = excluded.used",
                (recipe.fingerprint, recipe.facts, recipe.dim, time.time()),
            )
            (id,) = db.execute(
                "SELECT id FROM recipes WHERE fingerprint = ?", (recipe.fingerprint,)
            ).fetchone()
            db.executemany(
                "INSERT OR REPLACE INTO vectors (recipe, key, checksum, vector)"
                " VALUES (?, ?, ?, ?)",
                [
                    (id, key, _checksum(key, blob), blob)
                    for key, blob in zip(keys, blobs, strict=True)
                ],
            )

    def _count_hits(self, recipe: EmbeddingSpec, hits: int) -> None:
        with self._connection() as db, _without_waiting(db), self._writing(db):
            db.execute(
                "UPDATE recipes SET hits = hits + ?, used = ? WHERE fingerprint = ?",
                (hits, time.time(), recipe.fingerprint),
            )

    @contextmanager
    def _connection(self, dim: int = 0) -> Iterator[sqlite3.Connection]:
        """This thread's connection in this process. SQLite's errors become StoreErrors.

        A new file is laid out for vectors of `dim` numbers.
        """
        try:
            if not self._exists() or getattr(self._local, "owner", None) != self._owner():
                self._local.held = _ConnectionHandle(self._open(dim))
                self._local.owner = self._owner()
            yield self._local.held.db
        except sqlite3.Error as error:
            raise StoreError(self._explain(error)) from error

    @contextmanager
    def _reading(self) -> Iterator[sqlite3.Connection]:
        """A connection to an existing store that need not be writable."""
        assert self.path is not None
        try:
            with self._connection() as db:
                db.execute("SELECT count(*) FROM recipes").fetchone()  # fails where reading would
        except StoreError as error:
            if not _is_of_disk(error.__cause__):
                raise
        else:
            with self._connection() as db:
                yield db
            return
        try:
            db = self._read_only()
        except sqlite3.Error as error:
            raise StoreError(self._explain(error)) from error
        try:
            yield db
        except sqlite3.Error as error:
            raise StoreError(self._explain(error)) from error
        finally:
            db.close()

    def _read_only(self) -> sqlite3.Connection:
        """A connection that creates no files beside the store, for a read-only disk."""
        assert self.path is not None
        db = self._without_files()
        try:
            db.execute("SELECT count(*) FROM recipes").fetchone()
            return db
        except sqlite3.Error:
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
        assert self.path is not None
        db = sqlite3.connect(self.path, isolation_level=None, check_same_thread=False)
        db.execute("PRAGMA locking_mode = EXCLUSIVE")
        return db

    def _owner(self) -> tuple[int, int]:
        """The owner of a connection: this process, and the file now at the path."""
        assert self.path is not None
        return os.getpid(), self.path.stat().st_ino

    def _open(self, dim: int) -> sqlite3.Connection:
        assert self.path is not None
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
            _use_write_ahead(db)
            with self._writing(db):  # two processes may meet a new file at once
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

    @contextmanager
    def _writing(self, db: sqlite3.Connection) -> Iterator[None]:
        db.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            if db.in_transaction:
                db.execute("ROLLBACK")
            raise
        db.execute("COMMIT")

    def _explain(self, error: sqlite3.Error) -> str:
        assert self.path is not None
        text = str(error)
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
            return (
                f"The embedding store {self.path} cannot be opened for writing ({text}). "
                "Choose another place with store=PATH or $FEREMBED_CACHE, or store='none'."
            )
        return (
            f"{self.path} is no readable embedding store: {text}. "
            "Move the file away: vectors are computed anew."
        )


class _NoStore(EmbeddingStore):
    """Stores nothing; duplicates within one call are still computed once."""

    def _lookup(self, recipe: EmbeddingSpec, keys: list[bytes]) -> tuple[dict[bytes, bytes], int]:
        return {}, 0

    def _insert(self, recipe: EmbeddingSpec, keys: list[bytes], vectors: Vectors) -> None:
        pass

    def _count_hits(self, recipe: EmbeddingSpec, hits: int) -> None:
        pass


class _MemoryStore(_NoStore):
    """Stores vectors in memory. A copy is the same store, as scikit-learn's clone copies."""

    def __init__(self, path: Path | None) -> None:
        super().__init__(path)
        self._kept: dict[tuple[str, bytes], bytes] = {}

    def __deepcopy__(self, memo: dict[int, Any]) -> _MemoryStore:
        return self

    def _lookup(self, recipe: EmbeddingSpec, keys: list[bytes]) -> tuple[dict[bytes, bytes], int]:
        name = recipe.fingerprint
        return {key: self._kept[name, key] for key in keys if (name, key) in self._kept}, 0

    def _insert(self, recipe: EmbeddingSpec, keys: list[bytes], vectors: Vectors) -> None:
        for key, vector in zip(keys, vectors, strict=True):
            self._kept[recipe.fingerprint, key] = np.asarray(vector, "<f4").tobytes()


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


def _use_write_ahead(db: sqlite3.Connection) -> None:
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
def _without_waiting(db: sqlite3.Connection) -> Iterator[None]:
    """Inside `with`, another process that writes is an error at once."""
    db.execute("PRAGMA busy_timeout = 0")
    try:
        yield
    finally:
        db.execute(f"PRAGMA busy_timeout = {_LOCK_TIMEOUT * 1000}")


def _is_of_disk(error: BaseException | None) -> bool:
    """True if SQLite failed because the disk is full or read-only."""
    signs = ("full", "disk I/O", "readonly", "unable to open")
    return isinstance(error, sqlite3.Error) and any(sign in str(error) for sign in signs)


_MEMORY = _MemoryStore(None)


@cache
def _disk_store(path: Path) -> EmbeddingStore:
    return EmbeddingStore(path)


def _checksum(key: bytes, vector: bytes) -> int:
    return zlib.crc32(vector, zlib.crc32(key))
