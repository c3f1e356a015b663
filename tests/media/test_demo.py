import json
import os

import pytest

from ferembed.errors import UnknownName
from ferembed.images import load_image
from ferembed.media.demo import demo, photo


def test_the_demo_reads_the_portrait_and_draws_it(tmp_path):
    done = demo(str(tmp_path / "out"))
    assert (done.drawn.name, done.table.name) == ("grace_hopper.png", "grace_hopper.json")
    assert sorted(os.listdir(tmp_path / "out")) == [done.table.name, done.drawn.name]
    (prediction,) = done.result.predictions
    (entry,) = json.loads(done.table.read_text())
    assert entry["faces"][0]["label"] == prediction.label
    original, annotated = load_image(photo()), load_image(done.drawn)
    height, width = original.shape[:2]
    assert (annotated[:height, :width] != original).any()


def test_an_unknown_language_is_an_error(tmp_path):
    with pytest.raises(UnknownName, match="No language is called 'fr'"):
        demo(str(tmp_path), "fr")
