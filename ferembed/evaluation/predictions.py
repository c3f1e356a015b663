"""Predictions: what a classifier predicts for a set of faces, and the files that hold it."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ferembed.errors import DataError, LabelError
from ferembed.images import MAX_PIXELS, Source, open_source
from ferembed.labels import reading_order

KEY = "predictions"
REPORT = "report.json"


def face_digests(images: Iterable[Source], max_pixels: int = MAX_PIXELS) -> list[str]:
    """The sha256 of each face's content."""
    return [hashlib.sha256(open_source(image).digest(max_pixels)).hexdigest() for image in images]


@dataclass(frozen=True, eq=False, kw_only=True)
class Predictions:
    """The predictions of one classifier for a set of faces, and the labels of the faces.

    `targets` and `predicted` are positions in `labels`. `faces` is a digest of all faces in their
    order: two results with the same digest are of the same faces. `duplicates` marks the faces
    that have a duplicate in the training data; None where this is unknown.

    >>> faces = face_digests([np.zeros((48, 48), np.uint8), np.ones((48, 48), np.uint8)])
    >>> found = Predictions.from_labels(["happy", "sad"], ["sad", "sad"], ["sad", "happy"], faces)
    >>> found.labels, found.targets.tolist(), found.predicted.tolist()
    (('happy', 'sad'), [0, 1], [1, 1])
    """

    labels: tuple[str, ...]
    faces: str
    targets: NDArray[np.int64]
    predicted: NDArray[np.int64]
    name: str = ""
    duplicates: NDArray[np.bool_] | None = None

    @classmethod
    def from_labels(
        cls, targets: ArrayLike, predicted: ArrayLike, labels: ArrayLike, faces: Sequence[str]
    ) -> Predictions:
        """Predictions given as words; `labels` are all classes of the classifier, in any order."""
        names = reading_order(np.asarray(labels).astype(str).tolist())
        place = {label: i for i, label in enumerate(names)}
        columns = [np.asarray(words).astype(str).tolist() for words in (targets, predicted)]
        if unknown := sorted({word for words in columns for word in words} - set(names)):
            raise LabelError(f"{', '.join(unknown)} is none of the labels {', '.join(names)}.")
        codes = [np.array([place[word] for word in words], np.int64) for words in columns]
        return cls(
            labels=tuple(names), faces=digest_of_all(faces), targets=codes[0], predicted=codes[1]
        )

    def to_dict(self) -> dict[str, Any]:
        """The entry "predictions" of a result file."""
        return {
            "labels": list(self.labels),
            "faces": self.faces,
            "targets": self.targets.tolist(),
            "predicted": self.predicted.tolist(),
        }

    @classmethod
    def read(cls, path: str | os.PathLike[str]) -> Predictions:
        """The predictions in a report.json, in the folder that holds it, or in a cell of a grid."""
        file = result_file(path)
        content = read_result(file)
        if KEY not in content:
            error = f": it failed with {content['error']!r}" if content.get("error") else ""
            listed = ", ".join(list(content)[:6]) or "nothing"
            raise DataError(
                f"{file} has no predictions{error or f', but {listed}'}. Compare the {REPORT} of "
                "ferembed evaluate --output, or cells of a grid."
            )
        duplicates = content.get("duplicates")
        with in_result(file):
            known = np.array(duplicates, np.bool_) if isinstance(duplicates, list) else None
            return cls._checked(content[KEY], os.fspath(path), known)

    @classmethod
    def _checked(
        cls, fields: Mapping[str, Any], name: str, duplicates: NDArray[np.bool_] | None
    ) -> Predictions:
        labels = tuple(fields["labels"])
        codes = [np.asarray(fields[key]) for key in ("targets", "predicted")]
        if not all(isinstance(label, str) for label in labels) or len(set(labels)) < len(labels):
            raise ValueError("its labels are not different words")
        for one in codes:
            if one.ndim != 1 or one.dtype.kind != "i" or not len(one):
                raise ValueError("targets and predicted are not lists of whole numbers")
            if one.min() < 0 or one.max() >= len(labels):
                raise ValueError(f"a prediction is {one.max()}, and there are {len(labels)} labels")
        if len(codes[0]) != len(codes[1]):
            raise ValueError(f"it has {len(codes[1])} predictions for {len(codes[0])} faces")
        if not isinstance(fields["faces"], str):
            raise TypeError("faces is not a digest")
        if duplicates is not None and duplicates.shape != codes[0].shape:
            raise ValueError(f"it has {duplicates.size} duplicates for {len(codes[0])} faces")
        return cls(
            labels=labels,
            faces=fields["faces"],
            targets=codes[0],
            predicted=codes[1],
            name=name,
            duplicates=duplicates,
        )


def result_file(path: str | os.PathLike[str]) -> Path:
    """The result file of a path, which may be the folder that holds it."""
    return Path(path) / REPORT if Path(path).is_dir() else Path(path)


def read_result(file: Path) -> dict[str, Any]:
    """The object in a JSON file that ferembed wrote."""
    try:
        content = json.loads(file.read_text("utf-8"))
    except OSError as error:
        raise DataError(f"{file} cannot be read: {error.strerror or error}.") from None
    except (ValueError, RecursionError) as error:
        empty = "empty" if not file.stat().st_size else f"not JSON, or incomplete: {error}"
        raise DataError(f"{file} is {empty}.") from None
    if not isinstance(content, dict):
        raise DataError(f"{file} holds a {type(content).__name__}, not a result.")
    return content


@contextmanager
def in_result(file: Path) -> Iterator[None]:
    """Inside `with`, content that does not fit is a DataError: the file is damaged."""
    try:
        yield
    except (ValueError, KeyError, TypeError, OverflowError) as error:
        reason = f"{error} is missing" if isinstance(error, KeyError) else error
        raise DataError(f"The predictions in {file} are damaged: {reason}.") from None


def digest_of_all(digests: Sequence[str]) -> str:
    """One sha256 for faces in this order."""
    return hashlib.sha256("\n".join(digests).encode()).hexdigest()
