"""The networks cnn-a to cnn-g: graphs and parameters."""

import pytest

from ferembed.backbones import BACKBONES
from ferembed.backbones.cnn_a_to_g import build as build_cnn
from ferembed.training import RECIPES


@pytest.mark.parametrize(
    ("name", "parameters"),
    [
        # 3x3 kernels: (9 * in + 1) * out each; then 4608 * 64 + 64, 64 * 64 + 64, 64 * 7 + 7.
        ("cnn-a", 320 + 18_496 + 73_856 + 299_591),
        ("cnn-b", 320 + 2 * 9_248 + 18_496 + 2 * 36_928 + 73_856 + 2 * 147_584 + 299_591),
        ("cnn-c", 320 + 9_248 + 18_496 + 2 * 36_928 + 73_856 + 3 * 147_584 + 299_591),
        ("cnn-d", 918_119),
        ("cnn-e", 918_119),
        ("cnn-f", 779_783),
        ("cnn-g", 918_119),
    ],
)
def test_parameter_counts(name, parameters):
    assert build_cnn(name).count_params() == parameters == BACKBONES[name].parameters


def test_the_graphs_are_those_of_the_table():
    table = {
        "cnn-a": ((1, 1, 1), "mmm", "softmax", 0),
        "cnn-b": ((3, 3, 3), "mmm", "softmax", 0),
        "cnn-c": ((2, 3, 4), "mmm", "softmax", 0),
        "cnn-d": ((2, 3, 4), "aaa", "softmax", 0),
        "cnn-e": ((2, 3, 4), "mma", "softmax", 0),
        "cnn-f": ((3, 3, 3), "aaa", "linear", 1e-4),
        "cnn-g": ((2, 3, 4), "aaa", "linear", 1e-4),
    }
    for name, (convolutions, pools, last, penalty) in table.items():
        model = build_cnn(name)
        names = [layer.name for layer in model.layers]
        for group, count in enumerate(convolutions, 1):
            convs = [n for n in names if n.startswith(f"conv{group}_")]
            assert len(convs) == count
            for conv in map(model.get_layer, convs):
                assert (conv.filters, conv.kernel_size, conv.padding) == (
                    (32, 64, 128)[group - 1], (3, 3), "same",
                )  # fmt: skip
                assert conv.activation.__name__ == "relu"
            kind = {"m": "MaxPooling2D", "a": "AveragePooling2D"}[pools[group - 1]]
            assert type(model.get_layer(f"pool{group}")).__name__ == kind
        output = model.get_layer("output")
        assert output.activation.__name__ == last
        assert (output.kernel_regularizer.l2 if penalty else 0) == pytest.approx(penalty)
        losses = {"softmax": "crossentropy", "linear": "squared_hinge"}
        assert RECIPES[name].loss == losses[last]
