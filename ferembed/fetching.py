"""Files of weights that are fetched by name: those of backbones, and of the detector "yunet"."""

from __future__ import annotations

from pathlib import Path

from ferembed._progress import Progress
from ferembed.backbones import BACKBONES, fetch_weights
from ferembed.faces import yunet
from ferembed.storage.weights import Weights


def fetch(
    name: str,
    source: Path | None = None,
    progress: Progress = lambda done, total: None,
) -> Weights:
    """The weights of this name, downloaded or copied from `source` if necessary."""
    if name == yunet.MODEL.name:
        yunet.MODEL.fetch(source)
        return yunet.MODEL
    fetch_weights(name, source, progress)
    weights = BACKBONES[name].weights
    assert weights is not None  # or fetch_weights raises
    return weights
