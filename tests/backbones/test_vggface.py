"""The networks of keras-vggface, compared with keras-vggface itself, and the files it publishes."""

import shutil
import subprocess
import sys
from itertools import pairwise

import cv2
import h5py
import numpy as np
import pytest

from ferembed import Embedder
from ferembed.backbones import BACKBONES, LoadRequest, fetch_weights, load_backbone
from ferembed.backbones.vggface import build_resnet, read
from ferembed.cli import main
from ferembed.errors import WeightsError
from ferembed.storage.weights import read_weights
from tests.conftest import ROOT


def reference(folder, *names):
    """The folder in which keras-vggface has left files of weights and what it makes of faces."""
    rng = np.random.default_rng(3)
    noise = rng.integers(0, 256, (3, 12, 12, 3), dtype=np.uint8)
    faces = [cv2.resize(face, (224, 224), interpolation=cv2.INTER_CUBIC) for face in noise]
    np.save(folder / "faces.npy", faces)
    subprocess.run(
        [sys.executable, "-m", "tests.helpers.vggface_reference", folder, *names],
        check=True, capture_output=True, cwd=ROOT,
    )  # fmt: skip
    return folder


@pytest.fixture(scope="module")
def published(tmp_path_factory):
    folder = reference(tmp_path_factory.mktemp("vggface"), "resnet50", "senet50", "vgg16")
    yield folder
    shutil.rmtree(folder)


def difference(folder, network, file, layer, name, engine):
    request = LoadRequest(name, layer, str(folder / file), engine=engine)
    vectors = load_backbone(request).embed(np.load(folder / "faces.npy"))
    expected = np.load(folder / f"{network}.npz")[layer]
    assert 0.1 < expected.std() < 3  # where 1e-4 says something
    return np.abs(vectors - expected).max()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "network", "file"),
    [
        ("vggface2-resnet50", "resnet50", "resnet50-notop.h5"),
        ("vggface2-resnet50", "resnet50", "resnet50-top.h5"),
        ("vggface2-senet50", "senet50", "senet50-notop.h5"),
        ("vggface2-senet50", "senet50", "senet50-top.h5"),
        ("vggface-vgg16", "vgg16", "vgg16-notop.h5"),
    ],
)
def test_vectors_are_those_of_keras_vggface(name, network, file, published):
    assert difference(published, network, file, "embedding", name, "keras") < 1e-4


@pytest.mark.slow
def test_vgg16_with_its_dense_layers_makes_the_vectors_of_keras_vggface(tmp_path):
    folder = reference(tmp_path, "vgg16-top")
    name, file = "vggface-vgg16-top", "vgg16-top.h5"
    for layer, engine in (("fc7", "keras"), ("fc6", "openvino")):
        assert difference(folder, "vgg16-top", file, layer, name, engine) < 1e-4
    assert difference(folder, "vgg16-top", file, "embedding", "vggface-vgg16", "keras") < 1e-4
    shutil.rmtree(folder)


def test_parameter_counts_by_hand():
    # Convolutions have no biases; a norm has four values a channel.
    def convolution(inputs, outputs, side=1):
        return side * side * inputs * outputs + 4 * outputs

    resnet, excitation = convolution(3, 64, 7), 0
    inputs = 64
    for blocks, width in ((3, 64), (4, 128), (6, 256), (3, 512)):
        resnet += convolution(inputs, 4 * width)  # past the first block
        for _ in range(blocks):
            resnet += convolution(inputs, width) + convolution(width, width, 3)
            resnet += convolution(width, 4 * width)
            inputs = 4 * width
            excitation += inputs * inputs // 16 * 2 + inputs // 16 + inputs
    widths = (3, 64, 64, 128, 128, 256, 256, 256, 512, 512, 512, 512, 512, 512)
    vgg16 = sum(9 * a * b + b for a, b in pairwise(widths))
    counts = {
        "vggface2-resnet50": resnet,
        "vggface2-senet50": resnet + excitation,
        "vggface-vgg16": vgg16,
        "vggface-vgg16-top": vgg16 + (7 * 7 * 512 + 1) * 4096 + 4097 * 4096,
    }
    assert counts["vggface2-resnet50"] == 23_561_152
    assert {name: BACKBONES[name].parameters for name in counts} == counts


