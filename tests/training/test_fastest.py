import json
from dataclasses import replace
from functools import partial

import pytest

from ferembed.backbones import BACKBONES
from ferembed.datasets import Dataset
from ferembed.errors import TrainingError
from ferembed.training import fastest, train_backbone
from ferembed.training.fastest import find_fastest
from tests.helpers.training import QUICK, history

SPEC = BACKBONES["cnn-a"]


@pytest.fixture
def measure(faces, tmp_path, monkeypatch):
    """A measurement on 24 faces, whose speeds can be given; it returns the recipe and its lines."""
    monkeypatch.setattr(fastest, "_FEWEST_STEPS", 1)
    targets = Dataset.from_images(faces, ["happy", "sad"] * 12, ["train"] * 24).targets
    gray = faces[..., 0] if faces.ndim == 4 else faces

    def run(recipe, speeds=None):
        if speeds:
            monkeypatch.setattr(
                fastest, "_speed", lambda *given: speeds[given[3].dtype, given[3].batch_size]
            )
        lines = []
        build = partial(SPEC.build, 2)
        chosen = find_fastest(
            build, SPEC.preprocess, (gray, targets), tmp_path, recipe, tell=lines.append
        )
        return chosen, lines

    return run


SPEEDS = {
    ("float32", 8): 100.0,
    ("float32", 16): 110.0,
    ("mixed_bfloat16", 8): 160.0,
    ("mixed_bfloat16", 16): 200.0,
}


def test_the_fastest_setting_is_taken_and_kept_for_a_resumed_run(measure, tmp_path):
    recipe = replace(QUICK, batch_size=8, rate=0.1, optimizer="sgd", dtype="float32")
    chosen, lines = measure(recipe, SPEEDS)
    assert (chosen.dtype, chosen.batch_size, chosen.rate) == ("mixed_bfloat16", 16, 0.2)
    assert lines[0] == "float32, batches of 8: 100 faces a second"
    assert lines[-1] == "training with mixed_bfloat16, batches of 16, rate 0.2"
    again, lines = measure(recipe, dict.fromkeys(SPEEDS, 1.0))
    assert (again, lines) == (chosen, [])
    with pytest.raises(TrainingError, match="was measured for another"):
        measure(replace(recipe, rate=0.01))
    (tmp_path / "fastest.json").write_text("{}")
    with pytest.raises(TrainingError, match="is damaged"):
        measure(recipe)


def test_the_recipe_stays_unless_another_setting_is_clearly_faster(measure):
    recipe = replace(QUICK, batch_size=8, rate=0.1, dtype="float32")
    chosen, _ = measure(recipe, {**dict.fromkeys(SPEEDS, 104.0), ("float32", 8): 100.0})
    assert chosen == recipe


def test_what_fails_is_left_out_unless_it_is_the_recipes_own(measure, tmp_path):
    own, other = ("float32", 8), ("float32", 16)
    recipe = replace(QUICK, batch_size=8, rate=0.1, optimizer="adam", dtype="float16")
    half = {("float16", 8): 10.0, ("float16", 16): 300.0}
    chosen, lines = measure(recipe, {own: 200.0, other: 100.0, **half})  # none of bfloat16
    assert (chosen.dtype, chosen.batch_size) == ("float16", 16)
    assert "mixed_bfloat16, batches of 8: left out, KeyError" in lines
    (tmp_path / "fastest.json").unlink()
    with pytest.raises(KeyError):
        measure(replace(recipe, dtype="float64"), {own: 200.0})


def test_the_rate_of_adam_does_not_grow_with_the_batch(measure):
    recipe = replace(QUICK, batch_size=8, rate=0.1, optimizer="adam", dtype="float32")
    chosen, _ = measure(recipe, SPEEDS)
    assert (chosen.batch_size, chosen.rate) == (16, 0.1)


@pytest.mark.slow
def test_a_network_is_trained_with_the_setting_that_was_measured(faces, tmp_path):
    labels = ["happy", "sad", "angry"] * 8
    data = Dataset.from_images(faces, labels, ["train"] * 18 + ["validation"] * 6)
    lines = []
    recipe = replace(QUICK, epochs=1, batch_size=4)
    train_backbone(data, "cnn-a", tmp_path / "run", recipe, fastest=True, tell=lines.append)
    assert len(lines) == 3  # no batches of 8: an epoch of 18 faces has too few
    facts = json.loads((tmp_path / "run" / "fastest.json").read_text())
    assert all(speed > 0 for speed in facts["faces_per_second"].values())
    written = json.loads((tmp_path / "run" / "history.json").read_text())["recipe"]
    assert written["dtype"] == facts["chosen"]["dtype"]
    assert len(history(tmp_path / "run")) == 1
    train_backbone(data, "cnn-a", tmp_path / "run", recipe, fastest=True)  # resumes
