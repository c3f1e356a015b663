"""The service: a pipeline over HTTP, and a page that reads the camera and photos.

`ferembed serve` starts it; `create_app` returns an ASGI app.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ferembed.service.app import create_app as create_app
    from ferembed.service.server import serve as serve
    from ferembed.service.settings import Settings as Settings

_HOME = {"Settings": "settings", "create_app": "app", "serve": "server"}
__all__ = [*_HOME]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'ferembed.service' has no attribute {name!r}")
    return getattr(import_module(f"ferembed.service.{_HOME[name]}"), name)
