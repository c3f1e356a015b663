"""The folders of ferembed: the user's cache, downloaded weights, and the models that ship."""

from __future__ import annotations

import os
from pathlib import Path

import platformdirs


def cache_folder() -> Path:
    """The folder for what can be computed again: $FEREMBED_CACHE, or the user's cache folder."""
    chosen = os.environ.get("FEREMBED_CACHE")
    return Path(chosen) if chosen else platformdirs.user_cache_path("ferembed", appauthor=False)


def weights_folder() -> Path:
    """The folder for weights of others: $FEREMBED_WEIGHTS, or a folder in the cache."""
    return Path(os.environ.get("FEREMBED_WEIGHTS") or cache_folder() / "weights")


def models_folder() -> Path:
    """The models that ship: inside the package when installed, beside it in a checkout."""
    package = Path(__file__).parent.parent
    installed = package / "models"
    return installed if installed.exists() else package.parent / "models"


def weights_search_path() -> tuple[Path, ...]:
    """The folders where weights are searched, in this order."""
    return weights_folder(), models_folder() / "backbones", cache_folder() / "weights"
