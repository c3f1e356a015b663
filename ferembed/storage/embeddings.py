"""EmbeddingStore: vectors on disk, by the content that was embedded and the recipe.

A vector's key is the digest of the source's content. It belongs to a recipe, which is the
fingerprint of everything that changes a vector. A checksum guards both. Each batch is a transaction
of its own: a process that is killed loses the batch in progress. Reading needs neither free space
nor the right to write.
"""

from __future__ import annotations

import json
import os
import sqlite3
import time
import warnings
import zlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from ferembed.errors import StoreError, StoreWarning
from ferembed.storage.files import atomic_write
from ferembed.storage.folders import cache_folder
from ferembed.storage.sqlite_file import (
    SqliteFile,
    is_of_disk,
    use_write_ahead,
    without_waiting,
    writing,
)

Vectors: TypeAlias = NDArray[np.float32]
Compute: TypeAlias = Callable[[list[int]], Iterable[tuple[list[int], Vectors]]]

_LOOKUP = 512  # keys in one SELECT
_REBUILT = 2 << 30  # bytes of a store that is pruned in memory where the disk is full


@dataclass(frozen=True)
class EmbeddingSpec:
    """A recipe of vectors: its fingerprint, its facts as JSON, and the number of values."""

    fingerprint: str
    facts: str
    dim: int


@dataclass(frozen=True, kw_only=True)
class Fetched:
    """A row for each key. `present` is False for rows that could not be computed."""

    vectors: Vectors
    present: NDArray[np.bool_]
    hits: int
    computed: int
    damaged: int  # rows whose checksum did not match, computed again
    duplicates: int = 0  # rows of contents that came more than once and were computed
    unstored: int = 0  # vectors that could not be written to the store


@dataclass(frozen=True, kw_only=True)
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


class EmbeddingStore(ABC):
    """Vectors by recipe and content.

    `EmbeddingStore.open("disk")` is the user's cache, "memory" lasts as long as the process, "none"
    keeps nothing, and anything else is the path of a file. Processes may share a file.
    """

    @classmethod
    def open(cls, place: str | os.PathLike[str]) -> EmbeddingStore:
        """The store for "disk", "memory", "none" or a path; one object per file."""
        if place == "none":
            return NoStore()
        if place == "memory":
            return _MEMORY
        path = cache_folder() / "embeddings.sqlite" if place == "disk" else Path(place)
        return _disk_store(path.absolute())

    @abstractmethod
    def lookup(self, recipe: EmbeddingSpec, keys: list[bytes]) -> tuple[dict[bytes, bytes], int]:
        """The vectors by key, as little-endian bytes, and the number of damaged rows."""

    @abstractmethod
    def insert(self, recipe: EmbeddingSpec, keys: list[bytes], vectors: Vectors) -> None:
        """Store a vector for each key."""

    @abstractmethod
    def count_hits(self, recipe: EmbeddingSpec, hits: int) -> None:
        """Note that so many vectors of a recipe were found."""

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

        found, damaged = self.lookup(recipe, list(places))
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
        for positions, batch in compute(missing) if missing else ():
            if unstored or not self._stored(recipe, positions, keys, batch, must_store):
                unstored += len(positions)
            for i, vector in zip(positions, batch, strict=True):
                vectors[places[keys[i]]] = vector
                present[places[keys[i]]] = True
            computed += len(positions)
        if hits:
            with suppress(StoreError):  # a count is worth no failure
                self.count_hits(recipe, hits)
        return Fetched(
            vectors=vectors,
            present=present,
            hits=hits,
            computed=computed,
            damaged=damaged,
            duplicates=int(present.sum()) - hits - computed,
            unstored=unstored,
        )

    def _stored(
        self,
        recipe: EmbeddingSpec,
        positions: list[int],
        keys: Sequence[bytes],
        batch: Vectors,
        must_store: bool,
    ) -> bool:
        """True if a batch was inserted; False after a warning that it could not be."""
        try:
            self.insert(recipe, [keys[i] for i in positions], batch)
        except StoreError as error:
            if must_store:
                raise
            warnings.warn(f"{error} Going on without it.", StoreWarning, stacklevel=3)
            return False
        return True


class NoStore(EmbeddingStore):
    """Stores nothing; duplicates within one call are still computed once."""

    def lookup(self, recipe: EmbeddingSpec, keys: list[bytes]) -> tuple[dict[bytes, bytes], int]:
        return {}, 0

    def insert(self, recipe: EmbeddingSpec, keys: list[bytes], vectors: Vectors) -> None:
        pass

    def count_hits(self, recipe: EmbeddingSpec, hits: int) -> None:
        pass


