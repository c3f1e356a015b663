"""Models saved for the tests of this folder."""

import pytest

from ferembed import Pipeline
from ferembed.heads import HEADS
from tests.helpers.models import fitted

SMALL = {
    "approximate-knn": {"n_neighbors": 3},
    "knn": {"n_neighbors": 3},
    "bagged-svm": {"n_estimators": 2, "max_samples": 20},
    "forest": {"n_jobs": 1},
}


@pytest.fixture(scope="module")
def models(tmp_path_factory, faces, labels):
    """A small saved model of every head, by the head's name."""
    folder = tmp_path_factory.mktemp("models")
    for name in HEADS:
        head = HEADS[name].make().set_params(**SMALL.get(name, {}))
        made = Pipeline("cnn-a", head, weights="random", store="memory", detector=None)
        made.fit(faces, labels).save(folder / name)
    return folder


@pytest.fixture
def saved(tmp_path, faces, labels):
    fitted(faces, labels).save(tmp_path / "model")
    return tmp_path / "model"
