"""The model that reads photos or videos, loaded without delay."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ferembed.pipeline import Pipeline


def load_model(
    model: str,
    detector: str | None,
    min_face: float | None,
    fallback_whole_image: bool,
    **settings: Any,
) -> Pipeline:
    """The pipeline, with another detector if one is given."""
    from dataclasses import replace

    from ferembed.faces import FaceRecipe
    from ferembed.pipeline import Pipeline

    if detector:
        settings["detector"] = detector
    pipeline = Pipeline.load(model, **settings)
    recipe = FaceRecipe.named(pipeline.detector)
    if fallback_whole_image:
        recipe = replace(recipe, fallback_to_whole_image=True)
    if min_face is not None:
        recipe = replace(recipe, min_face=min_face)
    pipeline.detector = recipe  # set_params would import scikit-learn
    return pipeline


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
