"""The backbones that most tests are run on."""

import numpy as np
import pytest

from ferembed.backbones import BACKBONES

# VGG16 with its dense layers is slow to build, so only test_vggface tests it.
# `distances` is no network: test_regions has its tests.
NAMES = [n for n in BACKBONES if BACKBONES[n].build and BACKBONES[n].parameters < 100_000_000]
QUICK = ("cnn-a", "mini-vgg", "fer-mobilenet")  # the others take seconds: they are slow tests


def slow_unless(quick):
    return [] if quick else [pytest.mark.slow]


every_backbone = pytest.mark.parametrize(
    "name", [pytest.param(name, marks=slow_unless(name in QUICK)) for name in NAMES]
)
every_layer = pytest.mark.parametrize(
    ("name", "layer"),
    [
        pytest.param(name, layer, marks=slow_unless(name in QUICK and place == 0))
        for name in NAMES
        for place, (layer, _) in enumerate(BACKBONES[name].layers)
    ],
)


def rgb(faces):
    return [np.repeat(face[:, :, None], 3, axis=2) for face in faces]
