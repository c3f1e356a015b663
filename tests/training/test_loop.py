import json
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from ferembed.backbones import load_backbone
from ferembed.backbones.preprocess import Preprocess
from ferembed.datasets import Dataset
from ferembed.errors import TrainingError, UnknownName
from ferembed.pipeline import Pipeline
from ferembed.storage.weights import read_weights
from ferembed.training import Augmentation, TrainingRecipe, train, train_backbone
from ferembed.training.checkpoint import Checkpoint
from ferembed.training.loop import _Batches, _inputs
from ferembed.training.losses import (
    _crossentropy_of_sets,
    make_optimizer,
    validation_accuracies,
)
from ferembed.training.transfer import _faces_and_targets
from tests.conftest import ROOT

QUICK = TrainingRecipe(epochs=3, rate=0.05, batch_size=16, warmup_epochs=1, dtype="float32")


def test_augmented_faces_are_the_same_for_the_same_seed_and_others_for_another(faces):
    one, two, other = (
        Augmentation().apply(faces, np.random.default_rng(seed)) for seed in (1, 1, 2)
    )
    assert (one == two).all()
    assert (one != other).any()
    assert one.shape == faces.shape
    assert one.dtype == np.uint8


UNCHANGED = Augmentation(
    mirror=False, rotation=0, scale=0, shift=0, contrast=0, brightness=0, erasing=0
)


def test_no_augmentation_changes_nothing(faces):
    nothing = Augmentation(
        mirror=False, rotation=0, scale=0, shift=0, contrast=0, brightness=0, erasing=0
    )
    assert (nothing.apply(faces, np.random.default_rng(0)) == faces).all()


def test_each_kind_does_what_it_says(faces):
    rng = np.random.default_rng(0)
    mirrored = Augmentation(
        mirror=True, rotation=0, scale=0, shift=0, contrast=0, brightness=0, erasing=0
    ).apply(faces, rng)
    same = (mirrored == faces).all(axis=(1, 2))
    flipped = (mirrored == faces[:, :, ::-1]).all(axis=(1, 2))
    assert (same | flipped).all()
    assert 4 < flipped.sum() < 20
    brighter = Augmentation(
        mirror=False, rotation=0, scale=0, shift=0, contrast=0, brightness=40, erasing=0
    ).apply(np.full((50, 8, 8), 100, np.uint8), rng)
    assert brighter.min() < 80
    assert brighter.max() > 120
    erased = Augmentation(
        mirror=False, rotation=0, scale=0, shift=0, contrast=0, brightness=0, erasing=1
    ).apply(faces, rng)
    assert ((erased != faces).mean(axis=(1, 2)) > 0.01).all()
    assert ((erased != faces).mean(axis=(1, 2)) < 0.25).all()


def rates(recipe, epochs):
    return [recipe.rate_after([0.5] * epoch) for epoch in range(epochs)]


def test_a_cosine_warms_up_stays_and_falls_to_almost_nothing():
    recipe = TrainingRecipe(epochs=20, rate=0.1, warmup_epochs=2, steady=0.5)
    found = rates(recipe, 20)
    assert found[0] == pytest.approx(0.1 / 3)
    assert found[2:11] == pytest.approx([0.1] * 9, abs=1e-4)
    assert found[10:] == sorted(found[10:], reverse=True)
    assert found[-1] < 0.004


def test_a_plateau_halves_the_rate_when_no_epoch_gets_better():
    recipe = TrainingRecipe(rate=0.1, warmup_epochs=0, schedule="plateau", patience=2)
    assert recipe.rate_after([0.3, 0.4, 0.4]) == pytest.approx(0.1)
    assert recipe.rate_after([0.3, 0.4, 0.4, 0.39]) == pytest.approx(0.05)
    assert recipe.rate_after([0.3, 0.4, 0.4, 0.39, 0.41]) == pytest.approx(0.05)
    assert recipe.rate_after([0.3, 0.4, 0.4, 0.39, 0.3, 0.3]) == pytest.approx(0.025)


def test_training_stops_when_no_epoch_gets_better():
    recipe = TrainingRecipe(epochs=10, stop_after=2)
    assert not recipe.ends_after([])
    assert not recipe.ends_after([0.1, 0.3, 0.2])
    assert recipe.ends_after([0.1, 0.3, 0.2, 0.2])
    assert recipe.ends_after([0.1 * n for n in range(10)])


def small_network(dtype="float32"):
    import keras

    face = keras.Input((48, 48, 1))
    x = keras.layers.AveragePooling2D(4)(face)
    x = keras.layers.Flatten()(x)
    x = keras.layers.Dense(32, activation="relu")(x)
    x = keras.layers.Dropout(0.2)(x)
    return keras.Model(face, keras.layers.Dense(3, dtype="float32", name="logits")(x))


