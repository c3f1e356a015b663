import json
from dataclasses import replace

import numpy as np
import pytest

from ferembed.backbones.preprocess import Preprocess
from ferembed.errors import TrainingError
from ferembed.training import train
from ferembed.training.loop import Batches, _inputs
from tests.helpers.training import GRAY, ONE_HOT, QUICK, history, run, small_network


def test_training_learns_and_writes_its_history(faces, tmp_path):
    run(faces, tmp_path)
    written = json.loads((tmp_path / "history.json").read_text())
    assert [row["epoch"] for row in written["epochs"]] == [1, 2, 3]
    assert written["recipe"]["rate"] == 0.05
    # Of the whole epoch: 24 faces, so whole shares of 24, and not those of its last batch of 12.
    assert written["epochs"][-1]["loss"] < written["epochs"][0]["loss"]


@pytest.mark.slow
def test_the_history_speaks_of_whole_epochs_not_of_their_last_batch(faces, tmp_path):
    run(faces, tmp_path, replace(QUICK, epochs=8, batch_size=8))
    right = [24 * row["accuracy"] for row in history(tmp_path)]
    assert right == pytest.approx(np.round(right), abs=1e-3)
    assert any(round(count) % 3 for count in right)  # of the last 8 of 24, all were multiples of 3


@pytest.mark.slow
def test_the_best_epoch_is_restored(faces, tmp_path):
    # A rate that destroys what the first epochs learned.
    recipe = replace(QUICK, epochs=6, keep="best", schedule="constant", rate=2.0, warmup_epochs=0)
    model = run(faces, tmp_path, recipe)
    rows = [row["validation_accuracy"] for row in history(tmp_path)]
    found = model.predict(_inputs(GRAY, faces), verbose=0).argmax(axis=1)
    assert (found == ONE_HOT.argmax(axis=1)).mean() == pytest.approx(max(rows))
    assert max(rows) != rows[-1]


@pytest.mark.slow
def test_averaged_weights_lag_behind_those_of_the_steps(faces, tmp_path):
    plain = run(faces, tmp_path / "plain", replace(QUICK, epochs=20)).get_weights()
    recipe = replace(QUICK, epochs=20, averaging=0.99)
    averaged = run(faces, tmp_path / "averaged", recipe).get_weights()
    start = small_network_at_seed()
    for kernel in (0, 2):
        moved = np.abs(plain[kernel] - start[kernel]).sum()
        assert 0 < np.abs(averaged[kernel] - start[kernel]).sum() < moved


def small_network_at_seed():
    import keras

    keras.utils.set_random_seed(QUICK.seed)
    return small_network().get_weights()


@pytest.mark.slow
def test_a_lower_rate_for_the_body_moves_it_less(faces, tmp_path):
    recipe = replace(QUICK, epochs=1, weight_decay=0.0, warmup_epochs=0)
    start = small_network_at_seed()
    whole = run(faces, tmp_path / "whole", recipe).get_weights()
    tuned = run(faces, tmp_path / "tuned", replace(recipe, body_rate=0.01)).get_weights()
    moved = [
        np.abs(other - first).sum() / np.abs(one - first).sum()
        for first, one, other in zip(start, whole, tuned, strict=True)
    ]
    assert moved[0] == pytest.approx(0.01, rel=0.5)  # the hidden layer's kernel
    assert 0.5 < moved[2] < 2  # the last layer's


def test_balanced_class_weights_make_each_class_count_the_same():
    shares = np.eye(2, dtype=np.float32)[[0] * 9 + [1]]
    faces = np.zeros((10, 48, 48), np.uint8)
    recipe = replace(QUICK, class_weight="balanced", augmentation=None, batch_size=10)
    ((_, targets, weights),) = Batches(GRAY, faces, shares, recipe).of_epoch(0)
    assert (weights[:, None] * targets).sum(axis=0) == pytest.approx([5, 5])


def test_mixup_mixes_faces_and_targets_alike():
    faces = np.zeros((8, 48, 48), np.uint8)
    faces[4:] = 255
    shares = np.eye(2, dtype=np.float32)[[0] * 4 + [1] * 4]
    recipe = replace(QUICK, mixup=1.0, augmentation=None, batch_size=8)
    ((inputs, targets),) = Batches(Preprocess("gray", 48), faces, shares, recipe).of_epoch(0)
    assert inputs[:, 0, 0, 0] == pytest.approx(targets[:, 1], abs=1e-6)
    assert ((targets > 0.01) & (targets < 0.99)).any()


@pytest.mark.slow
def test_faces_in_colour_train_a_network_that_takes_colour(tmp_path):
    import keras

    def build():
        face = keras.Input((8, 8, 3))
        return keras.Model(face, keras.layers.Dense(2)(keras.layers.Flatten()(face)))

    rng = np.random.default_rng(0)
    faces = rng.integers(0, 100, (40, 12, 12, 3), dtype=np.uint8)
    faces[20:, :, :, 0] += 120  # the second class is redder
    shares = np.eye(2, dtype=np.float32)[np.arange(40) // 20]
    recipe = replace(QUICK, epochs=8, rate=0.02)
    train(build, Preprocess("rgb", 8), (faces, shares), (faces, shares), tmp_path, recipe)
    assert history(tmp_path)[-1]["validation_accuracy"] == 1


def test_a_loss_that_is_no_number_ends_training_with_the_reason(faces, tmp_path):
    with pytest.raises(TrainingError, match="too high"):
        run(faces, tmp_path, replace(QUICK, epochs=30, rate=1e12, augmentation=None))


def test_faces_and_targets_that_do_not_match_are_refused(faces, tmp_path):
    with pytest.raises(TrainingError, match="24 training faces and targets of the shape"):
        run(faces, tmp_path, targets=ONE_HOT[:20])
    with pytest.raises(TrainingError, match="use sgd"):
        run(faces, tmp_path, replace(QUICK, optimizer="adam", body_rate=0.1))


def test_any_seed_that_a_recipe_takes_can_be_used(faces, tmp_path):
    run(faces, tmp_path, replace(QUICK, epochs=1, seed=2**40))
    assert len(history(tmp_path)) == 1


@pytest.mark.slow
def test_one_network_learns_two_label_sets_at_once(faces, tmp_path):
    import keras

    def build():
        small = small_network()
        last = keras.layers.Dense(5, name="both", dtype="float32")(small.layers[-2].output)
        return keras.Model(small.inputs, last)

    even = np.eye(2, dtype=np.float32)[np.arange(24) % 2]
    targets = np.concatenate([ONE_HOT, even], axis=1)
    targets[:6, :3] = 0  # without a label in the first set
    recipe = replace(QUICK, epochs=30, label_smoothing=0.0, augmentation=None)
    known = faces, targets
    train(build, GRAY, known, known, tmp_path, recipe, label_sets=(3, 2))
    first, *_, last = history(tmp_path)
    assert last["validation_accuracy"] > 0.9 > first["validation_accuracy"]
    assert last["validation_accuracy_2"] > 0.9


def test_the_dtype_policy_of_keras_is_the_users_again_after_training(faces, tmp_path):
    import keras

    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        run(faces, tmp_path, replace(QUICK, epochs=1))
        assert keras.config.dtype_policy().name == "mixed_bfloat16"
    finally:
        keras.config.set_dtype_policy(before)
