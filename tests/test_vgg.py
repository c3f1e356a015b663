import numpy as np
import pytest

from ferembed.backbones import BACKBONES, LoadRequest, load_backbone, vgg

# Kernels of 3x3, then scale, shift, mean and variance of each norm, then the dense layer.
PAIRS = ((1, 32), (32, 32), (32, 64), (64, 64), (64, 128), (128, 128), (128, 256), (256, 256))
BODY = sum(9 * a * b + 4 * b for a, b in PAIRS)


def test_parameter_counts():
    assert vgg.build().count_params() == BODY + 256 * 7 + 7 == BACKBONES["mini-vgg"].parameters
    twin = vgg.build(branches=("a_", "b_"))
    assert twin.count_params() == 2 * BODY + 512 * 7 + 7 == BACKBONES["twin-vgg"].parameters
    assert vgg.build(4).count_params() == BODY + 256 * 4 + 4


def test_what_ships_is_small():
    for name in ("mini-vgg", "twin-vgg"):
        spec = BACKBONES[name]
        assert spec.parameters <= 2_500_000
        for file in (spec.weights, spec.network):
            assert file.path().stat().st_size <= 6_000_000


def test_one_branch_of_the_twin_is_mini_vgg(faces):
    rgb = [np.repeat(face[:, :, None], 3, axis=2) for face in faces]
    one, two = (load_backbone(LoadRequest(name)).embed(rgb) for name in ("mini-vgg", "twin-vgg"))
    assert two[:, :256] == pytest.approx(one, abs=1e-5)
    assert np.abs(two[:, 256:] - one).max() > 0.1