GRAY = Preprocess("gray", 48, mean=(128.0,), scale=1 / 64)
ONE_HOT = np.eye(3, dtype=np.float32)[np.arange(24) % 3]


def run(faces, folder, recipe=QUICK, stop_after=None, build=small_network, targets=ONE_HOT):
    def on_epoch(row):
        if row["epoch"] == stop_after:
            raise KeyboardInterrupt

    return train(build, GRAY, (faces, targets), (faces, ONE_HOT), folder, recipe, on_epoch=on_epoch)


def history(folder):
    return json.loads((folder / "history.json").read_text())["epochs"]


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


@pytest.mark.parametrize(
    "recipe",
    [
        pytest.param(QUICK, id="sgd"),
        pytest.param(replace(QUICK, averaging=0.9), id="averaged", marks=pytest.mark.slow),
        pytest.param(
            replace(QUICK, optimizer="adam", rate=1e-3, mixup=0.3),
            id="adam-mixup",
            marks=pytest.mark.slow,
        ),
    ],
)
def test_a_resumed_run_ends_as_an_unbroken_one(faces, tmp_path, recipe):
    whole = run(faces, tmp_path / "whole", recipe)
    with pytest.raises(KeyboardInterrupt):
        run(faces, tmp_path / "broken", recipe, stop_after=2)
    resumed = run(faces, tmp_path / "broken", recipe)
    for one, other in zip(whole.get_weights(), resumed.get_weights(), strict=True):
        assert one == pytest.approx(other, abs=1e-6)


@pytest.mark.slow
def test_a_killed_run_ends_as_an_unbroken_one(faces, tmp_path):
    recipe = replace(QUICK, epochs=6)
    np.save(tmp_path / "faces.npy", faces)
    program = f"""
import sys; sys.path.insert(0, {str(ROOT)!r})
from tests.training.test_loop import *
faces = np.load({str(tmp_path / "faces.npy")!r})
run(faces, Path({str(tmp_path / "killed")!r}), {recipe!r})
"""
    child = subprocess.Popen([sys.executable, "-c", program], stderr=subprocess.DEVNULL)
    try:
        while not (tmp_path / "killed" / "state.npz").exists():
            assert child.poll() is None
            time.sleep(0.005)
    finally:
        child.send_signal(signal.SIGKILL)
        child.wait()
    assert len(history(tmp_path / "killed")) < 6
    resumed = run(faces, tmp_path / "killed", recipe)
    whole = run(faces, tmp_path / "whole", recipe)
    for one, other in zip(whole.get_weights(), resumed.get_weights(), strict=True):
        assert one == pytest.approx(other, abs=1e-6)


def test_a_run_of_another_recipe_is_not_continued(faces, tmp_path):
    run(faces, tmp_path)
    with pytest.raises(TrainingError, match="a run with a different setting: recipe"):
        run(faces, tmp_path, replace(QUICK, rate=0.01))
    with pytest.raises(TrainingError, match="a run with a different setting: faces"):
        run(faces[::-1], tmp_path)
    (tmp_path / "state.npz").write_bytes(b"PK")
    with pytest.raises(TrainingError, match="is damaged"):
        run(faces, tmp_path)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("rate", "abc"), ("rate", float("nan")), ("seed", -1), ("batch_size", True),
        ("momentum", 7), ("warmup_epochs", "x"), ("augmentation", 5), ("augmentation", {"foo": 1}),
    ],
)  # fmt: skip
def test_a_recipe_says_what_its_numbers_may_be(name, value):
    with pytest.raises(TrainingError, match=f"{name} is "):
        TrainingRecipe(**{name: value})


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
    ((_, targets, weights),) = _Batches(GRAY, faces, shares, recipe).of_epoch(0)
    assert (weights[:, None] * targets).sum(axis=0) == pytest.approx([5, 5])


def test_mixup_mixes_faces_and_targets_alike():
    faces = np.zeros((8, 48, 48), np.uint8)
    faces[4:] = 255
    shares = np.eye(2, dtype=np.float32)[[0] * 4 + [1] * 4]
    recipe = replace(QUICK, mixup=1.0, augmentation=None, batch_size=8)
    ((inputs, targets),) = _Batches(Preprocess("gray", 48), faces, shares, recipe).of_epoch(0)
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


@pytest.mark.slow
def test_softmax_logits_and_margins_are_each_given_their_loss(faces, tmp_path):
    import keras

    def ends_in(activation):
        def build():
            base = small_network()
            last = keras.layers.Dense(3, activation=activation)(base.layers[-2].output)
            return keras.Model(base.inputs, last)

        return build

    untrained = replace(QUICK, epochs=1, rate=0.0, label_smoothing=0.0, augmentation=None)
    for folder, activation, loss, expected in (
        ("softmax", "softmax", "crossentropy", np.log(3)),
        ("logits", None, "crossentropy", np.log(3)),
        ("margins", None, "squared_hinge", 1.0),
    ):
        recipe = replace(untrained, loss=loss)
        run(faces * 0 + 128, tmp_path / folder, recipe, build=ends_in(activation))  # all inputs 0
        assert history(tmp_path / folder)[0]["validation_loss"] == pytest.approx(expected, abs=1e-3)


