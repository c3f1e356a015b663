"""Data sets of faces: opened in any format that people have, merged, split, balanced, written.

>>> from ferembed import datasets
>>> faces = datasets.open("fer2013.zip")  # doctest: +SKIP
>>> parts = datasets.split(faces, {"train": 60, "validation": 20, "test": 20})  # doctest: +SKIP

`open` reads a folder or zip of class folders, a FER2013 CSV, a CSV of names and labels, and FER+
votes on any of these. Every operation gives a new Dataset and adds a step to its `provenance`.
"""

from ferembed._progress import Progress
from ferembed.datasets.cropping import crop
from ferembed.datasets.dataset import Dataset
from ferembed.datasets.description import Description, describe
from ferembed.datasets.operations import balance, merge, mirror, only, split
from ferembed.datasets.reading import open, pictures
from ferembed.datasets.vectors import VectorSet, open_vectors
from ferembed.datasets.votes import VoteRules
from ferembed.datasets.writing import write

__all__ = [
    "Dataset",
    "Description",
    "Progress",
    "VectorSet",
    "VoteRules",
    "balance",
    "crop",
    "describe",
    "merge",
    "mirror",
    "only",
    "open",
    "open_vectors",
    "pictures",
    "split",
    "write",
]
