"""Backbones trained on a data set, and the pipelines made of them."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from ferembed.backbones import load_backbone
from ferembed.backbones.preprocess import Preprocess
from ferembed.datasets import Dataset
from ferembed.pipeline import Pipeline
from ferembed.storage.weights import read_weights
from ferembed.training import train_backbone
from ferembed.training.loop import _inputs
from ferembed.training.transfer import _faces_and_targets
from tests.helpers.training import QUICK, history, run


@pytest.fixture
def data(faces):
    labels = ["happy", "sad", "angry"] * 8
    return Dataset.from_images(faces, labels, ["train"] * 18 + ["validation"] * 6)


def test_a_trained_backbone_predicts_as_its_last_layer(data, tmp_path, faces):
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


def test_pictures_of_several_sizes_are_seen_as_the_pipeline_sees_them(tmp_path):
    rng = np.random.default_rng(3)
    shapes = [(30, 30), (40, 100), (48, 48), (70, 60)]
    pictures = [rng.integers(0, 256, (*shape, 3), dtype=np.uint8) for shape in shapes]
    gray = Preprocess("gray", 48)
    faces, _ = _faces_and_targets(Dataset.from_images(pictures, ["happy"] * 4), gray, [], None)
    assert np.array_equal(_inputs(gray, faces), gray(pictures))


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
