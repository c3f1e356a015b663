import json

import numpy as np
import pytest

from ferembed.training import Augmentation, Recipe, train

QUICK = Recipe(cycles=((3, 0.05),), batch_size=16, warmup_epochs=1, dtype="float32")


def test_augmented_faces_are_the_same_for_the_same_seed_and_others_for_another(faces):
    one, two, other = (
        Augmentation().apply(faces, np.random.default_rng(seed)) for seed in (1, 1, 2)
    )
    assert (one == two).all()
    assert (one != other).any()
    assert one.shape == faces.shape
    assert one.dtype == np.uint8


def test_no_augmentation_changes_nothing(faces):
    nothing = Augmentation(False, 0, 0, 0, 0, 0, 0)
    assert (nothing.apply(faces, np.random.default_rng(0)) == faces).all()


def test_each_kind_does_what_it_says(faces):
    rng = np.random.default_rng(0)
    mirrored = Augmentation(True, 0, 0, 0, 0, 0, 0).apply(faces, rng)
    same = (mirrored == faces).all(axis=(1, 2))
    flipped = (mirrored == faces[:, :, ::-1]).all(axis=(1, 2))
    assert (same | flipped).all()
    assert 4 < flipped.sum() < 20
    brighter = Augmentation(False, 0, 0, 0, 0, 40, 0).apply(np.full((50, 8, 8), 100, np.uint8), rng)
    assert brighter.min() < 80
    assert brighter.max() > 120
    erased = Augmentation(False, 0, 0, 0, 0, 0, 1).apply(faces, rng)
    assert ((erased != faces).mean(axis=(1, 2)) > 0.01).all()
    assert ((erased != faces).mean(axis=(1, 2)) < 0.25).all()


def test_the_rate_warms_up_and_falls_in_each_cycle():
    recipe = Recipe(cycles=((10, 0.1), (5, 0.04)), warmup_epochs=2)
    rates = [recipe.rate(epoch) for epoch in range(recipe.epochs)]
    assert len(rates) == 15
    assert rates[0] == pytest.approx(0.1 / 3)
    assert max(rates) == rates[2] == pytest.approx(0.1, abs=1e-4)
    assert rates[2:10] == sorted(rates[2:10], reverse=True)
    assert rates[9] < 0.01
    assert max(rates[10:]) == rates[12] == pytest.approx(0.04, abs=1e-4)


def small_network():
    import keras

    face = keras.Input((48, 48, 1))
    x = keras.layers.AveragePooling2D(4)(face)
    x = keras.layers.Flatten()(x)
    x = keras.layers.Dense(32, activation="relu")(x)
    return keras.Model(face, keras.layers.Dense(3, dtype="float32")(keras.layers.Dropout(0.2)(x)))


def run(faces, folder, stop_after=None):
    def report(row):
        if row["epoch"] == stop_after:
            raise KeyboardInterrupt

    numbers = np.arange(24) % 3

    def scale(batch):
        return (batch.astype(np.float32)[..., None] - 128) / 64

    return train(
        small_network, scale, (faces, numbers), (faces, numbers), folder, QUICK, report=report
    )


def test_training_learns_and_writes_its_history(faces, tmp_path):
    run(faces, tmp_path)
    written = json.loads((tmp_path / "history.json").read_text())
    assert [row["epoch"] for row in written["epochs"]] == [1, 2, 3]
    assert written["recipe"]["cycles"] == [[3, 0.05]]
    assert written["epochs"][-1]["loss"] < written["epochs"][0]["loss"]


def test_a_resumed_run_ends_as_an_unbroken_one(faces, tmp_path):
    whole = run(faces, tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        run(faces, tmp_path / "broken", stop_after=2)
    resumed = run(faces, tmp_path / "broken")
    for one, other in zip(whole.get_weights(), resumed.get_weights(), strict=True):
        assert one == pytest.approx(other, abs=1e-6)
