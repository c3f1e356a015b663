"""Vectors for stores, and a count of those that are computed."""

import numpy as np

from ferembed.storage.embeddings import EmbeddingSpec

RECIPE = EmbeddingSpec("f" * 64, '{"backbone": "test", "layer": "l"}', 8)
OTHER = EmbeddingSpec("e" * 64, '{"backbone": "test", "layer": "m"}', 8)


def keys(*numbers):
    return [f"{number:032d}".encode() for number in numbers]


def vector(number):
    return np.arange(8, dtype=np.float32) + number


class Counting:
    """Computes what is asked for, in batches, and remembers the positions."""

    def __init__(self, numbers, batch=4, leave_out=()):
        self.numbers, self.batch, self.leave_out = numbers, batch, leave_out
        self.asked = []

    def __call__(self, missing):
        for start in range(0, len(missing), self.batch):
            some = [i for i in missing[start : start + self.batch] if i not in self.leave_out]
            self.asked += some
            yield some, np.array([vector(self.numbers[i]) for i in some]).reshape(-1, 8)


def fetch(store, numbers, recipe=RECIPE, **options):
    counting = Counting(numbers, **options)
    return store.fetch(recipe, keys(*numbers), counting), counting.asked
