"""vggface2-mobilenet, fine-tuned: the same graph at another size, and norms that fold away."""

import numpy as np
import pytest

from ferembed.backbones import BACKBONES, fer_mobilenet
from ferembed.backbones.vggface2_mobilenet import WIDTHS


def test_parameters_by_hand():
    conv1 = 3 * 3 * 3 * 32 + 32
    widths = WIDTHS[:12]
    inputs = (32, *widths[:-1])
    blocks = sum(9 * i + i + i * o + o for i, o in zip(inputs, widths, strict=True))
    expected = conv1 + blocks + 1536 * 15 + 15
    assert fer_mobilenet.build().count_params() == expected == BACKBONES["fer-mobilenet"].parameters


@pytest.mark.slow
def test_norms_of_the_later_blocks_are_trained_and_fold_into_the_convolutions():
    model = fer_mobilenet.build(3, frozen=10)
    rng = np.random.default_rng(0)
    for weight in model.weights:
        if "_norm/" in weight.path:
            weight.assign(rng.uniform(0.5, 1.5, weight.shape))
    trained = {weight.path.split("/")[0] for weight in model.trainable_weights}
    blocks = {f"conv_{kind}_{block}" for kind in ("dw", "pw") for block in (11, 12)}
    assert trained == blocks | {f"{name}_norm" for name in blocks} | {"logits"}
    plain = fer_mobilenet.build(3)
    arrays = fer_mobilenet.folded(model)
    assert arrays.keys() == {weight.path for weight in plain.weights}
    for weight in plain.weights:
        weight.assign(arrays[weight.path])
    faces = rng.uniform(-128, 128, (2, fer_mobilenet.SIZE, fer_mobilenet.SIZE, 3)).astype(
        np.float32
    )
    there, here = model(faces, training=False), plain(faces, training=False)
    assert np.std(here) > 0.01
    assert np.asarray(there) == pytest.approx(np.asarray(here), abs=1e-4)
