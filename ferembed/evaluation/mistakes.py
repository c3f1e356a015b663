"""The most confident mistakes of a classifier, each with the nearest training faces."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ferembed.datasets import Dataset
from ferembed.embedder import Embedder, See
from ferembed.errors import ImageError
from ferembed.evaluation.predictions import Predictions
from ferembed.images import Source, load_image, open_source
from ferembed.storage.embeddings import Vectors

_SIDE = 96  # pixels of a picture in a report, at most
_INLINE = "data:image/jpeg;base64,"


@dataclass(frozen=True)
class Neighbour:
    """A training face and the distance of its vector."""

    name: str
    label: str
    distance: float
    picture: str | None  # a data: URI; None if it can no longer be read

    @classmethod
    def from_dict(cls, fields: Mapping[str, Any]) -> Neighbour:
        return cls(
            str(fields["name"]),
            str(fields["label"]),
            float(fields["distance"]),
            _checked_picture(fields["picture"]),
        )


@dataclass(frozen=True, kw_only=True)
class Mistake:
    """A wrong prediction, and the training faces nearest to the face."""

    name: str
    target: str
    predicted: str
    confidence: float
    picture: str | None
    neighbours: tuple[Neighbour, ...] = ()

    @classmethod
    def from_dict(cls, fields: Mapping[str, Any]) -> Mistake:
        return cls(
            name=str(fields["name"]),
            target=str(fields["target"]),
            predicted=str(fields["predicted"]),
            confidence=float(fields["confidence"]),
            picture=_checked_picture(fields["picture"]),
            neighbours=tuple(map(Neighbour.from_dict, fields["neighbours"])),
        )


def find_mistakes(
    predictions: Predictions,
    probabilities: NDArray[np.float64],
    data: Dataset,
    vectors: Vectors,
    embedder: Embedder,
    training: Dataset | None,
    *,
    count: int,
    neighbours: int,
    see: See,
) -> tuple[Mistake, ...]:
    """The most confident wrong predictions, each with training faces where those are given.

    `probabilities` and `vectors` have a row for each picture of `data`. `see` is called with the
    position and the content of each training face.
    """
    worst = _most_confident(predictions, probabilities, count)
    near: list[list[Neighbour]] = [[] for _ in worst]
    if training is not None:
        near = _nearest(embedder, training, vectors[worst], neighbours, see)
    return tuple(
        Mistake(
            name=data.images.name(int(i)),
            target=predictions.labels[predictions.targets[i]],
            predicted=predictions.labels[predictions.predicted[i]],
            confidence=float(probabilities[i].max()),
            picture=_picture(data.images[int(i)]),
            neighbours=tuple(found),
        )
        for i, found in zip(worst, near, strict=True)
    )


def _most_confident(
    predictions: Predictions, probabilities: NDArray[np.float64], count: int
) -> NDArray[np.intp]:
    """Positions of wrong predictions, the most confident first."""
    wrong = np.flatnonzero(predictions.predicted != predictions.targets)
    confidence = probabilities[wrong].max(axis=1)
    return wrong[np.argsort(-confidence, kind="stable")[:count]]


def _nearest(
    embedder: Embedder, training: Dataset, vectors: Vectors, count: int, see: See
) -> list[list[Neighbour]]:
    """The nearest training faces of each vector, in bounded memory."""
    if not len(vectors):  # those of training faces are not needed, either
        for position, image in enumerate(training.images):
            with suppress(ImageError):
                see(position, open_source(image))
        return []
    queries = vectors.astype(np.float64)
    squares = np.full((len(queries), 0), np.inf)
    places = np.zeros((len(queries), 0), np.intp)
    for part in embedder.stream(training.images, see=see):
        known = part.vectors.astype(np.float64)
        away = (queries**2).sum(axis=1)[:, None] - 2 * queries @ known.T + (known**2).sum(axis=1)
        squares = np.concatenate([squares, away], axis=1)
        places = np.concatenate([places, np.tile(part.positions, (len(queries), 1))], axis=1)
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
    """A small JPEG of a face as a data: URI; None if it can no longer be read."""
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


def _checked_picture(picture: str | None) -> str | None:
    """A picture that a page can show without loading it from elsewhere."""
    if picture is not None and not picture.startswith(_INLINE):
        raise ValueError("a picture is not stored in the file itself")
    return picture
