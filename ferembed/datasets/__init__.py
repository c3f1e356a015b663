"""Data sets of faces: open them in many formats, audit, merge, split, balance and write them.

>>> from ferembed import datasets
>>> faces = datasets.open("fer2013.zip")  # doctest: +SKIP
>>> parts = datasets.split(faces, {"train": 60, "validation": 20, "test": 20})  # doctest: +SKIP

`open` reads a folder or zip of class folders, a FER2013 CSV, a CSV of names and labels, and FER+
votes on any of these. Every operation returns a new Dataset and adds a step to its `provenance`.
"""

from ferembed._progress import Progress
from ferembed.datasets.audit import Audit, audit
from ferembed.datasets.cleaning import build, clean
from ferembed.datasets.cropping import crop
from ferembed.datasets.dataset import Dataset
from ferembed.datasets.description import Description, describe
from ferembed.datasets.operations import (
    balance,
    merge,
    mirror,
    select_classes,
    split,
    split_or_all,
)
from ferembed.datasets.reading import open, pictures
from ferembed.datasets.vectors import VectorSet, is_vector_set, open_vectors
from ferembed.datasets.votes import VoteRules
from ferembed.datasets.writing import write

__all__ = [
    "Audit",
    "Dataset",
    "Description",
    "Progress",
    "VectorSet",
    "VoteRules",
    "audit",
    "balance",
    "build",
    "clean",
    "crop",
    "describe",
    "is_vector_set",
    "merge",
    "mirror",
    "open",
    "open_vectors",
    "pictures",
    "select_classes",
    "split",
    "split_or_all",
    "write",
]