def test_a_loss_that_is_no_number_ends_training_with_the_reason(faces, tmp_path):
    with pytest.raises(TrainingError, match="too high"):
        run(faces, tmp_path, replace(QUICK, epochs=30, rate=1e12, augmentation=None))


def test_faces_and_targets_that_do_not_match_are_refused(faces, tmp_path):
    with pytest.raises(TrainingError, match="24 training faces and targets of the shape"):
        run(faces, tmp_path, targets=ONE_HOT[:20])
    with pytest.raises(TrainingError, match="use sgd"):
        run(faces, tmp_path, replace(QUICK, optimizer="adam", body_rate=0.1))


@pytest.fixture
def data(faces):
    labels = ["happy", "sad", "angry"] * 8
    return Dataset.from_images(faces, labels, ["train"] * 18 + ["validation"] * 6)


def test_a_trained_backbone_answers_as_its_own_last_layer_does(data, tmp_path, faces):
    recipe = replace(QUICK, epochs=2, rate=0.01, keep="best", averaging=0.9)
    pipeline = train_backbone(data, "cnn-a", tmp_path / "run", recipe).pipeline
    assert pipeline.classes_.tolist() == ["angry", "happy", "sad"]
    own = pipeline.set_params(engine="keras", store="none")
    network = load_backbone(pipeline.embedder.request).model
    shares = network.predict(_inputs(Preprocess("gray", 48), faces), verbose=0)
    assert own.predict_proba(list(data.images)) == pytest.approx(shares, abs=1e-3)
    best = max(row["validation_accuracy"] for row in history(tmp_path / "run"))
    right = own.predict(list(data.images))[18:] == data.labels[18:]
    assert right.mean() == pytest.approx(best)
    assert (tmp_path / "run" / "curves.png").stat().st_size > 5_000


@pytest.mark.slow
def test_a_trained_pipeline_is_saved_with_its_weights(data, tmp_path):
    pipeline = train_backbone(data, "cnn-a", tmp_path / "run", replace(QUICK, epochs=1)).pipeline
    pipeline.save(tmp_path / "model")
    (tmp_path / "run" / "cnn-a.npz").unlink()
    loaded = Pipeline.load(tmp_path / "model", store="none")
    assert loaded.predict(list(data.images)).shape == (24,)
    labels = data.split("train").labels.tolist()
    shares = {label: labels.count(label) / len(labels) for label in data.classes}
    assert loaded.training_prior_ == pytest.approx(shares)


@pytest.mark.slow
def test_fine_tuning_starts_from_the_weights_given(data, tmp_path):
    still = replace(QUICK, epochs=1, rate=0.0, weight_decay=0.0)
    first = train_backbone(data, "cnn-a", tmp_path / "a", replace(QUICK, epochs=1)).pipeline
    again = train_backbone(data, "cnn-a", tmp_path / "b", still, weights=first.weights).pipeline
    found, given = (read_weights(Path(p.weights)) for p in (again, first))
    assert all((found[name] == given[name]).all() for name in given)
    fewer = Dataset.from_images(list(data.images), ["happy", "sad"] * 12, data.splits)
    other = train_backbone(fewer, "cnn-a", tmp_path / "c", still, weights=first.weights).pipeline
    found = read_weights(Path(other.weights))
    assert (found["dense1/kernel"] == given["dense1/kernel"]).all()
    assert found["output/kernel"].shape == (64, 2)


def test_pictures_that_cannot_be_read_are_left_out_and_named(data, tmp_path, faces):
    images = [*faces[:23], b"no picture"]
    broken = Dataset.from_images(images, data.labels, data.splits)
    pipeline = train_backbone(broken, "cnn-a", tmp_path, replace(QUICK, epochs=1)).pipeline
    assert [failure.position for failure in pipeline.failures_] == [5]  # of the validation split


def test_a_setting_that_is_none_is_refused_with_the_known_ones():
    with pytest.raises(UnknownName, match="No schedule is called 'cosin'. Did you mean 'cosine'"):
        TrainingRecipe(schedule="cosin")
    with pytest.raises(TrainingError, match="epochs is 0"):
        TrainingRecipe(epochs=0)
    assert TrainingRecipe(augmentation={"rotation": 3}).augmentation == Augmentation(rotation=3)


