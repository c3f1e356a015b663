from __future__ import annotations

import pickle
from pathlib import Path

from ferembed import datasets
from tests.helpers.datasets import TREE, value, write_tree


def test_a_data_set_travels_by_pickle(tmp_path: Path) -> None:
    faces = pickle.loads(pickle.dumps(datasets.open(write_tree(tmp_path, TREE))))
    assert [value(image) for image in faces.images] == [2, 0, 1]
