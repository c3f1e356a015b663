"""A small pipeline and its evaluation."""

import numpy as np
import pytest

from ferembed.datasets import Dataset
from ferembed.evaluation.evaluation import evaluate
from ferembed.pipeline import Pipeline


@pytest.fixture(scope="module")
def pipeline(faces, labels, tmp_path_factory):
    store = tmp_path_factory.mktemp("store") / "vectors.sqlite"
    made = Pipeline("cnn-a", "knn", weights="random", store=store)
    return made.set_params(head__n_neighbors=3).fit(faces[:18], labels[:18])


@pytest.fixture(scope="module")
def training(faces, labels):
    return Dataset.from_images(faces[:18], labels[:18], ["train"] * 18)


@pytest.fixture(scope="module")
def unseen(faces, labels):
    """Six new faces, two of them duplicates of training faces: one exact, one a little brighter."""
    brighter = np.clip(faces[3].astype(int) + 5, 0, 255).astype(np.uint8)
    pictures = [*faces[18:], faces[0], brighter]
    return Dataset.from_images(pictures, [*labels[18:], "sad", "sad"], ["validation"] * 8)


@pytest.fixture(scope="module")
def evaluation(pipeline, unseen, training):
    return evaluate(pipeline, unseen, training, model="three neighbours")
