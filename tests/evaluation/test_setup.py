import numpy as np
import pytest

from ferembed import Pipeline
from ferembed.evaluation.setup import Setup


def test_a_setup_names_the_backbones_the_head_and_the_parameters_that_were_chosen(faces, labels):
    pipeline = Pipeline(
        ["cnn-a", "cnn-b"], "knn", weights="random", store="memory", detector="haar"
    )
    pipeline.set_params(head__n_neighbors=3).fit(faces, labels)
    setup = Setup.from_pipeline(pipeline)
    assert setup.backbone == "cnn-a + cnn-b"
    assert setup.head == type(pipeline.head_).__name__
    assert setup.parameters["n_neighbors"] == "3"
    assert setup.detector == "haar"
    assert Setup.from_dict({**vars(setup), "parameters": dict(setup.parameters)}) == setup
    np.datetime64(setup.date.removesuffix(" UTC"))


@pytest.mark.parametrize("head", ["svm", "softmax"])
def test_defaults_are_not_listed(faces, labels, head):
    pipeline = Pipeline("cnn-a", head, weights="random", store="memory", detector=None)
    assert set(Setup.from_pipeline(pipeline.fit(faces, labels)).parameters) <= {"n_jobs"}
