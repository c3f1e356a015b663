"""A run that was interrupted ends as an unbroken one."""

import signal
import subprocess
import sys
import time
from dataclasses import replace

import numpy as np
import pytest

from ferembed.errors import TrainingError
from ferembed.training.checkpoint import Checkpoint
from ferembed.training.losses import make_optimizer
from tests.conftest import ROOT
from tests.helpers.training import QUICK, history, run, small_network


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
from pathlib import Path
import numpy as np
from ferembed.training import Augmentation, TrainingRecipe
from tests.helpers.training import run
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
