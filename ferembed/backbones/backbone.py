"""Backbone: the abstract class of everything that turns faces into vectors."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable
from itertools import islice

import numpy as np

from ferembed.backbones.preprocess import Preprocess
from ferembed.errors import WeightsError
from ferembed.images import Image
from ferembed.storage.embeddings import Vectors


class Backbone(ABC):
    """Turns faces into vectors. A subclass implements `forward`.

    >>> class Brightness(Backbone):
    ...     def forward(self, batch):
    ...         return batch.mean(axis=(1, 2))
    >>> Brightness(Preprocess(size=8), dim=1).embed([np.full((9, 9, 3), 255, np.uint8)])
    array([[1.]], dtype=float32)
    """

    def __init__(self, preprocess: Preprocess, dim: int) -> None:
        self.preprocess = preprocess
        self.dim = dim

    @abstractmethod
    def forward(self, batch: Vectors) -> Vectors:
        """(n, dim) from a batch of (n, size, size, channels) made by `preprocess`."""

    def embed(self, faces: Iterable[Image], batch_size: int = 64) -> Vectors:
        """(n, dim) float32, a row per face. A face has the same vector alone and in a batch.

        Faces are read one by one and resized at once, so large ones fit in memory.
        """
        batches = [np.empty((0, self.dim), np.float32)]
        faces = iter(faces)
        while len(batch := self.preprocess(islice(faces, batch_size))):
            batches.append(self.checked_forward(batch))
        return np.concatenate(batches)

    def checked_forward(self, batch: Vectors) -> Vectors:
        """The vectors of a batch, after checking their shape and that all values are finite."""
        vectors = self.forward(batch)
        if vectors.shape != (len(batch), self.dim):
            raise WeightsError(
                f"{type(self).__name__} gave vectors of the shape {vectors.shape}, "
                f"expected {(len(batch), self.dim)}."
            )
        if not np.isfinite(vectors).all():
            raise WeightsError(
                f"{type(self).__name__} gave NaN or infinite values: its weights are damaged."
            )
        return np.asarray(vectors, np.float32)