class MemoryStore(EmbeddingStore):
    """Stores vectors in memory. A copy is the same store, as scikit-learn's clone copies."""

    def __init__(self) -> None:
        self._kept: dict[tuple[str, bytes], bytes] = {}

    def __deepcopy__(self, memo: dict[int, Any]) -> MemoryStore:
        return self

    def lookup(self, recipe: EmbeddingSpec, keys: list[bytes]) -> tuple[dict[bytes, bytes], int]:
        name = recipe.fingerprint
        return {key: self._kept[name, key] for key in keys if (name, key) in self._kept}, 0

    def insert(self, recipe: EmbeddingSpec, keys: list[bytes], vectors: Vectors) -> None:
        for key, vector in zip(keys, vectors, strict=True):
            self._kept[recipe.fingerprint, key] = np.asarray(vector, "<f4").tobytes()

    def count_hits(self, recipe: EmbeddingSpec, hits: int) -> None:
        pass


class DiskStore(EmbeddingStore):
    """Stores vectors in an SQLite file."""

    @classmethod
    def open(cls, place: str | os.PathLike[str]) -> DiskStore:
        """The store for "disk" or a path."""
        store = EmbeddingStore.open(place)
        if not isinstance(store, DiskStore):
            raise StoreError(
                f"The store {str(place)!r} is not on disk. Give 'disk' or the path of a file."
            )
        return store

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file = SqliteFile(path)

    def __getstate__(self) -> dict[str, Any]:
        return {"path": self.path}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(state["path"])  # type: ignore[misc]

    def lookup(self, recipe: EmbeddingSpec, keys: list[bytes]) -> tuple[dict[bytes, bytes], int]:
        """The valid vectors by key, as stored, and the number of damaged rows."""
        found: dict[bytes, bytes] = {}
        if not self._file.exists():
            return found, 0
        damaged = 0
        with self._file.reading() as db:
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

    def insert(self, recipe: EmbeddingSpec, keys: list[bytes], vectors: Vectors) -> None:
        blobs = [np.asarray(vector, "<f4").tobytes() for vector in vectors]
        with self._file.connection(recipe.dim) as db, writing(db):
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

    def count_hits(self, recipe: EmbeddingSpec, hits: int) -> None:
        with self._file.connection() as db, without_waiting(db), writing(db):
            db.execute(
                "UPDATE recipes SET hits = hits + ?, used = ? WHERE fingerprint = ?",
                (hits, time.time(), recipe.fingerprint),
            )

    def recipes(self) -> list[RecipeUse]:
        """The recipes in the store, the last used first."""
        if not self._file.exists():
            return []
        with self._file.reading() as db:
            rows = db.execute(
                "SELECT fingerprint, facts, dim, count(vector) AS vectors,"
                " coalesce(sum(length(vector)), 0) AS bytes, hits, used"
                " FROM recipes LEFT JOIN vectors ON recipe = id GROUP BY id ORDER BY used DESC"
            )
            names = [column[0] for column in rows.description]
            return [RecipeUse(**dict(zip(names, row, strict=True))) for row in rows]

    def size(self) -> int:
        """Bytes on disk."""
        return self._file.size()

    def verify(self) -> tuple[int, int]:
        """The numbers of valid vectors, and of damaged ones, which are removed."""
        if not self._file.exists():
            return 0, 0
        with self._file.reading() as db:
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
            with self._file.connection() as db, writing(db):
                db.executemany("DELETE FROM vectors WHERE rowid = ?", damaged)
        return total - len(damaged), len(damaged)

    def prune(
        self,
        fingerprint: str | None = None,
        unused_since: float | None = None,
        *,
        unused_days: float | None = None,
    ) -> int:
        """Remove the vectors of a recipe, or of recipes unused since a time, or all."""
        if unused_days is not None:
            unused_since = time.time() - unused_days * 86400
        if not self._file.exists():
            return 0
        try:
            with self._file.connection() as db:
                removed = self._remove(db, fingerprint, unused_since)
                if removed:
                    db.execute("VACUUM")
                    db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            return removed
        except StoreError as error:
            if not is_of_disk(error.__cause__):
                raise
        if fingerprint is None and unused_since is None:
            with self._file.reading() as db:
                (count,) = db.execute("SELECT count(*) FROM vectors").fetchone()
            self._file.delete()
            return int(count)
        return self._rebuild(fingerprint, unused_since)

    def _remove(
        self, db: sqlite3.Connection, fingerprint: str | None, unused_since: float | None
    ) -> int:
        removed = 0
        with writing(db):
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
        if self.size() > _REBUILT:
            raise StoreError(
                f"There is no room to prune the embedding store {self.path}. Remove all "
                "of it with: ferembed cache clear"
            )
        copy = sqlite3.connect(":memory:", isolation_level=None)
        try:
            with self._file.reading() as db:
                db.backup(copy)
            removed = self._remove(copy, fingerprint, unused_since)
            if removed:
                copy.execute("VACUUM")
                self._file.delete()
                with atomic_write(self.path) as unfinished:
                    new = sqlite3.connect(unfinished)
                    copy.backup(new)
                    use_write_ahead(new)
                    new.close()
            return removed
        finally:
            copy.close()


_MEMORY = MemoryStore()


@cache
def _disk_store(path: Path) -> DiskStore:
    return DiskStore(path)


def _checksum(key: bytes, vector: bytes) -> int:
    return zlib.crc32(vector, zlib.crc32(key))
