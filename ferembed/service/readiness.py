"""Readiness: whether the models of the service are loaded."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from ferembed.errors import FerembedError
from ferembed.service.problems import Problem


class Readiness:
    """The state of the models: loading, loaded, or failed with a reason."""

    def __init__(self) -> None:
        self._problem = Problem(
            503, "The model is being loaded. Try again in 1 s.", {"Retry-After": "1"}
        )
        self._ready = False

    async def after(self, warm_up: Callable[[], None]) -> None:
        try:
            await asyncio.to_thread(warm_up)
            self._ready = True
        except FerembedError as error:
            logging.getLogger("uvicorn.error").error("The model cannot be used: %s", error)
            self._problem = Problem(503, f"The model cannot be used: {error}")

    def check(self) -> None:
        """Raise a Problem unless the models are loaded."""
        if not self._ready:
            raise self._problem
