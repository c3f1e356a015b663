"""Evaluation: the predictions of one classifier for one set of faces, and all that a report shows.

faces = datasets.open("fer2013.zip")
evaluation = evaluate(Pipeline.load("default"), faces.split("validation"), faces.split("train"))
write_report("report", evaluation, language="es")
"""

from __future__ import annotations

import copy
import json
import os
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from hashlib import sha256
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ferembed import __version__
from ferembed._progress import Progress
from ferembed.backbones import BACKBONES
from ferembed.datasets import Dataset
from ferembed.datasets.dataset import provenance_lines
from ferembed.datasets.picture_facts import PictureFacts, join_facts
from ferembed.embedder import Embedded
from ferembed.errors import DataError, FerembedError, ImageError, ModelError, UnknownName
from ferembed.evaluation.action_units import Confusability
from ferembed.evaluation.mistakes import Mistake, find_mistakes
from ferembed.evaluation.predictions import (
    KEY,
    Predictions,
    digest_of_all,
    in_result,
    read_result,
    result_file,
)
from ferembed.evaluation.setup import Setup
from ferembed.images import LoadedSource
from ferembed.persistence import bundle
from ferembed.pipeline import Pipeline
from ferembed.report import Report
from ferembed.translations import Translator

FORMAT = 2

_TIMED = 20  # faces that are predicted one by one to measure the latency


@dataclass(frozen=True)
class Costs:
    """Time and size; None where it was not measured.

    embed_seconds : to embed the faces, if none of their vectors was in the store
    fit_seconds : to fit the head
    predict_ms : from the pixels of one face to its prediction, the median of some faces
    bytes : of the saved model and of the weights that it needs besides
    """

    embed_seconds: float | None = None
    fit_seconds: float | None = None
    predict_ms: float | None = None
    bytes: int | None = None

    @classmethod
    def from_dict(cls, fields: Mapping[str, Any]) -> Costs:
        def number(name: str) -> float | None:
            return None if fields[name] is None else float(fields[name])

        size = number("bytes")
        return cls(
            embed_seconds=number("embed_seconds"),
            fit_seconds=number("fit_seconds"),
            predict_ms=number("predict_ms"),
            bytes=None if size is None else int(size),
        )


