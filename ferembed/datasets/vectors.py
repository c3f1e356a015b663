"""Vectors on disk: Parquet files in a folder, with labels and splits, read in batches.

    faces/manifest.json                the recipe of the vectors, and which files belong to the set
    faces/part-0a1b2c....parquet       some rows: source, digest, box, label, split, vector

`ferembed.cluster.embed` writes such a folder, `open_vectors` opens it, and `Pipeline.fit` takes it
in the place of images.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import accumulate
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ferembed.datasets.vocabulary import ALL_SPLITS, UNSPLIT
from ferembed.errors import DataError, MissingExtra

FORMAT = 1
MANIFEST = "manifest.json"
PART_FACTS = b"ferembed"  # the key of our facts in the metadata of a Parquet file
_UNLABELLED = -1
_MIXED_ROWS = 32_768  # rows shuffled together, from several files
_MIXED_FILES = 16


@dataclass(frozen=True, eq=False, kw_only=True)
class VectorSet:
    """Vectors with a label and a split each, which stay on disk until they are used.

    `classes` are those of the chosen rows. `embedder` are the parameters of the `Embedder` that
    made the vectors, `fingerprint` and `facts` its recipe. `np.asarray` reads all vectors,
    `batches` some at a time.
    """

    path: str
    fingerprint: str
    facts: dict[str, Any]
    embedder: dict[str, Any]
    files: tuple[str, ...]
    starts: tuple[int, ...]  # the first row of each file, and the number of rows
    classes: tuple[str, ...]
    label_codes: NDArray[np.int16]  # of the chosen rows; -1 where there is no label
    split_codes: NDArray[np.uint8]
    rows: NDArray[np.int64]  # the chosen rows, in order

    def __len__(self) -> int:
        return len(self.rows)

    def __repr__(self) -> str:
        return f"<VectorSet of {len(self):,} x {self.dim} at {self.path}>"

    @property
    def dim(self) -> int:
        """The size of a vector."""
        return int(self.facts["dim"])

    @property
    def shape(self) -> tuple[int, int]:
        return len(self), self.dim

    @property
    def labels(self) -> NDArray[np.str_]:
        """The label of each row; a DataError if some have none."""
        if (self.label_codes == _UNLABELLED).any():
            count = int((self.label_codes == _UNLABELLED).sum())
            raise DataError(
                f"{count:,} of {len(self):,} vectors in {self.path} have no label. Embed a data "
                "set with labels (class folders or a CSV), or choose the others with select."
            )
        return np.array(self.classes, np.str_)[self.label_codes]

    @property
    def splits(self) -> NDArray[np.str_]:
        return np.array(ALL_SPLITS, np.str_)[self.split_codes]

    def select(self, chosen: ArrayLike) -> VectorSet:
        """The rows that a boolean mask or a list of positions selects, in their order."""
        places = np.asarray(chosen)
        if places.dtype == np.bool_:
            if places.shape != (len(self),):
                raise DataError(f"A mask of {len(places)} does not fit {len(self)} vectors.")
            places = np.flatnonzero(places)
        places = np.sort(places)
        used, codes = np.unique(self.label_codes[places], return_inverse=True)
        classes = [self.classes[code] for code in used if code != _UNLABELLED]
        return replace(
            self,
            classes=tuple(classes),
            label_codes=(codes - (len(used) - len(classes))).astype(np.int16),
            split_codes=self.split_codes[places],
            rows=self.rows[places],
        )

    def split(self, name: str) -> VectorSet:
        """The rows of one split: train, validation, test or unsplit."""
        if name not in ALL_SPLITS:
            raise DataError(f"No split is called {name!r}. Known: {', '.join(ALL_SPLITS)}.")
        chosen = self.split_codes == ALL_SPLITS.index(name)
        if not chosen.any():
            found = ", ".join(sorted(set(self.splits.tolist()))) or "no rows"
            raise DataError(f"{self.path} has no {name} split; it has {found}.")
        return self.select(chosen)

    def sample(self, rows: int, seed: int = 0) -> VectorSet:
        """So many rows, drawn at random; all of them if there are no more."""
        if rows >= len(self):
            return self
        return self.select(np.random.default_rng(seed).choice(len(self), rows, replace=False))

    def sources(self) -> NDArray[np.str_]:
        """The source of each row: the path of a photo, or its name in a data set."""
        found: list[str] = []
        for number in range(len(self.files)):
            places = self._of_file(number)
            if len(places):
                names = self._table(number, ["source"])["source"].to_pylist()
                found += [names[row - self.starts[number]] for row in self.rows[places].tolist()]
        return np.array(found, np.str_)

    def batches(
        self, size: int = 8192, seed: int | None = None
    ) -> Iterator[tuple[NDArray[np.float32], NDArray[np.int16]]]:
        """Vectors and the positions of their labels in `classes`, at most `size` at a time.

        With a seed the files are drawn in another order and the rows of several are mixed. Then
        every batch but the last has `size` rows.
        """
        if seed is None:
            for number in range(len(self.files)):
                X, codes = self._read([number])
                for start in range(0, len(X), size):
                    yield X[start : start + size], codes[start : start + size]
            return
        rng = np.random.default_rng(seed)
        order = rng.permutation(len(self.files)).tolist()
        mean = max(1, len(self) // max(1, len(self.files)))
        at_once = max(_MIXED_FILES, -(-_MIXED_ROWS // mean))
        left_X = np.empty((0, self.dim), np.float32)
        left = np.empty(0, np.int16)
        for start in range(0, len(order), at_once):
            X, codes = self._read(order[start : start + at_once])
            X, codes = np.concatenate([left_X, X]), np.concatenate([left, codes])
            mixed = rng.permutation(len(X))
            whole = len(X) // size * size
            for begin in range(0, whole, size):
                some = mixed[begin : begin + size]
                yield X[some], codes[some]
            left_X, left = X[mixed[whole:]], codes[mixed[whole:]]
        if len(left):
            yield left_X, left

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        memory, needed = _physical_memory(), 4 * len(self) * self.dim
        if needed > memory:
            raise DataError(
                f"{len(self):,} vectors of {self.dim} take {needed / 1e9:.1f} GB, and this machine "
                f"has {memory / 1e9:.1f}. Take some of them with sample(ROWS), or a head that "
                "reads them in batches: softmax, fourier-svm or approximate-knn."
            )
        vectors = np.empty(self.shape, np.float32)
        for number in range(len(self.files)):
            places = self._of_file(number)
            if len(places):
                vectors[places] = self._vectors(number)[self.rows[places] - self.starts[number]]
        return vectors if dtype is None else vectors.astype(dtype, copy=False)

    def _of_file(self, number: int) -> NDArray[np.int64]:
        """The positions of the chosen rows that are in the file."""
        first, end = np.searchsorted(self.rows, self.starts[number : number + 2])
        return np.arange(first, end)

    def _read(self, numbers: list[int]) -> tuple[NDArray[np.float32], NDArray[np.int16]]:
        places = [self._of_file(number) for number in numbers]
        parts = [
            self._vectors(number)[self.rows[there] - self.starts[number]]
            for number, there in zip(numbers, places, strict=True)
            if len(there)
        ]
        empty = np.empty((0, self.dim), np.float32)
        return np.concatenate([empty, *parts]), self.label_codes[np.concatenate(places)]

    def _vectors(self, number: int) -> NDArray[np.float32]:
        column = self._table(number, ["vector"])["vector"].combine_chunks()
        values = column.flatten().to_numpy(zero_copy_only=False)
        return np.asarray(values.reshape(len(column), self.dim))

    def _table(self, number: int, columns: list[str]) -> Any:
        return read_table(self.path, self.files[number], columns)


def _physical_memory() -> float:
    try:
        return float(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))
    except (AttributeError, ValueError):  # not known here
        return float("inf")


def open_vectors(path: str | os.PathLike[str]) -> VectorSet:
    """The vectors that `ferembed embed --scheduler` wrote to a folder, local or of fsspec."""
    path = os.fspath(path)
    manifest = read_manifest(path)
    if manifest is None:
        raise DataError(
            f"{path} has no {MANIFEST}. Give the folder that ferembed embed --scheduler wrote."
        )
    if manifest["kind"] != "vectors":
        raise DataError(f"{path} holds {manifest['kind']}, not vectors.")
    if not manifest["complete"]:
        raise DataError(
            f"The vectors in {path} are not complete. Run the command that writes them again: it "
            "computes only what is missing."
        )
    files = [part["file"] for part in manifest["partitions"]]
    classes: dict[str, int] = {}
    label_codes, split_codes, counts = [np.empty(0, np.int16)], [np.empty(0, np.uint8)], []
    for file in files:
        table = read_table(path, file, ["label", "split"])
        labels, splits = (table[name].to_pylist() for name in ("label", "split"))
        counts.append(len(labels))
        label_codes.append(
            np.array(
                [
                    _UNLABELLED if label is None else classes.setdefault(label, len(classes))
                    for label in labels
                ],
                np.int16,
            )
        )
        split_codes.append(
            np.array([ALL_SPLITS.index(split or UNSPLIT) for split in splits], np.uint8)
        )
    codes = np.concatenate(label_codes)
    names = sorted(classes)  # as scikit-learn orders them
    renumbered = np.array([names.index(name) for name in classes] + [_UNLABELLED], np.int16)
    return VectorSet(
        path=path,
        fingerprint=manifest["fingerprint"],
        facts=manifest["facts"],
        embedder=manifest["embedder"],
        files=tuple(files),
        starts=tuple(accumulate(counts, initial=0)),
        classes=tuple(names),
        label_codes=renumbered[codes],
        split_codes=np.concatenate(split_codes),
        rows=np.arange(len(codes)),
    )


def is_vector_set(path: str | os.PathLike[str]) -> bool:
    """True for a local folder that `open_vectors` opens."""
    file = os.path.join(path, MANIFEST)
    return os.path.isfile(file) and (read_manifest(os.fspath(path)) or {}).get("kind") == "vectors"


def read_manifest(path: str) -> dict[str, Any] | None:
    """The manifest of a folder; None if there is none."""
    fs, root = file_system(path)
    try:
        with fs.open(f"{root}/{MANIFEST}", "rb") as file:
            manifest = json.loads(file.read())
        if manifest["format"] != FORMAT:
            raise DataError(
                f"{path} is of format {manifest['format']}; this version of ferembed reads format "
                f"{FORMAT}. Open it with the version that wrote it."
            )
        return dict(manifest)
    except FileNotFoundError:
        return None
    except (KeyError, TypeError, ValueError, RecursionError) as error:
        if isinstance(error, DataError):
            raise
        raise DataError(f"{path}/{MANIFEST} cannot be understood: {error!r}.") from None


def read_table(path: str, file: str, columns: list[str] | None) -> Any:
    """Some columns of a Parquet file, or all, as a pyarrow.Table; a local file is mapped."""
    parquet = import_parquet()
    fs, root = file_system(path)
    place = f"{root}/{file}"
    try:
        if is_local(fs):
            return parquet.read_table(place, columns=columns, memory_map=True, partitioning=None)
        with fs.open(place, "rb") as opened:
            return parquet.read_table(opened, columns=columns)
    except FileNotFoundError:
        raise DataError(
            f"{path} is incomplete: {file} is missing. Run the command that wrote it again; it "
            "computes only what is missing."
        ) from None
    except (OSError, ValueError) as error:  # pyarrow.ArrowInvalid is a ValueError
        raise DataError(
            f"{place} cannot be read: {error}. Delete it and run the command that wrote it again."
        ) from None


def part_name(key: str) -> str:
    """The file of the partition with this key."""
    return f"part-{key}.parquet"


def file_system(path: str) -> tuple[Any, str]:
    """The fsspec file system of a path or URL, and the path there."""
    try:
        from fsspec.core import url_to_fs
    except ImportError:
        raise missing_extra() from None
    try:
        fs, root = url_to_fs(path)
    except (ImportError, ValueError) as error:  # no such protocol, or its package is not here
        raise DataError(f"{path} cannot be opened: {error}") from None
    return fs, root.rstrip("/")


def is_local(fs: Any) -> bool:
    return "file" in ((fs.protocol,) if isinstance(fs.protocol, str) else fs.protocol)


def import_parquet() -> Any:
    try:
        import pyarrow.parquet
    except ImportError:
        raise missing_extra() from None
    return pyarrow.parquet


def missing_extra() -> MissingExtra:
    return MissingExtra("Parquet files and clusters need more: pip install 'ferembed[dask]'")