@pytest.mark.slow
def test_the_graph_is_the_one_of_caffe():
    for squeeze, epsilon in ((False, 1e-3), (True, 1e-4)):
        model = build_resnet(squeeze)
        for layer in model.layers:
            kind = type(layer).__name__
            if kind == "Conv2D" and layer.strides != (1, 1):
                assert layer.name.endswith(("7x7_s2", "_1_1x1_reduce", "_1_1x1_proj"))
            if kind == "BatchNorm":
                assert layer.epsilon == pytest.approx(epsilon)
        pool = model.get_layer("pool1")
        assert (pool.pool_size, pool.strides, pool.padding) == ((3, 3), (2, 2), "valid")
        assert model.get_layer("avg_pool").pool_size == (7, 7)
    for name, blue in (("vggface2-resnet50", 91.4953), ("vggface-vgg16", 93.594)):
        red_face = np.full((9, 9, 3), (200, 0, 0), np.uint8)
        recipe = BACKBONES[name].preprocess
        assert recipe([red_face])[0, 0, 0] == pytest.approx(
            {91.4953: (-91.4953, -103.8827, 68.9088), 93.594: (-93.594, -104.7624, 70.8137)}[blue]
        )


@pytest.mark.slow
def test_a_fetched_file_serves_without_being_named(published, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("FEREMBED_WEIGHTS", str(tmp_path))
    name, file = "vggface-vgg16", "rcmalli_vggface_tf_notop_vgg16.h5"
    embedder = Embedder(name, engine="keras", store="none")
    with pytest.raises(WeightsError) as error:
        embedder.transform(np.load(published / "faces.npy"))
    for fact in (
        file, "59 MB", "2.6 million pictures of 2,622 people", "research that is not commercial",
        "ferembed models fetch vggface-vgg16", str(tmp_path), "$FEREMBED_WEIGHTS",
        f"https://github.com/rcmalli/keras-vggface/releases/download/v2.0/{file}",
    ):  # fmt: skip
        assert fact in str(error.value)
    assert main(["models", "fetch", name, "--from", str(published / "senet50-notop.h5")]) == 2
    assert "contains the weights of another network" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []
    assert main(["models", "fetch", name, "--from", str(published / "vgg16-notop.h5")]) == 0
    printed = capsys.readouterr().out
    assert "No sha256 of it is published" in printed
    assert (tmp_path / f"{file}.sha256").read_text().split()[0] in printed
    vectors = embedder.transform(np.load(published / "faces.npy"))
    assert np.abs(vectors - np.load(published / "vgg16.npz")["embedding"]).max() < 1e-4
    facts = embedder.request.facts()
    assert facts["weights"] in printed
    with (tmp_path / file).open("r+b") as damaged:
        damaged.seek(30_000_000)
        damaged.write(b"damage")
    with pytest.raises(WeightsError, match="sha256 of .*delete it and run: ferembed models fetch"):
        embedder.transform(np.load(published / "faces.npy"))


def test_a_backbone_without_a_file_to_fetch_is_an_error(capsys):
    for arguments, message in (
        (["cnn-a"], "No trained weights ship for cnn-a"),
        (["cnn-x"], "No backbone is called 'cnn-x'"),
        ([], "Name what to fetch: ferembed models fetch NAME"),
    ):
        assert main(["models", "fetch", *arguments]) == 2
        assert message in capsys.readouterr().err
    assert fetch_weights("mini-vgg").name == "mini-vgg.npz"


@pytest.mark.slow
def test_a_file_is_known_by_its_content_whatever_its_name(published, tmp_path):
    renamed, own = tmp_path / "weights.npz", tmp_path / "weights.h5"
    shutil.copyfile(published / "vgg16-notop.h5", renamed)  # as a saved model calls it
    with own.open("wb") as file:
        np.savez(file, **read(published / "vgg16-notop.h5"))
    faces = np.load(published / "faces.npy")[:1]
    expected = np.load(published / "vgg16.npz")["embedding"][:1]
    for path in (renamed, own):
        request = LoadRequest("vggface-vgg16", weights=str(path), engine="keras")
        assert np.abs(load_backbone(request).embed(faces) - expected).max() < 1e-4
    assert read_weights(own).keys() == read(renamed).keys()


def load(path, name="vggface-vgg16"):
    load_backbone(LoadRequest(name, weights=str(path), engine="keras"))


@pytest.mark.slow
def test_a_file_of_another_network_is_refused(published, tmp_path):
    with pytest.raises(WeightsError, match="another network: conv1_1/bias is .*64.* there, None"):
        load(published / "vgg16-notop.h5", "vggface2-senet50")
    changed = tmp_path / "changed.h5"
    shutil.copyfile(published / "vgg16-notop.h5", changed)
    with h5py.File(changed, "r+") as file:
        # As bytes of one length, which is how h5py wrote texts when the files were published.
        names = [*np.char.encode(file.attrs["layer_names"].astype(str)), b"extra"]
        file.attrs["layer_names"] = names
        file.create_group("extra").attrs["weight_names"] = [b"extra/kernel:0"]
        file["extra"]["extra/kernel:0"] = np.zeros((3, 3))
    with pytest.raises(
        WeightsError, match=r"extra/kernel is \(3, 3\) there, None in vggface_vgg16"
    ):
        load(changed)
    with h5py.File(changed, "r+") as file:
        file.attrs["layer_names"] = [name for name in names[:-1] if name != b"conv1_2"]
    with pytest.raises(WeightsError, match=r"conv1_2/bias is None there, \(64,\) in vggface_vgg16"):
        load(changed)
    with h5py.File(changed, "r+") as file:
        del file["conv1_1"]["conv1_1"]["bias:0"]
        file["conv1_1"]["conv1_1"].create_dataset("bias:0", (10**12,), "f4")
    with pytest.raises(WeightsError, match="bias:0 claims to be larger than the file"):
        load(changed)


def test_arrays_of_other_files_and_more_than_the_file_holds_are_refused(tmp_path):
    """Names may point at one array many times, or at an array in another file of this machine."""
    path, other = tmp_path / "weights.h5", tmp_path / "other.h5"
    with h5py.File(other, "w") as file:
        file["secret"] = np.ones((2, 2), np.float32)

    def refused(reason, fill, names=("fc/kernel:0",)):
        with h5py.File(path, "w") as file:
            file.attrs["layer_names"] = [b"fc"]
            file.create_group("fc").attrs["weight_names"] = [name.encode() for name in names]
            fill(file["fc"])
        with pytest.raises(WeightsError, match=reason):
            read(path)

    def link(group):
        group["fc/kernel:0"] = h5py.ExternalLink(other, "secret")

    def external(group):
        raw = (str(other), 0, h5py.h5f.UNLIMITED)
        group.create_dataset("fc/kernel:0", (2, 2), "f4", external=[raw])

    def virtual(group):
        layout = h5py.VirtualLayout((2, 2), "f4")
        layout[:] = h5py.VirtualSource(other, "secret", (2, 2))
        group.create_virtual_dataset("fc/kernel:0", layout)

    for fill in (link, external, virtual):
        refused("fc/kernel:0 is in another file", fill)

    def often(group):
        group["fc/kernel:0"] = np.ones(1000, np.float32)
        for number in range(1, 9):
            group[f"fc/{number}:0"] = group["fc/kernel:0"]

    names = ("fc/kernel:0", *(f"fc/{number}:0" for number in range(1, 9)))
    refused("claims to be larger than the file", often, names)

    def texts(group):
        group["fc/kernel:0"] = np.array([b"abc"])

    refused("holds .* values, not floats", texts)


def test_a_heap_that_hdf5_would_read_for_ever_is_refused(tmp_path):
    """Found by tests/robustness: names of variable length lie in a heap, here of size 0."""
    path = tmp_path / "weights.h5"
    with h5py.File(path, "w") as file:
        file.attrs["layer_names"] = [b"fc"]
        file.create_group("fc").attrs["weight_names"] = [b"fc/kernel:0"]
        file["fc"].create_dataset("fc/kernel:0", data=np.ones((2, 2), np.float32))
    assert read(path)["fc/kernel"].shape == (2, 2)
    content = bytearray(path.read_bytes())
    first = content.index(b"GCOL") + 16
    content[first : first + 16] = bytes(16)
    path.write_bytes(content)
    with pytest.raises(WeightsError, match="its heap is damaged at byte"):
        read(path)


def test_names_of_a_type_with_which_hdf5_crashes_are_refused(tmp_path):
    """Found by tests/robustness: texts of variable length of a kind that there is not."""
    path = tmp_path / "weights.h5"
    with h5py.File(path, "w") as file:
        file.attrs["layer_names"] = [b"fc"]
    content = bytearray(path.read_bytes())
    content[content.index(b"\x19\x01") + 1] = 0x47
    path.write_bytes(content)
    with pytest.raises(WeightsError, match="layer_names holds no texts"):
        read(path)


@pytest.mark.slow
def test_a_file_that_is_damaged_or_no_h5_is_refused(published, tmp_path):
    path = tmp_path / "weights.h5"
    whole = (published / "vgg16-notop.h5").read_bytes()
    for content in (b"", b"no weights", whole[:100], whole[: len(whole) // 2], whole[:-1]):
        path.write_bytes(content)
        with pytest.raises(
            WeightsError, match=r"weights\.h5 is not a readable \.h5 file of Keras 2 weigh"
        ):
            load(path)
    with h5py.File(path, "w") as file:
        file["a"] = np.zeros(3)
    with pytest.raises(
        WeightsError, match="is not a readable .h5 file of Keras 2 weights: .*layer_names"
    ):
        load(path)
