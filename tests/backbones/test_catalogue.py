import json

import pytest

from ferembed.backbones import BACKBONES
from ferembed.backbones.catalogue import catalogue, catalogue_text


def test_the_catalogue_has_the_facts_of_every_backbone():
    facts = {entry["name"]: entry for entry in catalogue()}
    assert list(facts) == BACKBONES.names()
    assert facts["mini-vgg"]["parameters"] == BACKBONES["mini-vgg"].parameters
    assert facts["mini-vgg"]["weights"]["here"]
    assert facts["cnn-f"]["weights"] is None
    assert json.loads(json.dumps(list(facts.values()))) == list(facts.values())


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("mini-vgg", "weights here; trained on FER2013"),
        ("vggface2-resnet50", "ferembed models fetch vggface2-resnet50; trained on VGGFace2"),
        ("cnn-f", "bring or train its weights"),
    ],
)
def test_its_text_says_where_weights_come_from(name, told, monkeypatch, tmp_path):
    monkeypatch.setenv("FEREMBED_WEIGHTS", str(tmp_path))
    lines = catalogue_text().splitlines()
    place = next(i for i, line in enumerate(lines) if line.startswith(f"  {name}: "))
    assert f"{BACKBONES[name].parameters:,} parameters; layers " in lines[place + 1]
    assert lines[place + 2].strip().startswith(told)
