from dataclasses import replace

import numpy as np
import pytest

from ferembed.training.losses import (
    _crossentropy_of_sets,
    validation_accuracies,
)
from tests.helpers.training import QUICK, history, run, small_network


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
