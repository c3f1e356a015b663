"""Evaluation: one classifier's answers to one set of faces, with everything a report shows.

faces = datasets.open("fer2013.zip")
evaluation = evaluate(Pipeline.load("default"), faces.split("validation"), faces.split("train"))
pages.write_report("report", evaluation, language="es")
"""

from __future__ import annotations

import base64
import copy
import io
import json
import os
import time
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ferembed import __version__
from ferembed._progress import Progress
from ferembed.backbones import BACKBONES
from ferembed.datasets import Dataset, merge
from ferembed.datasets.audit import audit
from ferembed.datasets.dataset import story
from ferembed.embedder import Embedder
from ferembed.errors import DataError, FerembedError, ImageError, ModelError, UnknownName
from ferembed.evaluation.action_units import Confusability
from ferembed.evaluation.comparison import (
    KEY,
    Answers,
    all_faces,
    face_digests,
    in_result,
    read_result,
    result_file,
)
from ferembed.images import Source, load_image
from ferembed.persistence import bundle
from ferembed.pipeline import Pipeline
from ferembed.report import Report
from ferembed.storage.embeddings import Vectors

FORMAT = 1

_TIMED = 20  # faces that are answered one by one, to see how long one takes
_SIDE = 96  # of a picture in a report, at most
_INLINE = "data:image/jpeg;base64,"


@dataclass(frozen=True)
class Costs:
    """What the answers cost; None where nobody measured it.

    embed_seconds : to embed the faces, if none of their vectors was in the store
    fit_seconds : to fit the head
    predict_ms : from one face's pixels to its answer, the median of some
    bytes : of the saved model and of the weights it needs beside that
    """

    embed_seconds: float | None = None
    fit_seconds: float | None = None
    predict_ms: float | None = None
    bytes: int | None = None


@dataclass(frozen=True)
class Neighbour:
    """A training face: what it is called, and how far its vector is away."""

    name: str
    label: str
    distance: float
    picture: str | None  # a data: URI; None where it cannot be read any more


@dataclass(frozen=True)
class Mistake:
    """A wrong answer that the classifier was sure of, and the training faces nearest to it."""

    name: str
    truth: str
    answer: str
    confidence: float
    picture: str | None
    neighbours: tuple[Neighbour, ...] = ()


@dataclass(frozen=True, eq=False)
class Evaluation:
    """One classifier's answers to one set of faces.

    `truth`, `predicted` and the columns of `probabilities` follow `labels`; `names` and `faces` (a
    sha256 of the content) have an entry for each face. `copies` says which faces have an exact or
    near copy in the training data, None where nobody looked. `failures` are faces that could not be
    read, `data` the lines that tell how the set of faces came about.
    """

    model: str
    split: str
    labels: tuple[str, ...]
    names: tuple[str, ...] = field(repr=False)
    faces: tuple[str, ...] = field(repr=False)
    truth: NDArray[np.int64] = field(repr=False)
    predicted: NDArray[np.int64] = field(repr=False)
    probabilities: NDArray[np.float64] = field(repr=False)
    copies: NDArray[np.bool_] | None = field(default=None, repr=False)
    mistakes: tuple[Mistake, ...] = field(default=(), repr=False)
    costs: Costs = Costs()
    failures: tuple[str, ...] = ()
    data: tuple[str, ...] = field(default=(), repr=False)

    @property
    def answers(self) -> Answers:
        """What `compare` takes."""
        faces = all_faces(self.faces)
        return Answers(
            self.labels, faces, self.truth, self.predicted, self.model, copies=self.copies
        )

    def report(self, *, without_copies: bool = False) -> Report:
        """The scores, of all faces or of those that have no copy in the training data."""
        kept = np.ones(len(self.truth), np.bool_)
        if without_copies:
            if self.copies is None:
                raise DataError("Nobody looked for copies: evaluate with the training data, too.")
            kept = ~self.copies
        truth, answers = (np.array(self.labels)[of[kept]] for of in (self.truth, self.predicted))
        return Report.from_predictions(truth, self.probabilities[kept], self.labels, answers)

    @property
    def confusability(self) -> Confusability:
        """The confusions beside those that action units lead one to expect."""
        return Confusability.of(self.labels, self.report().confusion)

    def facts(self) -> dict[str, Any]:
        """The scores as plain data, of all faces and of those without copies."""
        facts = {**self.report().to_dict(), "split": self.split}
        if self.copies is not None:
            facts["copies"] = int(self.copies.sum())
            if not self.copies.all():
                facts["without_copies"] = self.report(without_copies=True).to_dict()
        return facts

    def summary(self) -> str:
        """The scores as text: a table, the split, and how copies change them."""
        report = self.report()
        lines = [report.table(), "", scored_on(self.split)]
        if self.copies is not None:
            copies = int(self.copies.sum())
            line = f"{copies:,} of {report.count:,} faces have a copy in the training data"
            if copies < report.count:
                alone = self.report(without_copies=True)
                line += f"; without them: accuracy {alone.accuracy:.2%}"
                line += f", macro F1 {alone.macro_f1:.3f}"
            lines.append(f"{line}.")
        return "\n".join(lines)

    def to_dict(self) -> dict[str, Any]:
        """Everything, with the scores worked out; `read` needs only what they follow from."""
        some_new = self.copies is not None and not self.copies.all()
        return {
            "format": FORMAT,
            "made_by": f"ferembed {__version__}",
            "model": self.model,
            "split": self.split,
            "data": self.data,
            "scores": self.report().to_dict(),
            "scores_without_copies": self.report(without_copies=True).to_dict()
            if some_new
            else None,
            "action_units": asdict(self.confusability),
            "costs": asdict(self.costs),
            "failures": self.failures,
            "mistakes": [asdict(mistake) for mistake in self.mistakes],
            KEY: self.answers.to_dict(),
            "names": self.names,
            "digests": self.faces,
            "copies": None if self.copies is None else self.copies.tolist(),
            "probabilities": self.probabilities.tolist(),
        }

    def to_json(self) -> str:
        """The same as text, a line for each entry."""
        lines = (f"{json.dumps(key)}: {json.dumps(value)}" for key, value in self.to_dict().items())
        return "{\n" + ",\n".join(lines) + "\n}\n"

    @classmethod
    def read(cls, path: str | os.PathLike[str]) -> Evaluation:
        """The evaluation in a report.json, or in the folder that holds it."""
        answers = Answers.read(path)
        file = result_file(path)
        content = read_result(file)
        if content.get("format") != FORMAT:
            raise DataError(
                f"{file} has the format {content.get('format')!r}, and this reads {FORMAT}. It is "
                f"no report, or of another version: {content.get('made_by', 'unknown')}."
            )
        with in_result(file):
            evaluation = cls(
                str(content["model"]),
                str(content["split"]),
                answers.labels,
                tuple(map(str, content["names"])),
                tuple(map(str, content["digests"])),
                answers.truth,
                answers.predicted,
                np.array(content["probabilities"], np.float64),
                answers.copies,
                tuple(_mistake(fields) for fields in content["mistakes"]),
                _costs(content["costs"]),
                tuple(map(str, content["failures"])),
                tuple(map(str, content["data"])),
            )
            count = len(evaluation.truth)
            if len(evaluation.names) != count or len(evaluation.faces) != count:
                raise ValueError("its lists are not of one length")
            if evaluation.probabilities.shape != (count, len(answers.labels)):
                raise ValueError("its probabilities do not fit the faces and labels")
            if evaluation.answers.faces != answers.faces:
                raise ValueError("its digests are of other faces than its answers")
        return evaluation


