"""compare: whether one result is better than another, or only luckier.

print(compare(Answers.read("a/report.json"), Answers.read("b/report.json")).table())
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ferembed.errors import DataError, LabelError
from ferembed.images import MAX_PIXELS, Source, open_source
from ferembed.labels import reading_order

KEY = "answers"
REPORT = "report.json"
_ALPHA = 0.05
_DRAWN = 2_000_000  # counts held at once while faces are drawn again


def face_digests(images: Iterable[Source], max_pixels: int = MAX_PIXELS) -> list[str]:
    """A sha256 for each face, the same wherever its content is the same."""
    return [hashlib.sha256(open_source(image).digest(max_pixels)).hexdigest() for image in images]


@dataclass(frozen=True, eq=False)
class Answers:
    """What a classifier answered to some faces, as results keep it under the key "answers".

    `truth` and `predicted` point into `labels`. `faces` stands for all faces in their order, so
    that two results are known to be of the same ones. `copies` says which have a copy in the
    training data; None where the result does not know.

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
    copies: NDArray[np.bool_] | None = None

    @classmethod
    def of(
        cls, truth: ArrayLike, predicted: ArrayLike, labels: ArrayLike, faces: Sequence[str]
    ) -> Answers:
        """Answers given as words; `labels` are all that the classifier knows, in any order."""
        names = reading_order(np.asarray(labels).astype(str).tolist())
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
        file = result_file(path)
        content = read_result(file)
        if KEY not in content:
            error = f": it failed with {content['error']!r}" if content.get("error") else ""
            listed = ", ".join(list(content)[:6]) or "nothing"
            raise DataError(
                f"{file} holds no answers{error or f', but {listed}'}. Compare the {REPORT} of "
                "ferembed evaluate --output, or cells of a grid."
            )
        copies = content.get("copies")
        with in_result(file):
            known = np.array(copies, np.bool_) if isinstance(copies, list) else None
            return cls._checked(content[KEY], os.fspath(path), known)

    @classmethod
    def _checked(
        cls, fields: Mapping[str, Any], name: str, copies: NDArray[np.bool_] | None
    ) -> Answers:
        labels = tuple(fields["labels"])
        codes = [np.asarray(fields[key]) for key in ("truth", "predicted")]
        if not all(isinstance(label, str) for label in labels) or len(set(labels)) < len(labels):
            raise ValueError("its labels are not different words")
        for one in codes:
            if one.ndim != 1 or one.dtype.kind != "i" or not len(one):
                raise ValueError("truth and predicted are not lists of whole numbers")
            if one.min() < 0 or one.max() >= len(labels):
                raise ValueError(f"an answer is {one.max()}, and there are {len(labels)} labels")
        if len(codes[0]) != len(codes[1]):
            raise ValueError(f"{len(codes[1])} answers are given to {len(codes[0])} faces")
        if not isinstance(fields["faces"], str):
            raise TypeError("faces is not a digest")
        if copies is not None and copies.shape != codes[0].shape:
            raise ValueError(f"copies are told of {copies.size} of {len(codes[0])} faces")
        return cls(labels, fields["faces"], codes[0], codes[1], name, copies)


def result_file(path: str | os.PathLike[str]) -> Path:
    """The file of a result, which may be given by its folder."""
    return Path(path) / REPORT if Path(path).is_dir() else Path(path)


def read_result(file: Path) -> dict[str, Any]:
    """The object in a JSON file that ferembed wrote."""
    try:
        content = json.loads(file.read_text("utf-8"))
    except OSError as error:
        raise DataError(f"{file} cannot be read: {error.strerror or error}.") from None
    except (ValueError, RecursionError) as error:
        empty = "empty" if not file.stat().st_size else f"no JSON, or cut short: {error}"
        raise DataError(f"{file} is {empty}.") from None
    if not isinstance(content, dict):
        raise DataError(f"{file} holds a {type(content).__name__}, not a result.")
    return content


@contextmanager
def in_result(file: Path) -> Iterator[None]:
    """What does not fit in there is an error that says the file is damaged."""
    try:
        yield
    except (ValueError, KeyError, TypeError, OverflowError) as error:
        reason = f"{error} is missing" if isinstance(error, KeyError) else error
        raise DataError(f"The answers in {file} are damaged: {reason}.") from None


