from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from ferembed import datasets
from ferembed.errors import DataError, LabelError
from ferembed.images import load_image
from tests.helpers.datasets import TREE, value, zip_tree


def test_select_keeps_labels_with_their_pictures(tmp_path: Path) -> None:
    faces = datasets.open(zip_tree(tmp_path / "x.zip", TREE))
    assert [value(image) for image in faces.select([2, 0]).images] == [2, 0]
    happy = faces.select(faces.labels == "happy")
    assert [(label, value(image)) for image, label, _ in happy] == [("happy", 1), ("happy", 2)]
    assert happy.provenance[-1] == {"step": "select", "kept": 2, "of": 3}
    assert json.loads(json.dumps(happy.provenance)) == list(happy.provenance)
    with pytest.raises(DataError, match="A mask of 2 does not fit 3 pictures"):
        faces.select([True, False])


def test_pictures_in_memory_are_a_data_set_too(faces: np.ndarray, labels: np.ndarray) -> None:
    held = datasets.Dataset.from_images(faces, labels)
    assert held.labels.tolist() == labels.tolist()
    np.testing.assert_array_equal(load_image(held.images[5])[:, :, 1], faces[5])
    with pytest.raises(LabelError, match="24 pictures, 23 labels and no splits do not fit"):
        datasets.Dataset.from_images(faces, labels[1:])
