import numpy as np
import pytest

from ferembed.backbones.preprocess import Preprocess
from tests.helpers.backbones import rgb


@pytest.mark.parametrize("shape", [(24, 48, 48, 1), (24, 2304)], ids=["pictures", "rows"])
def test_the_fused_normalisation_trains_like_the_parent(shape, faces):
    import keras

    from ferembed.backbones.layers import BatchNorm

    batch = Preprocess(scale=1 / 64)(rgb(faces)).reshape(shape)
    ours, plain = BatchNorm(momentum=0.9), keras.layers.BatchNormalization(momentum=0.9)
    for layer in (ours, plain):
        layer.build(batch.shape)
    before = [np.asarray(variable.value).copy() for variable in ours.variables]
    assert np.abs(ours(batch, training=True) - plain(batch, training=True)).max() < 1e-4
    for mine, parents in zip(ours.variables, plain.variables, strict=True):
        assert np.asarray(mine.value) == pytest.approx(np.asarray(parents.value), rel=1e-3)
    moved = [(np.asarray(v.value) != b).all() for v, b in zip(ours.variables, before, strict=True)]
    assert moved == [False, False, True, True]  # gamma, beta, moving mean and variance
    assert np.abs(ours(batch) - plain(batch)).max() < 1e-4
