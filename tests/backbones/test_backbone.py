"""Checks that hold for every backbone."""

import numpy as np
import pytest

from ferembed.backbones import Backbone
from ferembed.backbones.preprocess import Preprocess
from ferembed.errors import WeightsError
from tests.helpers.backbones import rgb


def test_a_backbone_with_invalid_outputs_is_an_error(faces):
    class Broken(Backbone):
        def forward(self, batch):
            return np.full((len(batch), 2), np.nan, np.float32)

    with pytest.raises(WeightsError, match="Broken gave NaN or infinite values"):
        Broken(Preprocess(), dim=2).embed(rgb(faces))
    with pytest.raises(WeightsError, match=r"the shape \(24, 2\), expected \(24, 3\)"):
        Broken(Preprocess(), dim=3).embed(rgb(faces))
