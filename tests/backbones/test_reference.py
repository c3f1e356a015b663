"""The reference networks: graphs and parameters."""

import pytest

from ferembed.backbones import BACKBONES


@pytest.mark.parametrize(
    ("name", "parameters"),
    [
        # A convolution has (side² * in + 1) * out, a dense layer (in + 1) * out, a norm 4 * width.
        (
            "bn-cnn",
            (25 * 1 + 1) * 64 + (25 * 64 + 1) * 128 + (9 * 128 + 1) * 512 + (9 * 512 + 1) * 512
            + 4 * (64 + 128 + 512 + 512)
            + (3 * 3 * 512 + 1) * 256 + (256 + 1) * 512 + 4 * (256 + 512)  # 48 halved 4 times is 3
            + (512 + 1) * 7,
        ),
        (
            "plain-150",  # 150 -> 148 -> 74 -> 72 -> 36 -> 34 -> 17 -> 15 -> 7
            (9 * 1 + 1) * 32 + (9 * 32 + 1) * 64 + (9 * 64 + 1) * 128 + (9 * 128 + 1) * 128
            + (7 * 7 * 128 + 1) * 512 + (512 + 1) * 7,
        ),
        (
            "cnn-5",  # its convolutions leave the bias to the norm
            9 * (1 * 32 + 32 * 64 + 64 * 128 + 128 * 128 + 128 * 256)
            + 4 * (32 + 64 + 128 + 128 + 256)
            + (3 * 3 * 256 + 1) * 256 + (256 + 1) * 7,
        ),
        (
            "vgg11",  # 48 -> 24 -> 12 -> 6 -> 3 -> 1
            (9 * 1 + 1) * 64 + (9 * 64 + 1) * 128 + (9 * 128 + 1) * 256 + (9 * 256 + 1) * 256
            + (9 * 256 + 1) * 512 + 3 * (9 * 512 + 1) * 512
            + 2 * (512 + 1) * 512 + (512 + 1) * 7,
        ),
    ],
)  # fmt: skip
def test_parameter_counts_of_the_reference_networks(name, parameters):
    assert BACKBONES[name].build().count_params() == parameters == BACKBONES[name].parameters


@pytest.mark.slow
def test_the_reference_networks_are_those_described():
    def kinds(name):
        return [type(layer).__name__ for layer in BACKBONES[name].build().layers]

    def sides(name, layers):
        model = BACKBONES[name].build()
        return [model.get_layer(layer).output.shape[1:] for layer in layers]

    block = ["BatchNorm", "ReLU"]
    assert kinds("bn-cnn") == [
        "InputLayer",
        *["Conv2D", *block, "MaxPooling2D", "Dropout"] * 4,
        "Flatten",
        *["Dense", *block, "Dropout"] * 2,
        "Dense",
    ]
    assert sides("bn-cnn", ["conv1", "conv2", "conv3", "conv4", "pool4"]) == [
        (48, 48, 64), (24, 24, 128), (12, 12, 512), (6, 6, 512), (3, 3, 512),
    ]  # fmt: skip
    rates = [la.rate for la in BACKBONES["bn-cnn"].build().layers if hasattr(la, "rate")]
    assert rates == [0.25] * 6
    assert kinds("plain-150") == [
        "InputLayer", *["Conv2D", "MaxPooling2D"] * 4, "Flatten", "Dense", "Dense",
    ]  # fmt: skip
    assert sides("plain-150", ["conv1", "conv2", "conv3", "conv4", "pool4"]) == [
        (148, 148, 32), (72, 72, 64), (34, 34, 128), (15, 15, 128), (7, 7, 128),
    ]  # fmt: skip
    assert kinds("cnn-5").count("Conv2D") == 5
    assert sides("cnn-5", ["conv1", "conv5"]) == [(48, 48, 32), (3, 3, 256)]
    assert kinds("vgg11").count("Conv2D") == 8
    assert sides("vgg11", [f"pool{i}" for i in range(1, 6)]) == [
        (24, 24, 64), (12, 12, 128), (6, 6, 256), (3, 3, 512), (1, 1, 512),
    ]  # fmt: skip
    assert kinds("vgg11").count("Dropout") == 2