def evaluate(
    pipeline: Pipeline,
    data: Dataset,
    training: Dataset | None = None,
    *,
    model: str | os.PathLike[str] = "",
    mistakes: int = 24,
    neighbours: int = 5,
    near: bool = True,
    progress: Progress | None = None,
) -> Evaluation:
    """A fitted pipeline's answers to labelled faces, its worst mistakes and its costs.

    With `training` each mistake stands beside the training faces whose vectors are nearest, and
    faces that have copies in the training data are known; `near=False` looks for exact ones alone.
    `model` is what the report calls the pipeline; of a saved one's path or name the size is told,
    too. Vectors come from the pipeline's store. Faces that cannot be read stand in `failures`.
    Costs that only the caller knows are added with `dataclasses.replace`.
    """
    embedder = pipeline.checked_embedder()
    started = time.perf_counter()
    embedded = embedder.embed(data.images)
    seconds = time.perf_counter() - started
    places = embedded.positions
    if len(places) < len(data):
        data = data.take(places, {"step": "read", "kept": len(places), "of": len(data)})
    probabilities = pipeline.probabilities(embedded.vectors)
    labels = Report.from_predictions(data.labels, probabilities, pipeline.classes_).labels
    classes = pipeline.classes_.astype(str).tolist()
    faces = tuple(face_digests(data.images, pipeline.max_pixels))
    all_new = embedded.computed == len(set(faces)) * len(embedder.requests)
    evaluation = Evaluation(
        os.fspath(model),
        ", ".join(data.counts()),
        labels,
        tuple(data.images.name(i) for i in range(len(data))),
        faces,
        np.array([labels.index(label) for label in data.labels.tolist()], np.int64),
        np.array([labels.index(classes[best]) for best in probabilities.argmax(axis=1)], np.int64),
        probabilities[:, [classes.index(label) for label in labels]],
        costs=Costs(
            embed_seconds=seconds if all_new else None,
            predict_ms=_predict_ms(pipeline, data),
            bytes=_bytes(pipeline, model),
        ),
        failures=tuple(failure.reason for failure in embedded.failures),
        data=tuple(story(data.provenance)),
    )
    worst = _worst(evaluation, mistakes)
    near_each: list[list[Neighbour]] = [[] for _ in worst]
    copies = None
    if training is not None:
        near_each = _neighbours(embedder, training, embedded.vectors[worst], neighbours)
        groups = audit(merge(training, data), near=near, progress=progress).copies
        copies = np.isin(groups[len(training) :], groups[: len(training)])
    sheet = tuple(
        Mistake(
            evaluation.names[i],
            labels[evaluation.truth[i]],
            labels[evaluation.predicted[i]],
            float(evaluation.probabilities[i].max()),
            _picture(data.images[int(i)]),
            tuple(found),
        )
        for i, found in zip(worst, near_each, strict=True)
    )
    return replace(evaluation, mistakes=sheet, copies=copies)


