"""The facts of backbones, and what a request for one may say."""

from dataclasses import replace

import pytest

from ferembed.backbones import BACKBONES, LoadRequest, load_backbone
from ferembed.errors import UnknownName, WeightsError
from tests.helpers.backbones import every_backbone


@every_backbone
def test_the_spec_matches_the_network(name):
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


def test_a_label_set_has_its_columns_of_the_last_layer():
    spec = replace(BACKBONES["mini-vgg"], label_sets=(("a", ("x", "y", "z")), ("b", ("p", "q"))))
    assert spec.label_columns() == (slice(0, 3), ("x", "y", "z"))
    assert spec.label_columns("b") == (slice(3, 5), ("p", "q"))
    with pytest.raises(UnknownName, match="No label set of mini-vgg is called 'c'"):
        spec.label_columns("c")
