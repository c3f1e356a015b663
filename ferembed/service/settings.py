"""Settings: how the service runs, from flags and FEREMBED_* variables, checked at the start."""

from __future__ import annotations

import ipaddress
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, get_type_hints

from ferembed.errors import ServiceError, UnknownName
from ferembed.inference import ENGINES
from ferembed.registry import unknown_name_message

_PREFIX = "FEREMBED_"
_SHORTEST_KEY = 16  # characters
_HEADER = re.compile(r"[!-~]+")
_HOST = re.compile(r"[\w.-]+|[\da-fA-F:.]+")  # a name or an address
_ORIGIN = re.compile(r"https?://([\w.-]+|\[[\da-fA-F:.]+\])(:\d+)?")


@dataclass(frozen=True, kw_only=True)
class Settings:
    """The settings of the service. Each can be set by a variable, such as FEREMBED_PORT.

    Lists are separated by commas in a variable: FEREMBED_MODEL=default,fast. Where an entry has a
    comma itself, each ends with a new line.

    Parameters
    ----------
    model : names or paths of the models that are served; the first is used unless a request names
        another
    host, port : the address to listen on
    workers : processes; each holds its own models and its own queue
    api_key_file : a file with one key per line; with None no key is needed
    allow_host : further names by which clients may call this server
    allow_origin : other web sites whose pages may use the API, such as https://example.org
    max_bytes : the largest body of a request, or frame of a stream
    max_pixels : the largest picture, read from its header before it is decoded
    max_pictures : pictures in a request
    max_faces : faces read in a picture, the most confident first
    max_streams : live streams at a time, per worker
    queue : pictures accepted at a time, per worker; when it is full, requests are answered 429
    deadline : seconds until a request is cancelled
    batch_ms : milliseconds that faces wait for the faces of other requests
    batch_faces : the largest batch
    engine, store : as for `Pipeline`; the store is off unless asked for
    """

    model: tuple[str, ...] = ("default",)
    host: str = "127.0.0.1"
    port: int = 8000
    workers: int = 1
    api_key_file: Path | None = None
    allow_host: tuple[str, ...] = ()
    allow_origin: tuple[str, ...] = ()
    max_bytes: int = 32_000_000
    max_pixels: int = 40_000_000
    max_pictures: int = 32
    max_faces: int = 64
    max_streams: int = 8
    queue: int = 32
    deadline: float = 30.0
    batch_ms: float = 3.0
    batch_faces: int = 32
    engine: str = "auto"
    store: str = "none"

    def __post_init__(self) -> None:
        for name, (low, high) in _RANGES.items():
            value = getattr(self, name)
            if isinstance(value, bool) or not low <= value <= high:
                raise ServiceError(f"{name} is {value!r}; it is a number from {low:,} to {high:,}.")
        if not self.model:
            raise ServiceError("No model is named. Name one, such as --model default.")
        if self.engine not in ENGINES:
            raise UnknownName(unknown_name_message("engine", self.engine, list(ENGINES)))
        for host in self.allow_host:
            if not _HOST.fullmatch(host):
                raise ServiceError(
                    f"allow_host is {host!r}; it is a name alone, such as faces.example.org."
                )
        for origin in self.allow_origin:
            if not _ORIGIN.fullmatch(origin):
                raise ServiceError(
                    f"allow_origin is {origin!r}; it is a scheme and a name, such as "
                    "https://example.org, without a path."
                )

    @classmethod
    def from_environment(
        cls, environment: Mapping[str, str] = os.environ, **given: Any
    ) -> Settings:
        """The given settings; those that are None come from variables, or are the defaults."""
        kinds = get_type_hints(cls)
        found: dict[str, Any] = {
            name: tuple(value) if isinstance(value, list) else value
            for name, value in given.items()
            if value is not None
        }
        for field in fields(cls):
            text = environment.get(_PREFIX + field.name.upper(), "")
            if field.name not in found and text:
                found[field.name] = _parsed(_PREFIX + field.name.upper(), text, kinds[field.name])
        return cls(**found)

    def to_environment(self) -> dict[str, str]:
        """Variables from which `from_environment` makes the same settings, for other processes."""
        texts = {}
        for field in fields(self):
            value = getattr(self, field.name)
            if isinstance(value, tuple):
                value = "".join(f"{part}\n" for part in value)
            texts[_PREFIX + field.name.upper()] = "" if value is None else str(value)
        return texts

    @property
    def is_loopback(self) -> bool:
        """True if only programs on this computer can reach the service."""
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return self.host == "localhost"

    def api_keys(self) -> tuple[bytes, ...]:
        """The keys that clients may use; () where none is needed."""
        if self.api_key_file is None:
            return ()
        try:
            lines = self.api_key_file.read_text("utf-8").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise ServiceError(f"The file of keys cannot be read: {error}.") from error
        keys = [line.strip() for line in lines if line.strip() and not line.startswith("#")]
        if not keys:
            raise ServiceError(f"{self.api_key_file} holds no key. Write one on each line.")
        if short := [i for i, key in enumerate(keys, 1) if len(key) < _SHORTEST_KEY]:
            raise ServiceError(
                f"Key {short[0]} in {self.api_key_file} is shorter than {_SHORTEST_KEY} "
                "characters. Make one with: python -c 'import secrets; "
                "print(secrets.token_urlsafe())'"
            )
        if odd := [i for i, key in enumerate(keys, 1) if not _HEADER.fullmatch(key)]:
            raise ServiceError(
                f"Key {odd[0]} in {self.api_key_file} has a space or a character outside ASCII, "
                "which an HTTP header cannot carry. Use letters, digits, - and _."
            )
        return tuple(key.encode() for key in keys)


_RANGES: dict[str, tuple[float, float]] = {
    "port": (0, 65535),
    "workers": (1, 256),
    "max_bytes": (1_000, 1_000_000_000),
    "max_pixels": (1_000, 1_000_000_000),
    "max_pictures": (1, 10_000),
    "max_faces": (1, 10_000),
    "max_streams": (0, 10_000),
    "queue": (1, 100_000),
    "deadline": (0.1, 3600),
    "batch_ms": (0, 1000),
    "batch_faces": (1, 1024),
}


def _parsed(name: str, text: str, kind: Any) -> Any:
    """The value of a variable, as the type of its field wants it."""
    if kind == tuple[str, ...]:
        parts = text.splitlines() if "\n" in text else text.split(",")
        return tuple(part.strip() for part in parts if part.strip())
    if kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            what = "whole number" if kind is int else "number"
            raise ServiceError(f"{name} is {text!r}; it is a {what}.") from None
    return Path(text) if kind == Path | None else text