def all_faces(digests: Sequence[str]) -> str:
    """One sha256 that stands for faces in this order."""
    return hashlib.sha256("\n".join(digests).encode()).hexdigest()


@dataclass(frozen=True)
class Difference:
    """A score of A and of B, and B less A with its 95 % interval."""

    a: float
    b: float
    difference: float
    low: float
    high: float


@dataclass(frozen=True)
class Comparison:
    """Two classifiers on the same faces, A and B.

    Intervals come of drawing the faces again, each with both answers to it. `only_a` and `only_b`
    are the faces that one alone has right. `p` is McNemar's test of them, exact: how often chance
    would deal them out as unevenly if both were as good.

    >>> truth = ["happy", "sad"] * 50
    >>> faces = [str(i) for i in range(100)]
    >>> half, all = (Answers.of(truth, w, truth[:2], faces) for w in (["happy"] * 100, truth))
    >>> compare(half, all).distinguishable
    True
    """

    names: tuple[str, str]
    count: int
    accuracy: Difference
    macro_f1: Difference
    only_a: int
    only_b: int
    p: float
    recall: dict[str, Difference]  # of each class that has faces
    f1: dict[str, Difference]

    @property
    def distinguishable(self) -> bool:
        """Whether chance would give so uneven a result in fewer than 5 of 100 cases."""
        return self.p < _ALPHA

    @property
    def verdict(self) -> str:
        """A plain sentence that says whether the difference can be told from chance."""
        if not self.only_a + self.only_b:
            return "A and B are right on the same faces: there is no difference."
        edges = 100 * self.accuracy.low, 100 * self.accuracy.high
        points = 100 * self.accuracy.difference
        p = f"p = {self.p:.3f}" if self.p >= 0.001 else "p < 0.001"
        if not self.distinguishable:
            return (
                f"B less A is {points:+.2f} points (95 % interval {edges[0]:+.2f} to "
                f"{edges[1]:+.2f}). That cannot be told from chance (McNemar's test, {p})."
            )
        better, worse = "BA" if points > 0 else "AB"
        low, high = edges if points > 0 else (-edges[1], -edges[0])
        return (
            f"{better} is right on {abs(points):.2f} points more of the faces than {worse} (95 % "
            f"interval {low:.2f} to {high:.2f}). That is more than chance (McNemar's test, {p})."
        )

    def to_dict(self) -> dict[str, Any]:
        extra = {"distinguishable": self.distinguishable, "verdict": self.verdict}
        return {**asdict(self), **extra}

    def table(self) -> str:
        """The comparison as text, for a terminal or a Markdown file."""
        rows = {"accuracy": self.accuracy, "macro F1": self.macro_f1}
        rows |= {f"{label}, recall": one for label, one in self.recall.items()}
        rows |= {f"{label}, F1": one for label, one in self.f1.items()}
        return "\n".join(
            [
                *(f"{letter}: {name}" for letter, name in zip("AB", self.names, strict=True)),
                "",
                f"| {self.count:,} faces | A | B | B less A | 95 % interval |",
                "|---" * 5 + "|",
                *(
                    f"| {name} | {one.a:.4f} | {one.b:.4f} | {one.difference:+.4f} | "
                    f"{one.low:+.4f} to {one.high:+.4f} |"
                    for name, one in rows.items()
                ),
                "",
                f"{self.only_a:,} faces are right in A alone, {self.only_b:,} in B alone. "
                + self.verdict,
            ]
        )


