"""Keras layers of ferembed. Import this module lazily: it imports Keras."""

from __future__ import annotations

from typing import Any

import keras


@keras.saving.register_keras_serializable("ferembed")
class BatchNorm(keras.layers.BatchNormalization):  # type: ignore[misc]
    """Batch normalisation that trains through TensorFlow's fused kernel.

    Keras 3 computes it with elementwise operations, which take half of a training step on a CPU.
    Weights, names and inference are those of the parent class.
    """

    def call(self, inputs: Any, training: bool | None = None, mask: Any = None) -> Any:
        fused = len(inputs.shape) == 4 and keras.backend.backend() == "tensorflow"
        if not training or not fused:  # the kernel needs 4 dimensions
            return super().call(inputs, training=training, mask=mask)
        import tensorflow as tf

        outputs, mean, variance, *_ = tf.raw_ops.FusedBatchNormV3(
            x=inputs,
            scale=tf.cast(self.gamma, tf.float32),
            offset=tf.cast(self.beta, tf.float32),
            mean=tf.zeros([0]),
            variance=tf.zeros([0]),
            epsilon=self.epsilon,
            is_training=True,
        )
        for moving, batch in ((self.moving_mean, mean), (self.moving_variance, variance)):
            moving.assign(moving * self.momentum + batch * (1.0 - self.momentum))
        return outputs