def test_pictures_of_several_sizes_are_seen_as_the_pipeline_sees_them(tmp_path):
    rng = np.random.default_rng(3)
    shapes = [(30, 30), (40, 100), (48, 48), (70, 60)]
    pictures = [rng.integers(0, 256, (*shape, 3), dtype=np.uint8) for shape in shapes]
    gray = Preprocess("gray", 48)
    faces, _ = _faces_and_targets(Dataset.from_images(pictures, ["happy"] * 4), gray, [], None)
    assert np.array_equal(_inputs(gray, faces), gray(pictures))


def test_any_seed_that_a_recipe_takes_can_be_used(faces, tmp_path):
    run(faces, tmp_path, replace(QUICK, epochs=1, seed=2**40))
    assert len(history(tmp_path)) == 1


def test_the_loss_of_several_label_sets_is_the_sum_of_their_crossentropies():
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(4, 5)).astype(np.float32)
    targets = np.array(
        [
            [1, 0, 0, 0.5, 0.5],
            [0, 1, 0, 0, 0],  # without a label in the second set
            [0, 0, 0, 0, 1],  # nor in the first
            [0.25, 0.25, 0, 0, 0],  # counts half
        ],
        np.float32,
    )

    def log_softmax(values):
        return values - np.log(np.exp(values).sum(axis=1, keepdims=True))

    first = -(targets[:, :3] * log_softmax(logits[:, :3])).sum(axis=1)
    second = -(targets[:, 3:] * log_softmax(logits[:, 3:])).sum(axis=1)
    found = np.asarray(_crossentropy_of_sets((3, 2), 0.0)(targets, logits))
    assert found == pytest.approx(first + second, rel=1e-5)
    assert second[1] == first[2] == 0
    smoothed = np.asarray(_crossentropy_of_sets((3, 2), 0.1)(targets, logits))
    even = -(np.full((1, 3), 1 / 3) * log_softmax(logits[1:2, :3])).sum()
    assert smoothed[1] == pytest.approx(0.9 * first[1] + 0.1 * even, rel=1e-5)


def test_the_accuracy_of_a_label_set_counts_only_faces_that_have_a_label_there():
    outputs = np.array([[2, 1, 0, 1], [1, 2, 1, 0], [2, 1, 0, 1]], np.float32)
    targets = np.array([[1, 0, 1, 0], [1, 0, 0, 0], [0, 0, 0, 1]], np.float32)
    found = validation_accuracies(outputs, targets, (2, 2))
    assert found == {"validation_accuracy": 0.5, "validation_accuracy_2": 0.5}
    assert validation_accuracies(outputs, targets[:, :2] + 1e-9, ()).keys() == {
        "validation_accuracy"
    }


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


@pytest.mark.slow
def test_paths_may_be_strings(data, faces, tmp_path):
    result = train_backbone(data, "cnn-a", str(tmp_path / "run"), replace(QUICK, epochs=1))
    assert result.weights == tmp_path / "run" / "cnn-a.npz"
    assert len(result.history) == 1
    assert result.validation_accuracy == result.best_validation_accuracy
    assert result.curves.exists()
    run(faces, str(tmp_path / "loop"), replace(QUICK, epochs=1))
    assert len(history(tmp_path / "loop")) == 1


def test_pictures_batches_and_epochs_are_reported(data, tmp_path):
    seen, rows = [], []
    result = train_backbone(
        data,
        "cnn-a",
        tmp_path,
        replace(QUICK, epochs=2, batch_size=8),
        progress=lambda *counts: seen.append(counts),
        on_epoch=rows.append,
    )
    training, validation = (len(data.split(name)) for name in ("train", "validation"))
    read = [(1, training), (training, training), (1, validation), (validation, validation)]
    total = 2 * -(-training // 8)
    assert seen == [*read, *((done, total) for done in range(1, total + 1))]
    assert tuple(rows) == result.history


def test_the_dtype_policy_of_keras_is_the_users_again_after_training(faces, tmp_path):
    import keras

    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        run(faces, tmp_path, replace(QUICK, epochs=1))
        assert keras.config.dtype_policy().name == "mixed_bfloat16"
    finally:
        keras.config.set_dtype_policy(before)


def test_an_error_with_averaged_weights_leaves_the_model_its_own(faces, tmp_path):
    recipe = replace(QUICK, averaging=0.9)
    model = small_network()
    checkpoint = Checkpoint(tmp_path, recipe, {}, model, make_optimizer(model, recipe))
    checkpoint.averages = [0 * average for average in checkpoint.averages]
    own = model.get_weights()
    inside = []

    def interrupted():
        with checkpoint.averaged():
            inside.extend(model.get_weights())
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert not any(weight.any() for weight in inside)
    for weight, other in zip(model.get_weights(), own, strict=True):
        assert (weight == other).all()
