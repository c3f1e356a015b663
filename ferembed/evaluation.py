"""Evaluation: one classifier's answers to one set of faces, with everything a report shows.

evaluation = evaluate(Pipeline.load("default"), faces.split("validation"), faces.split("train"))
pages.write_report("report", evaluation, language="es")
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ferembed.datasets import Dataset, Progress
from ferembed.pipeline import Pipeline


@dataclass(frozen=True)
class Costs:
    """What the answers cost; None where nobody measured it.

    embed_seconds : to embed the faces, if none of their vectors was in the store
    fit_seconds : to fit the head
    predict_ms : from one face's pixels to its answer
    bytes : of the head and of the weights that make the vectors, on disk
    """

    embed_seconds: float | None = None
    fit_seconds: float | None = None
    predict_ms: float | None = None
    bytes: int | None = None


@dataclass(frozen=True)
class Neighbour:
    """A face of the training data: what it is called, and how far its vector is away."""

    name: str
    label: str
    distance: float
    picture: str | None  # a data: URI; None where it can no longer be read


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

    `truth` and the columns of `probabilities` follow `labels`; `faces` has a sha256 for each face.
    `copies` says which faces have an exact or near copy in the training data, None if unknown.
    """

    model: str
    split: str
    labels: tuple[str, ...]
    names: tuple[str, ...]
    faces: tuple[str, ...]
    truth: NDArray[np.int64]
    probabilities: NDArray[np.float64]
    copies: NDArray[np.bool_] | None = None
    mistakes: tuple[Mistake, ...] = ()
    costs: Costs = Costs()
    failures: tuple[str, ...] = ()


def evaluate(
    pipeline: Pipeline,
    data: Dataset,
    training: Dataset | None = None,
    *,
    model: str = "",
    mistakes: int = 24,
    neighbours: int = 5,
    near: bool = True,
    progress: Progress | None = None,
) -> Evaluation:
    """A fitted pipeline's answers to labelled faces, its worst mistakes and its costs.

    With `training` each mistake stands beside the training faces whose vectors are nearest, and
    faces with copies in the training data are known; `near=False` looks for exact copies alone.
    Vectors come from the pipeline's store. Faces that cannot be read are named in `failures`.
    To add what only the caller knows: `replace(evaluation, costs=replace(evaluation.costs,
    fit_seconds=...))`, with `dataclasses.replace`.
    """
    raise NotImplementedError
