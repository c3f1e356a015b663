"""The loss, the metrics and the optimizer of a recipe."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ferembed.inference.openvino import Floats
from ferembed.training.recipe import TrainingRecipe

"""(n, classes): the probability of each class for each face."""


def make_loss(model: Any, recipe: TrainingRecipe, label_sets: Sequence[int]) -> Any:
    import keras

    if label_sets:
        return _crossentropy_of_sets(label_sets, recipe.label_smoothing)
    if recipe.loss == "squared_hinge":
        return keras.losses.SquaredHinge()
    softmax = getattr(model.layers[-1], "activation", None) is keras.activations.softmax
    return keras.losses.CategoricalCrossentropy(
        from_logits=not softmax, label_smoothing=recipe.label_smoothing
    )


def _crossentropy_of_sets(label_sets: Sequence[int], smoothing: float) -> Any:
    """The sum of the cross-entropies of the label sets; each has some columns of the logits."""
    from keras import ops

    ends = np.cumsum(label_sets)

    def crossentropy(targets: Any, logits: Any) -> Any:
        total = 0.0
        for end, width in zip(ends, label_sets, strict=True):
            part = ops.convert_to_tensor(targets)[:, end - width : end]
            weight = ops.sum(part, axis=1, keepdims=True)
            part = (1 - smoothing) * part + smoothing * weight / width
            total -= ops.sum(part * ops.log_softmax(logits[:, end - width : end]), axis=1)
        return total

    return crossentropy


def accuracy_metric(width: int) -> Any:
    """The metric of the first label set, whose columns are the first `width`."""
    from keras import ops

    def accuracy(targets: Any, logits: Any) -> Any:
        labelled = ops.cast(ops.sum(targets[:, :width], axis=1) > 0, "float32")
        right = ops.argmax(targets[:, :width], axis=1) == ops.argmax(logits[:, :width], axis=1)
        return ops.cast(right, "float32") * labelled / (ops.mean(labelled) + 1e-9)

    return accuracy


def validation_accuracies(
    outputs: Floats, targets: Floats, label_sets: Sequence[int]
) -> dict[str, float]:
    """The accuracy in each label set, over the faces that have a label there."""
    accuracies, start = {}, 0
    for number, width in enumerate(label_sets or (targets.shape[1],), 1):
        part = slice(start, start + width)
        rows = targets[:, part].any(axis=1)
        right = outputs[rows, part].argmax(axis=1) == targets[rows, part].argmax(axis=1)
        name = "validation_accuracy" + (f"_{number}" if number > 1 else "")
        accuracies[name] = float(right.mean()) if rows.any() else 0.0
        start += width
    return accuracies


def make_optimizer(model: Any, recipe: TrainingRecipe) -> Any:
    import keras

    kind = {"sgd": keras.optimizers.SGD, "adam": keras.optimizers.Adam}[recipe.optimizer]
    last = {variable.path for variable in model.layers[-1].trainable_variables}

    class Optimizer(kind):  # type: ignore[misc, valid-type]
        """An optimizer that scales the gradients of all but the last layer by `body_rate`."""

        def apply(self, grads: Any, trainable_variables: Any = None) -> Any:
            if recipe.body_rate != 1:
                grads = [
                    grad if variable.path in last else grad * recipe.body_rate
                    for grad, variable in zip(grads, model.trainable_variables, strict=True)
                ]
            return super().apply(grads, trainable_variables)

    decay = recipe.weight_decay or None
    if recipe.optimizer == "sgd":
        optimizer = Optimizer(momentum=recipe.momentum, nesterov=True, weight_decay=decay)
    else:
        optimizer = Optimizer(weight_decay=decay)
    if decay:
        optimizer.exclude_from_weight_decay(var_names=["bias", "gamma", "beta"])
    return optimizer
