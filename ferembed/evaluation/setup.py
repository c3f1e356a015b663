"""Setup: the pipeline that made the predictions of an evaluation, as a report names it."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any

from ferembed.faces import FaceRecipe
from ferembed.pipeline import Pipeline


@dataclass(frozen=True, kw_only=True)
class Setup:
    """The pipeline of an evaluation, and its date.

    backbone : the backbones that are joined, each with its layer if one was chosen
    parameters : of the head, those that are not its defaults
    date : when the evaluation was made, in UTC
    """

    backbone: str
    head: str
    parameters: Mapping[str, str]
    detector: str
    date: str

    @classmethod
    def from_pipeline(cls, pipeline: Pipeline) -> Setup:
        head = pipeline.head_
        defaults = inspect.signature(type(head)).parameters
        given = head.get_params(deep=False) if hasattr(head, "get_params") else {}
        return cls(
            backbone=" + ".join(
                one.name if one.layer is None else f"{one.name} ({one.layer})"
                for one in pipeline.embedder.requests
            ),
            head=type(head).__name__,
            parameters={
                name: repr(value)
                for name, value in sorted(given.items())
                if name not in defaults or repr(defaults[name].default) != repr(value)
            },
            detector=str(FaceRecipe.resolve(pipeline.detector).detector),
            date=f"{datetime.now(timezone.utc):%Y-%m-%d %H:%M} UTC",
        )

    @classmethod
    def from_dict(cls, fields: Mapping[str, Any]) -> Setup:
        words = {name: str(fields[name]) for name in ("backbone", "head", "detector", "date")}
        parameters = {str(key): str(value) for key, value in fields["parameters"].items()}
        return cls(parameters=parameters, **words)
