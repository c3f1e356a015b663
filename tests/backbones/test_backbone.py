"""Contracts over every registered backbone, and what holds of the families alone."""

import json
from dataclasses import replace

import numpy as np
import pytest

from ferembed.backbones import BACKBONES, Backbone, LoadRequest, load_backbone, quantize
from ferembed.backbones.cnn_a_to_g import build as build_cnn
from ferembed.backbones.preprocess import Preprocess
from ferembed.backbones.weight_files import load_weights, save_weights
from ferembed.errors import MissingExtra, UnknownName, WeightsError
from ferembed.inference.engines import _has_bfloat16, choose_engine
from ferembed.training import RECIPES
from tests.conftest import ROOT, run_python

# One is too large to be made several times: test_vggface has a test of its own for it.
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


@every_backbone
def test_the_spec_tells_the_truth(name):
    spec = BACKBONES[name]
    model = spec.build()
    assert spec.name == name
    assert model.count_params() == spec.parameters
    assert model.inputs[0].shape[1:] == spec.preprocess.shape
    for layer, dim in spec.layers:
        assert model.get_layer(layer).output.shape == (None, dim)


@pytest.mark.parametrize("name", [name for name in BACKBONES if BACKBONES[name].classifier])
def test_a_network_is_built_for_any_number_of_classes(name):
    spec = BACKBONES[name]
    model = spec.build(4)
    for layer, dim in spec.layers:
        classes = layer == spec.classifier
        assert model.get_layer(layer).output.shape == (None, 4 if classes else dim)
    kernel = model.get_layer(spec.classifier).kernel
    assert model.count_params() == spec.parameters - (spec.dim(spec.classifier) - 4) * (
        kernel.shape[0] + 1
    )
    assert model.output is model.get_layer(spec.classifier).output


@every_layer
def test_engines_agree_and_alone_is_as_in_a_batch(name, layer, faces):
    spec = BACKBONES[name]
    faces = faces if spec.preprocess.size < 160 else faces[:6]  # for the time it takes
    vectors = {}
    for engine in ("keras", "openvino"):
        backbone = load_backbone(LoadRequest(name, layer, "random", engine=engine))
        vectors[engine] = backbone.embed(rgb(faces))
        assert vectors[engine].dtype == np.float32
        assert vectors[engine].shape == (len(faces), spec.dim(layer))
        assert vectors[engine].std() > 1e-3
        digits = 1e-6 * np.abs(vectors[engine]).max()  # a float has seven
        alone = backbone.embed(rgb(faces[5:6]))[0]
        assert np.abs(alone - vectors[engine][5]).max() < max(1e-5, digits)
        assert np.abs(backbone.embed(rgb(faces), 4) - vectors[engine]).max() < max(1e-5, digits)
    assert np.abs(vectors["keras"] - vectors["openvino"]).max() < max(1e-4, digits)


@every_backbone
def test_random_weights_depend_on_the_seed_alone(name, faces):
    first = load_backbone(LoadRequest(name, weights="random", engine="openvino"))
    other = load_backbone(LoadRequest(name, weights="random:1", engine="keras"))
    vector = first.embed(rgb(faces[:1]))
    assert np.abs(other.embed(rgb(faces[:1])) - vector).max() > 0.01 * np.abs(vector).max()
    code = (
        "import sys, numpy as np; from ferembed.backbones import *;"
        f"b = load_backbone(LoadRequest({name!r}, weights='random', engine='openvino'));"
        "f = np.frombuffer(bytes.fromhex(sys.argv[1]), np.uint8).reshape(48, 48, 1).repeat(3, 2);"
        "print(b.embed([f])[0, :4].tolist())"
    )
    result = run_python(code, faces[0].tobytes().hex())
    assert eval(result.stdout) == pytest.approx(vector[0, :4], abs=1e-6, rel=1e-6)