def compare(
    a: Answers,
    b: Answers,
    *,
    without_copies: bool = False,
    draws: int = 10_000,
    seed: int = 0,
) -> Comparison:
    """B beside A on the same faces; the same for the same seed. Other faces are refused.

    `without_copies` leaves out the faces of which one of the two knows a copy in training data: a
    classifier that remembers faces gains by them.
    """
    names = a.name or "A", b.name or "B"
    _check_same(a, b, names)
    kept = _without_copies(a, b) if without_copies else np.ones(len(a.truth), np.bool_)
    labels = reading_order([*a.labels, *b.labels])
    truth, given, other = (
        np.array([labels.index(label) for label in one.labels], np.int64)[codes[kept]]
        for one, codes in ((a, a.truth), (a, a.predicted), (b, b.predicted))
    )
    kinds, counts = np.unique(np.stack([truth, given, other]), axis=1, return_counts=True)
    present = np.unique(truth)
    measured = _scores(counts[None], kinds, present)
    rng = np.random.default_rng(seed)
    drawn = []
    left = draws
    while left:
        now = min(left, max(1, _DRAWN // len(counts)))
        again = rng.multinomial(len(truth), counts / len(truth), now)
        drawn.append(_scores(again, kinds, present))
        left -= now
    spread = np.concatenate(drawn)
    low, high = np.nanpercentile(spread[..., 1] - spread[..., 0], [2.5, 97.5], axis=0)

    def difference(column: int) -> Difference:
        one, two = map(float, measured[0, column])
        return Difference(one, two, two - one, float(low[column]), float(high[column]))

    only_a = int(((given == truth) & (other != truth)).sum())
    only_b = int(((given != truth) & (other == truth)).sum())
    return Comparison(
        names,
        len(truth),
        difference(0),
        difference(1),
        only_a,
        only_b,
        _mcnemar(only_a, only_b),
        {labels[code]: difference(2 + i) for i, code in enumerate(present)},
        {labels[code]: difference(2 + len(present) + i) for i, code in enumerate(present)},
    )


def _scores(
    counts: NDArray[Any], kinds: NDArray[np.int64], classes: NDArray[np.int64]
) -> NDArray[np.float64]:
    """Accuracy, macro F1, each recall and each F1 of A and of B: (draws, 2 + 2 classes, 2).

    A row of counts says how often each kind of face occurs: of one truth and two answers.
    """
    counts = counts.astype(np.float64)  # of which a matrix product is fast
    truth = kinds[0]
    is_class = truth[:, None] == classes
    support = counts @ is_class
    scores = []
    for answers in kinds[1:]:
        right = counts @ (is_class & (answers == truth)[:, None])
        predicted = counts @ (answers[:, None] == classes)
        with np.errstate(invalid="ignore"):
            recall = right / support
            f1 = np.where(support > 0, 2 * right / (support + predicted), np.nan)
        means = right.sum(axis=1) / support.sum(axis=1), np.nanmean(f1, axis=1)
        scores.append(np.concatenate([np.stack(means, axis=1), recall, f1], axis=1))
    return np.stack(scores, axis=-1)


def _mcnemar(only_a: int, only_b: int) -> float:
    from scipy.stats import binom

    fewer, both = min(only_a, only_b), only_a + only_b
    return min(1.0, 2 * float(binom.cdf(fewer, both, 0.5)))


def _without_copies(a: Answers, b: Answers) -> NDArray[np.bool_]:
    known = [one.copies for one in (a, b) if one.copies is not None]
    if not known:
        raise DataError(
            "Neither of the two knows which faces have copies in the training data. Evaluate one "
            "with it: ferembed evaluate --training DATA --output FOLDER."
        )
    kept = ~np.logical_or.reduce(known)
    if not kept.any():
        raise DataError(f"All {len(kept):,} faces have a copy in the training data.")
    return np.asarray(kept)


def _check_same(a: Answers, b: Answers, names: tuple[str, str]) -> None:
    if a.faces != b.faces or len(a.truth) != len(b.truth):
        both = (
            f"{n} has {len(o.truth):,} ({o.faces[:8]}…)" for n, o in zip(names, (a, b), strict=True)
        )
        raise DataError(
            f"These are results on different faces: {', '.join(both)}. Evaluate both on the same "
            "split of the same data set."
        )
    one, two = (np.array(o.labels, np.str_)[o.truth] for o in (a, b))
    odd = np.flatnonzero(one != two)
    if len(odd):
        raise DataError(
            f"{len(odd):,} of the {len(one):,} faces have other labels in the two results, such as "
            f"face {odd[0] + 1}: {one[odd[0]]} in {names[0]}, {two[odd[0]]} in {names[1]}. "
            "Evaluate both on the data set with the same labels."
        )
