"""The model that reads photos or videos, loaded without delay."""

from __future__ import annotations

import argparse
import gc
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ferembed.cli.options import PREDICTION, given

if TYPE_CHECKING:
    from ferembed.pipeline import Pipeline


@contextmanager
def garbage_collection_off() -> Iterator[None]:
    """Inside `with`, Python does not look for garbage: imports make many objects and no garbage."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


@dataclass(frozen=True)
class Model:
    """A model that is not loaded yet: its name or path, settings, and changes of its detection."""

    name: str
    settings: dict[str, Any]
    detection: dict[str, Any]

    @classmethod
    def from_options(cls, options: argparse.Namespace) -> Model:
        """The model that the options of `add_model` name."""
        return cls(
            options.model,
            given(options, "detector", "max_pixels", "store", "engine", *PREDICTION),
            given(options, "min_face", "fallback_to_whole_image"),
        )

    @garbage_collection_off()
    def load(self) -> Pipeline:
        from dataclasses import replace

        from ferembed.faces import FaceRecipe
        from ferembed.pipeline import Pipeline

        pipeline = Pipeline.load(self.name, **self.settings)
        # set_params would import scikit-learn
        pipeline.detector = replace(FaceRecipe.named(pipeline.detector), **self.detection)
        return pipeline