@dataclass(frozen=True, eq=False, kw_only=True)
class Evaluation:
    """The predictions of one classifier for one set of faces.

    `targets`, `predicted` and the columns of `probabilities` follow `labels`; `names` and `digests`
    (a sha256 of the content) have an entry for each face. `duplicates` marks the faces that have a
    duplicate or near-duplicate in the training data, None where this is unknown. `failures` are
    faces that could not be read, `data` lines about the origin of the faces.
    """

    model: str
    split: str
    labels: tuple[str, ...]
    names: tuple[str, ...] = field(repr=False)
    digests: tuple[str, ...] = field(repr=False)
    targets: NDArray[np.int64] = field(repr=False)
    predicted: NDArray[np.int64] = field(repr=False)
    probabilities: NDArray[np.float64] = field(repr=False)
    duplicates: NDArray[np.bool_] | None = field(default=None, repr=False)
    mistakes: tuple[Mistake, ...] = field(default=(), repr=False)
    costs: Costs = Costs()
    setup: Setup | None = None
    failures: tuple[str, ...] = ()
    data: tuple[str, ...] = field(default=(), repr=False)

    @property
    def predictions(self) -> Predictions:
        """The predictions for `compare`."""
        return Predictions(
            labels=self.labels,
            faces=digest_of_all(self.digests),
            targets=self.targets,
            predicted=self.predicted,
            name=self.model,
            duplicates=self.duplicates,
        )

    def report(self, *, deduplicated: bool = False) -> Report:
        """The scores, on all faces or on those without a duplicate in the training data."""
        kept = np.ones(len(self.targets), np.bool_)
        if deduplicated:
            if self.duplicates is None:
                raise DataError(
                    "Duplicates are unknown: evaluate with the training data to find them."
                )
            kept = ~self.duplicates
        words = np.array(self.labels)
        targets, predicted = (words[codes[kept]] for codes in (self.targets, self.predicted))
        return Report.from_predictions(targets, self.probabilities[kept], self.labels, predicted)

    @property
    def confusability(self) -> Confusability:
        """The confusions compared with the overlaps of action units."""
        return Confusability.from_confusion(self.labels, self.report().confusion)

    def facts(self) -> dict[str, Any]:
        """The scores as plain data, on all faces and on those without a duplicate."""
        facts = {**self.report().to_dict(), "split": self.split}
        if self.duplicates is not None:
            facts["duplicates"] = int(self.duplicates.sum())
            if not self.duplicates.all():
                facts["deduplicated"] = self.report(deduplicated=True).to_dict()
        return facts

    def summary(self, language: str = "en") -> str:
        """The scores as text for a terminal, with the split and the duplicates."""
        report, tr = self.report(), Translator(language)
        lines = [report.table(language), "", scored_on(self.split, language)]
        if self.duplicates is not None:
            found, count = int(self.duplicates.sum()), report.count
            line = tr("in training", duplicates=tr.count(found), count=tr.count(count))
            if found < count:
                others = self.report(deduplicated=True)
                line += tr(
                    "scores without",
                    accuracy=tr.percent(others.accuracy),
                    macro_f1=f"{others.macro_f1:.3f}",
                )
            lines.append(f"{line}.")
        return "\n".join(lines)

    def to_dict(self) -> dict[str, Any]:
        """All of it, with the scores; `read` needs only the predictions."""
        some_new = self.duplicates is not None and not self.duplicates.all()
        deduplicated = self.report(deduplicated=True).to_dict() if some_new else None
        return {
            "format": FORMAT,
            "made_by": f"ferembed {__version__}",
            "model": self.model,
            "setup": None if self.setup is None else asdict(self.setup),
            "split": self.split,
            "data": self.data,
            "scores": self.report().to_dict(),
            "scores_deduplicated": deduplicated,
            "action_units": asdict(self.confusability),
            "costs": asdict(self.costs),
            "failures": self.failures,
            "mistakes": [asdict(mistake) for mistake in self.mistakes],
            KEY: self.predictions.to_dict(),
            "names": self.names,
            "digests": self.digests,
            "duplicates": None if self.duplicates is None else self.duplicates.tolist(),
            "probabilities": self.probabilities.tolist(),
        }

    def to_json(self) -> str:
        """The same as text, one line for each entry."""
        lines = (f"{json.dumps(key)}: {json.dumps(value)}" for key, value in self.to_dict().items())
        return "{\n" + ",\n".join(lines) + "\n}\n"

    @classmethod
    def read(cls, path: str | os.PathLike[str]) -> Evaluation:
        """The evaluation in a report.json, or in the folder that holds it."""
        file = result_file(path)
        content = read_result(file)
        if content.get("format") != FORMAT:
            raise DataError(
                f"{file} has the format {content.get('format')!r}, and this version reads {FORMAT}."
                f" It is not a report, or of another version: {content.get('made_by', 'unknown')}."
            )
        predictions = Predictions.read(path)
        with in_result(file):
            evaluation = cls(
                model=str(content["model"]),
                split=str(content["split"]),
                labels=predictions.labels,
                names=tuple(map(str, content["names"])),
                digests=tuple(map(str, content["digests"])),
                targets=predictions.targets,
                predicted=predictions.predicted,
                probabilities=np.array(content["probabilities"], np.float64),
                duplicates=predictions.duplicates,
                mistakes=tuple(map(Mistake.from_dict, content["mistakes"])),
                costs=Costs.from_dict(content["costs"]),
                setup=Setup.from_dict(setup) if (setup := content.get("setup")) else None,
                failures=tuple(map(str, content["failures"])),
                data=tuple(map(str, content["data"])),
            )
            count = len(evaluation.targets)
            if len(evaluation.names) != count or len(evaluation.digests) != count:
                raise ValueError("its lists have different lengths")
            if evaluation.probabilities.shape != (count, len(predictions.labels)):
                raise ValueError("its probabilities do not fit the faces and labels")
            if evaluation.predictions.faces != predictions.faces:
                raise ValueError("its digests and its predictions are of different faces")
        return evaluation


