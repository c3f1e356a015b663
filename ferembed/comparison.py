"""compare: whether one result is better than another, or only luckier.

print(compare(Answers.read("a/report.json"), Answers.read("b/report.json")).table())
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ferembed.errors import LabelError
from ferembed.images import MAX_PIXELS, Source, open_source
from ferembed.labels import in_order

KEY = "answers"
REPORT = "report.json"
ALPHA = 0.05

_DRAWN = 2_000_000  # counts held at once while faces are drawn again


def face_digests(images: Iterable[Source], max_pixels: int = MAX_PIXELS) -> list[str]:
    """A sha256 for each face, the same wherever its content is the same."""
    return [hashlib.sha256(open_source(image).digest(max_pixels)).hexdigest() for image in images]


@dataclass(frozen=True, eq=False)
class Answers:
    """What a classifier answered to some faces, as results keep it under the key "answers".

    `truth` and `predicted` point into `labels`. `faces` stands for all faces in their order, so
    that two results are known to be of the same ones.

    >>> faces = face_digests([np.zeros((48, 48), np.uint8), np.ones((48, 48), np.uint8)])
    >>> answers = Answers.of(["happy", "sad"], ["sad", "sad"], ["sad", "happy"], faces)
    >>> answers.labels, answers.truth.tolist(), answers.predicted.tolist()
    (('happy', 'sad'), [0, 1], [1, 1])
    """

    labels: tuple[str, ...]
    faces: str
    truth: NDArray[np.int64]
    predicted: NDArray[np.int64]
    name: str = ""

    @classmethod
    def of(
        cls, truth: ArrayLike, predicted: ArrayLike, labels: ArrayLike, faces: Sequence[str]
    ) -> Answers:
        """Answers given as words; `labels` are all that the classifier knows, in any order."""
        names = in_order(np.asarray(labels).astype(str).tolist())
        place = {label: i for i, label in enumerate(names)}
        columns = [np.asarray(words).astype(str).tolist() for words in (truth, predicted)]
        if foreign := sorted({word for words in columns for word in words} - set(names)):
            raise LabelError(f"{', '.join(foreign)} is none of the labels {', '.join(names)}.")
        codes = [np.array([place[word] for word in words], np.int64) for words in columns]
        return cls(tuple(names), all_faces(faces), codes[0], codes[1])

    def to_dict(self) -> dict[str, Any]:
        """What stands in a file under the key "answers"."""
        return {
            "labels": list(self.labels),
            "faces": self.faces,
            "truth": self.truth.tolist(),
            "predicted": self.predicted.tolist(),
        }

    @classmethod
    def read(cls, path: str | os.PathLike[str]) -> Answers:
        """The answers in a report.json, in the folder that holds it, or in a cell of a grid."""
        raise NotImplementedError


def all_faces(digests: Sequence[str]) -> str:
    """One sha256 that stands for faces in this order."""
    return hashlib.sha256("\n".join(digests).encode()).hexdigest()
