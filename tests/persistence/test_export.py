import os

import joblib
import numpy as np
import pytest

from ferembed import Pipeline
from ferembed.errors import ModelError, UnknownName
from tests.helpers.models import fitted


def test_an_export_is_read_by_joblib_and_predicts_the_same(tmp_path, faces, labels):
    made = fitted(faces, labels, "svm")
    made.export(tmp_path / "model.pkl")
    for copy in (
        joblib.load(tmp_path / "model.pkl"),
        Pipeline.load(tmp_path / "model.pkl", allow_pickle=True),
    ):
        assert (copy.predict_proba(faces) == made.predict_proba(faces)).all()
    assert os.listdir(tmp_path) == ["model.pkl"]


def test_an_export_that_predicts_otherwise_is_not_written(tmp_path, faces, labels, monkeypatch):
    made = fitted(faces, labels, "softmax")

    def forgetful(self):
        return {**vars(self), "coef_": np.zeros_like(self.coef_)}

    monkeypatch.setattr(type(made.head_), "__getstate__", forgetful, raising=False)  # Python 3.10
    with pytest.raises(ModelError, match="does not predict as the original does"):
        made.export(tmp_path / "model.pkl")
    assert os.listdir(tmp_path) == []


def test_an_unknown_export_format_is_met_with_a_suggestion(tmp_path, faces, labels):
    with pytest.raises(UnknownName, match="No export format is called 'pikle'. Did you mean 'pick"):
        fitted(faces, labels).export(tmp_path / "m", format="pikle")
