import json

import pytest

from ferembed.errors import UnknownName
from ferembed.images import load_image
from ferembed.media.demo import demo, photo


def test_the_demo_prints_a_prediction_and_writes_the_drawn_photo(tmp_path, capsys):
    assert demo(str(tmp_path / "out")) == 0
    text = capsys.readouterr().out
    assert f"{photo()}: face 1" in text
    drawn, table = (tmp_path / "out" / f"grace_hopper.{kind}" for kind in ("png", "json"))
    assert f"Written: {drawn} and {table}" in text
    ((face,),) = (entry["faces"] for entry in json.loads(table.read_text()))
    assert face["label"] == "happy"
    original, annotated = load_image(photo()), load_image(drawn)
    assert annotated.shape[0] == original.shape[0]
    assert (annotated[:, : original.shape[1]] != original).any()


def test_as_json_nothing_else_is_printed(tmp_path, capsys):
    demo(str(tmp_path), "es", "json")
    (entry,) = json.loads(capsys.readouterr().out)
    assert len(entry["faces"]) == 1
    with pytest.raises(UnknownName, match="No language is called 'fr'"):
        demo(str(tmp_path), "fr")
