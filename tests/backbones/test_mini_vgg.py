from ferembed.backbones import BACKBONES, mini_vgg

# Kernels of 3x3, then scale, shift, mean and variance of each norm, then the dense layer.
PAIRS = ((1, 32), (32, 32), (32, 64), (64, 64), (64, 128), (128, 128), (128, 256), (256, 256))
BODY = sum(9 * a * b + 4 * b for a, b in PAIRS)


def test_parameter_counts():
    assert (
        mini_vgg.build().count_params() == BODY + 256 * 15 + 15 == BACKBONES["mini-vgg"].parameters
    )
    assert mini_vgg.build(4).count_params() == BODY + 256 * 4 + 4


def test_the_shipped_weights_are_small():
    for name in ("mini-vgg", "fer-mobilenet"):
        spec = BACKBONES[name]
        assert spec.parameters <= 2_500_000
        for file in (spec.weights, spec.onnx):
            assert file.path().stat().st_size <= 6_000_000
