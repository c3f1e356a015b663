import numpy as np
import pytest

from ferembed.backbones import BACKBONES, mini_vgg

# Kernels of 3x3, then scale, shift, mean and variance of each norm, then the dense layer.
PAIRS = ((1, 32), (32, 32), (32, 64), (64, 64), (64, 128), (128, 128), (128, 256), (256, 256))
BODY = sum(9 * a * b + 4 * b for a, b in PAIRS)


def test_parameter_counts():
    assert mini_vgg.build().count_params() == BODY + 256 * 7 + 7 == BACKBONES["mini-vgg"].parameters
    twin = mini_vgg.build(branches=("a_", "b_"))
    assert twin.count_params() == 2 * BODY + 512 * 7 + 7 == BACKBONES["twin-vgg"].parameters
    assert mini_vgg.build(4).count_params() == BODY + 256 * 4 + 4


def test_what_ships_is_small():
    for name in ("mini-vgg", "twin-vgg"):
        spec = BACKBONES[name]
        assert spec.parameters <= 2_500_000
        for file in (spec.weights, spec.onnx):
            assert file.path().stat().st_size <= 6_000_000


def test_a_branch_of_a_twin_is_a_network_of_its_own(faces):
    import keras

    one, twin = mini_vgg.build(), mini_vgg.build(branches=("a_", "b_"))
    arrays = {weight.path: weight.numpy() for weight in one.weights}
    for weight in twin.weights:
        if "logits" not in weight.path:
            weight.assign(arrays[weight.path[2:]])
    pictures = BACKBONES["mini-vgg"].preprocess(np.repeat(faces[..., None], 3, axis=3))
    vectors = [
        np.asarray(keras.Model(m.input, m.get_layer("embedding").output)(pictures, training=False))
        for m in (one, twin)
    ]
    assert vectors[1] == pytest.approx(np.tile(vectors[0], 2), abs=1e-5)
    assert np.ptp(vectors[0], axis=0).max() > 0.1