def scored_on(split: str) -> str:
    """A sentence about the faces that were scored."""
    if split == "unsplit":
        return (
            "Scored on all faces, since the data set has no splits: if the model was trained on "
            "them, the scores are optimistic."
        )
    return f"Scored on the {split} split."


def _worst(evaluation: Evaluation, count: int) -> NDArray[np.intp]:
    """Where the wrong answers are, the most confident first."""
    wrong = np.flatnonzero(evaluation.predicted != evaluation.truth)
    confidence = evaluation.probabilities[wrong].max(axis=1)
    return wrong[np.argsort(-confidence, kind="stable")[:count]]


def _neighbours(
    embedder: Embedder, training: Dataset, vectors: Vectors, count: int
) -> list[list[Neighbour]]:
    """For each vector the training faces nearest to it, in bounded memory."""
    if not len(vectors):
        return []
    asked = vectors.astype(np.float64)
    squares = np.full((len(asked), 0), np.inf)
    places = np.zeros((len(asked), 0), np.intp)
    for part in embedder.stream(training.images):
        known = part.vectors.astype(np.float64)
        away = (asked**2).sum(axis=1)[:, None] - 2 * asked @ known.T + (known**2).sum(axis=1)
        squares = np.concatenate([squares, away], axis=1)
        places = np.concatenate([places, np.tile(part.positions, (len(asked), 1))], axis=1)
        nearest = np.argsort(squares, axis=1, kind="stable")[:, :count]
        squares = np.take_along_axis(squares, nearest, axis=1)
        places = np.take_along_axis(places, nearest, axis=1)
    distances = np.sqrt(np.maximum(squares, 0))
    labels = training.labels.tolist()
    return [
        [
            Neighbour(
                training.images.name(place),
                labels[place],
                distance,
                _picture(training.images[place]),
            )
            for place, distance in zip(*row, strict=True)
        ]
        for row in zip(places.tolist(), distances.tolist(), strict=True)
    ]


def _picture(source: Source) -> str | None:
    """A small JPEG of a face as a data: URI; None where it cannot be read any more."""
    import PIL.Image

    try:
        image = load_image(source)
    except ImageError:
        return None
    gray = (image == image[..., :1]).all()
    small = PIL.Image.fromarray(image[..., 0] if gray else image)
    small.thumbnail((_SIDE, _SIDE))
    file = io.BytesIO()
    small.save(file, "JPEG", quality=88, optimize=True)
    return _INLINE + base64.b64encode(file.getvalue()).decode()


def _predict_ms(pipeline: Pipeline, data: Dataset) -> float | None:
    """The median time of one face; None where the weights are not here, only vectors were."""
    chosen = np.linspace(0, len(data) - 1, min(_TIMED, len(data))).astype(int).tolist()
    fresh = copy.copy(pipeline).set_params(store="none", verbose=False)
    times = []
    try:
        faces = [load_image(data.images[i], pipeline.max_pixels) for i in chosen]
        fresh.predict_proba(faces[:1])  # which loads the network
        for face in faces:
            started = time.perf_counter()
            fresh.predict_proba([face])
            times.append(time.perf_counter() - started)
    except FerembedError:
        return None
    return 1000 * float(np.median(times))


def _bytes(pipeline: Pipeline, model: str | os.PathLike[str]) -> int | None:
    """Of a saved model and the weights it needs beside it; None where it is not saved."""
    try:
        place = bundle.find(model)
    except (ModelError, UnknownName):
        return None
    if not place.is_file() and not (place / bundle.MANIFEST).exists():
        return None
    files = [place] if place.is_file() else [file for file in place.iterdir() if file.is_file()]
    for name, weights in {(one.name, one.weights) for one in pipeline.embedder.requests}:
        known = BACKBONES[name].weights
        if weights is None and known is not None and (path := known.find()):
            files.append(path)
    return sum(file.stat().st_size for file in files)


def _mistake(fields: dict[str, Any]) -> Mistake:
    return Mistake(
        str(fields["name"]),
        str(fields["truth"]),
        str(fields["answer"]),
        float(fields["confidence"]),
        _inline(fields["picture"]),
        tuple(
            Neighbour(
                str(one["name"]),
                str(one["label"]),
                float(one["distance"]),
                _inline(one["picture"]),
            )
            for one in fields["neighbours"]
        ),
    )


def _inline(picture: str | None) -> str | None:
    """A picture that a page can show without asking anybody for it."""
    if picture is not None and not picture.startswith(_INLINE):
        raise ValueError("a picture is not in the file itself")
    return picture


def _costs(fields: dict[str, Any]) -> Costs:
    names = "embed_seconds", "fit_seconds", "predict_ms", "bytes"
    *times, size = (None if fields[name] is None else float(fields[name]) for name in names)
    return Costs(times[0], times[1], times[2], None if size is None else int(size))