def evaluate(
    pipeline: Pipeline,
    data: Dataset,
    training: Dataset | None = None,
    *,
    model: str | os.PathLike[str] = "",
    mistakes: int = 24,
    neighbours: int = 5,
    near_duplicates: bool = True,
    progress: Progress | None = None,
) -> Evaluation:
    """The evaluation of a fitted pipeline on labelled faces, with its worst mistakes and costs.

    With `training` each mistake has the nearest training faces, and faces with duplicates in the
    training data are marked; `near_duplicates=False` looks for exact duplicates only. `model` is
    the name of the pipeline in the report; if it is the path or the name of a saved model, the
    costs include its size. Vectors come from the pipeline's store. Faces that cannot be read are
    listed in `failures`. Costs that only the caller knows are added with `dataclasses.replace`.

    Each picture is read once; those of the mistakes and of their neighbours are read again.
    """
    embedder = pipeline.checked_embedder()
    embedder.progress = progress or embedder.progress
    seen = _Seen(len(data), training, near_duplicates, pipeline.max_pixels, _TIMED)
    started = time.perf_counter()
    embedded = embedder.embed(data.images, see=seen)
    seconds = time.perf_counter() - started - seen.seconds
    places = embedded.positions
    if len(places) < len(data):
        data = data.take(places, {"step": "read", "kept": len(places), "of": len(data)})
    evaluation = _predict(pipeline, data, embedded, os.fspath(model))
    all_new = embedded.computed == len(set(evaluation.digests)) * len(embedder.requests)
    known = _Seen(len(training or ()), training, near_duplicates, pipeline.max_pixels)
    found = find_mistakes(
        evaluation.predictions,
        evaluation.probabilities,
        data,
        embedded.vectors,
        embedder,
        training,
        count=mistakes,
        neighbours=neighbours,
        see=known,
    )
    return replace(
        evaluation,
        costs=Costs(
            embed_seconds=seconds if all_new else None,
            predict_ms=_predict_ms(pipeline, seen.timed),
            bytes=_bytes(pipeline, model),
        ),
        setup=Setup.from_pipeline(pipeline),
        duplicates=None if training is None else _duplicates(known.facts, seen.facts)[places],
        mistakes=found,
    )


def scored_on(split: str, language: str = "en") -> str:
    """A sentence for a terminal about the split that was scored."""
    tr = Translator(language)
    return tr("scored on all") if split == "unsplit" else tr("scored on", split=split)


def _predict(pipeline: Pipeline, data: Dataset, embedded: Embedded, model: str) -> Evaluation:
    """The predictions for the faces that were embedded."""
    probabilities = pipeline.probabilities(embedded.vectors)
    labels = Report.from_predictions(data.labels, probabilities, pipeline.classes_).labels
    classes = pipeline.classes_.astype(str).tolist()
    best = probabilities.argmax(axis=1)
    return Evaluation(
        model=model,
        split=", ".join(data.counts()),
        labels=labels,
        names=tuple(data.images.name(i) for i in range(len(data))),
        digests=tuple(sha256(digest).hexdigest() for digest in embedded.digests),
        targets=np.array([labels.index(label) for label in data.labels.tolist()], np.int64),
        predicted=np.array([labels.index(classes[code]) for code in best], np.int64),
        probabilities=probabilities[:, [classes.index(label) for label in labels]],
        failures=tuple(failure.reason for failure in embedded.failures),
        data=tuple(provenance_lines(data.provenance)),
    )


class _Seen:
    """Collects facts about faces while they are in memory, so that each file is read once.

    With training data it collects the facts by which duplicates are found. `timed` holds the
    content of some faces, and `seconds` is the time that collecting took.
    """

    def __init__(
        self, count: int, training: Dataset | None, near: bool, max_pixels: int, timed: int = 0
    ) -> None:
        self.facts = PictureFacts.empty(0 if training is None else count, near)
        self.timed: list[LoadedSource] = []
        self.seconds = 0.0
        self._max_pixels = max_pixels
        self._chosen = set(np.linspace(0, count - 1, min(timed, count)).astype(int).tolist())

    def __call__(self, position: int, content: LoadedSource) -> None:
        started = time.perf_counter()
        if position in self._chosen:
            self.timed.append(content)
        if self.facts.pixels:
            with suppress(ImageError):
                self.facts.add(position, content.image(self._max_pixels))
        self.seconds += time.perf_counter() - started


def _duplicates(training: PictureFacts, faces: PictureFacts) -> NDArray[np.bool_]:
    """The faces with a duplicate in the training data."""
    groups = join_facts([training, faces]).groups
    count = len(training.pixels)
    return np.isin(groups[count:], groups[:count])


def _predict_ms(pipeline: Pipeline, contents: Sequence[LoadedSource]) -> float | None:
    """The median latency of one face; None if only its vectors are here, not the weights."""
    fresh = copy.copy(pipeline).set_params(store="none", progress=None)
    times = []
    faces = []
    for content in contents:
        with suppress(ImageError):  # a face that could not be read
            faces.append(content.image(pipeline.max_pixels))
    try:
        fresh.predict_proba(faces[:1])  # loads the network
        for face in faces:
            started = time.perf_counter()
            fresh.predict_proba([face])
            times.append(time.perf_counter() - started)
    except FerembedError:
        return None
    return 1000 * float(np.median(times))


def _bytes(pipeline: Pipeline, model: str | os.PathLike[str]) -> int | None:
    """The size of a saved model and of the weights that it needs besides; None if not saved."""
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