def test_a_converted_network_is_kept_whole_or_not_at_all(tmp_path, monkeypatch, faces):
    monkeypatch.setenv("FEREMBED_CACHE", str(tmp_path))
    request = LoadRequest("cnn-a", weights="random:77", engine="openvino")
    (tmp_path / "networks").touch()
    with pytest.raises(WeightsError, match=r"cannot be written to .*cnn-a-.*Choose another folder"):
        load_backbone(request)
    (tmp_path / "networks").unlink()
    load_backbone(request).embed(rgb(faces))
    (kept,) = (tmp_path / "networks").iterdir()
    assert kept.name.startswith("cnn-a-")
    for file in kept.iterdir():
        whole = file.read_bytes()
        file.write_bytes(whole[: len(whole) // 2])
        with pytest.raises(WeightsError, match=f"is damaged: delete the folder .*{kept.name}"):
            BACKBONES["cnn-a"].load(request)
        file.write_bytes(whole)
    BACKBONES["cnn-a"].load(request)


def test_weights_survive_a_file_and_round_once(tmp_path, faces):
    name = "cnn-a"
    model = build_cnn(name)
    path = tmp_path / "trained.npz"
    save_weights(model, path)
    again = build_cnn(name)
    load_weights(again, path)
    batch = Preprocess()(rgb(faces))
    assert np.abs(np.asarray(model(batch)) - np.asarray(again(batch))).max() < 1e-6
    for engine in ("keras", "openvino"):
        backbone = load_backbone(LoadRequest(name, "output", str(path), engine=engine))
        assert np.abs(backbone.embed(rgb(faces)) - np.asarray(model(batch))).max() < 1e-4


@pytest.mark.slow
def test_weights_of_four_classes_bring_their_number_along(tmp_path, faces):
    model = build_cnn("cnn-a", 4)
    path = tmp_path / "four.npz"
    save_weights(model, path)
    batch = Preprocess()(rgb(faces))
    expected = np.asarray(model(batch))
    for engine in ("keras", "openvino"):
        for layer, dim in (("output", 4), ("dense1", 64)):
            request = LoadRequest("cnn-a", layer, str(path), engine=engine)
            vectors = load_backbone(request).embed(rgb(faces))
            assert vectors.shape == (24, dim)
            assert request.facts()["dim"] == dim
            if layer == "output":
                assert np.abs(vectors - expected).max() < 1e-4


def test_weights_of_another_network_are_refused(tmp_path):
    path = tmp_path / "a.npz"
    save_weights(build_cnn("cnn-a"), path)
    with pytest.raises(WeightsError, match=r"weights of another network: conv1_2/\w+ is"):
        load_backbone(LoadRequest("cnn-b", weights=str(path), engine="keras"))


def test_a_file_that_is_no_weights_is_refused(tmp_path):
    path = tmp_path / "a.npz"
    path.write_text("no weights")
    with pytest.raises(WeightsError, match=r"a\.npz is not a readable \.npz file of weights"):
        load_backbone(LoadRequest("cnn-a", weights=str(path), engine="keras"))
    np.savez(path, evil=np.array([{"an": "object"}], dtype=object))
    with pytest.raises(WeightsError, match="evil holds objects"):
        load_backbone(LoadRequest("cnn-b", weights=str(path), engine="keras"))


def test_untrained_networks_are_not_used_by_accident():
    with pytest.raises(WeightsError, match="No trained weights ship for cnn-f. Give weights=PATH"):
        load_backbone(LoadRequest("cnn-f"))
    with pytest.raises(WeightsError, match="There is no file of weights at nowhere"):
        load_backbone(LoadRequest("cnn-f", weights="nowhere.npz"))


def test_unknown_names_are_met_with_a_suggestion():
    with pytest.raises(UnknownName, match="No backbone is called 'cnn-ff'. Did you mean 'cnn-f'?"):
        load_backbone(LoadRequest("cnn-ff"))
    with pytest.raises(
        UnknownName, match="No layer of cnn-f is called 'dense9'. Did you mean 'den"
    ):
        load_backbone(LoadRequest("cnn-f", "dense9", "random"))
    with pytest.raises(UnknownName, match="No engine is called 'openvno'. Did you mean 'openvino'"):
        load_backbone(LoadRequest("cnn-f", weights="random", engine="openvno"))


def test_without_openvino_keras_serves_and_openvino_is_named(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert choose_engine("auto") == "keras"
    with pytest.raises(MissingExtra, match=r"pip install 'ferembed\[fast\]'"):
        choose_engine("openvino")


def test_a_network_not_yet_converted_runs_on_keras_where_tensorflow_does_not_serve(monkeypatch):
    monkeypatch.setenv("KERAS_BACKEND", "jax")
    assert choose_engine("auto", converted=False) == "keras"
    assert choose_engine("auto", converted=True) == "openvino"
    monkeypatch.delenv("KERAS_BACKEND")
    assert choose_engine("auto", converted=False) == "openvino"


def test_a_backbone_that_gives_nonsense_is_stopped(faces):
    class Broken(Backbone):
        def forward(self, batch):
            return np.full((len(batch), 2), np.nan, np.float32)

    with pytest.raises(WeightsError, match="Broken gave NaN or infinite values"):
        Broken(Preprocess(), dim=2).embed(rgb(faces))
    with pytest.raises(WeightsError, match=r"the shape \(24, 2\), expected \(24, 3\)"):
        Broken(Preprocess(), dim=3).embed(rgb(faces))


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


def golden_vector(name: str, weights: str | None, engine: str) -> list[float]:
    """Four values of the vector of a fixed pattern."""
    y, x = np.mgrid[:48, :48]
    face = np.repeat(((x * y + 5 * x) % 256).astype(np.uint8)[:, :, None], 3, axis=2)
    vector = load_backbone(LoadRequest(name, weights=weights, engine=engine)).embed([face])[0]
    return [round(float(value), 5) for value in vector[np.argsort(-np.abs(vector))[:4]]]


@every_backbone
@pytest.mark.parametrize("engine", ["keras", "openvino"])
def test_the_golden_vector(name, engine):
    """One that changes means that stored vectors are wrong: raise the spec's revision."""
    golden = json.loads((ROOT / "tests" / "golden.json").read_text())
    ours = BACKBONES[name].weights
    for weights in ("random", None) if ours and ours.find() else ("random",):
        expected = golden[f"{name} {weights or 'shipped'}"]
        assert golden_vector(name, weights, engine) == pytest.approx(expected, abs=1e-4, rel=1e-6)


@pytest.mark.skipif(not _has_bfloat16(), reason="needs a CPU with bfloat16")
@pytest.mark.parametrize(
    "name", ["mini-vgg", "cnn-f", pytest.param("vggface2-resnet50", marks=pytest.mark.slow)]
)
def test_bfloat16_turns_vectors_by_less_than_a_degree(name, faces):
    weights = None if BACKBONES[name].onnx else "random"
    few = faces if BACKBONES[name].preprocess.size < 160 else faces[:6]
    exact, rounded = (
        load_backbone(LoadRequest(name, weights=weights, engine=engine)).embed(rgb(few))
        for engine in ("openvino", "openvino-bf16")
    )
    norms = np.linalg.norm(exact, axis=1) * np.linalg.norm(rounded, axis=1)
    cosines = (exact * rounded).sum(axis=1) / norms
    assert 0.9999 <= cosines.min() <= cosines.max()
    assert (exact != rounded).any()


@pytest.mark.slow
def test_kernels_that_ship_as_halves_become_integers_too(faces, monkeypatch, tmp_path):
    monkeypatch.setenv("FEREMBED_CACHE", str(tmp_path))
    quantize(LoadRequest("mini-vgg"), rgb(faces))
    (numbers,) = (tmp_path / "networks").glob("mini-vgg-*-int8-*/network.bin")
    assert BACKBONES["mini-vgg"].parameters < numbers.stat().st_size
    assert numbers.stat().st_size < 1.1 * BACKBONES["mini-vgg"].parameters


def test_what_is_no_network_has_no_integers(faces):
    with pytest.raises(WeightsError, match="distances is not a network that can run in INT8"):
        quantize(LoadRequest("distances"), rgb(faces))


def test_a_cpu_without_bfloat16_is_told_so(monkeypatch):
    monkeypatch.setattr("ferembed.inference.engines._has_bfloat16", lambda: False)
    with pytest.raises(MissingExtra, match="This CPU has no bfloat16, .* Use 'openvino'"):
        choose_engine("openvino-bf16")


def test_a_label_set_has_its_columns_of_the_last_layer():
    spec = replace(BACKBONES["mini-vgg"], label_sets=(("a", ("x", "y", "z")), ("b", ("p", "q"))))
    assert spec.label_columns() == (slice(0, 3), ("x", "y", "z"))
    assert spec.label_columns("b") == (slice(3, 5), ("p", "q"))
    with pytest.raises(UnknownName, match="No label set of mini-vgg is called 'c'"):
        spec.label_columns("c")
