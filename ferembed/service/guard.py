"""Guard: middleware that checks hosts, keys, body sizes and deadlines before every route."""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
import re
import socket
import time
from collections.abc import Callable, Iterable

import anyio
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ferembed.service.metrics import Metrics
from ferembed.service.problems import Problem
from ferembed.service.settings import Settings

_BODIES = 8  # bodies of the largest size that are held at a time
_HOST = re.compile(r"(\[[^]]*\]|[^:]*)(:\d*)?")  # a name or an address, and a port
_OPEN_PATHS = frozenset({"/", "/healthz", "/readyz", "/openapi.json"})  # needing no key
_HEADERS = {
    "content-security-policy": "default-src 'none'; script-src 'self'; style-src 'self'; "
    "img-src 'self' blob: data:; media-src 'self' blob:; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(self), microphone=(), geolocation=()",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "cache-control": "no-store",
}


class Keys:
    """The valid API keys, compared in constant time."""

    def __init__(self, keys: Iterable[bytes]) -> None:
        self._digests = [hashlib.sha256(key).digest() for key in keys]

    def fits(self, key: str) -> bool:
        given = hashlib.sha256(key.encode("utf-8", "surrogateescape")).digest()
        found = False
        for digest in self._digests:
            found |= hmac.compare_digest(digest, given)
        return found or not self._digests


def key_of(headers: Headers) -> str:
    """The key that a request sends: `Authorization: Bearer KEY` or `X-API-Key: KEY`."""
    kind, _, key = headers.get("authorization", "").partition(" ")
    return key.strip() if kind.lower() == "bearer" else headers.get("x-api-key", "")


def _host_of(headers: Headers) -> str:
    """The host that a request names; several, which no client sends, are no host."""
    return ", ".join(headers.getlist("host"))


class Hosts:
    """The host names that requests may use; others are refused against DNS rebinding.

    A web site can let its host name resolve to this address, but it cannot use an IP address.
    """

    def __init__(self, settings: Settings) -> None:
        own = () if settings.is_loopback else (socket.gethostname(), socket.getfqdn())
        names = ("localhost", settings.host, *settings.allow_host, *own)
        self._names = {name.lower() for name in names}
        self._loopback_only = settings.is_loopback

    def allows(self, host: str) -> bool:
        found = _HOST.fullmatch(host)
        if found is None:
            return False
        name = found[1].removeprefix("[").removesuffix("]").lower()
        if name in self._names:
            return True
        try:
            address = ipaddress.ip_address(name)
        except ValueError:
            return False
        return address.is_loopback or not self._loopback_only


class Guard:
    """ASGI middleware: checks, limits and counts requests."""

    def __init__(
        self,
        app: ASGIApp,
        settings: Settings,
        metrics: Metrics,
        keys: Keys,
        admit: Callable[[int], None],
    ) -> None:
        self._app = app
        self._admit = admit
        self._settings = settings
        self._metrics = metrics
        self._keys = keys
        self._hosts = Hosts(settings)
        self._held = 0  # bytes of bodies

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        if scope["type"] == "websocket":
            await self._websocket(scope, receive, send)
            return
        started, status = time.perf_counter(), 0

        async def send_guarded(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = MutableHeaders(scope=message)
                for name, value in _HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        body = _Body(scope, receive, self._settings.max_bytes, self._hold)
        try:
            with anyio.move_on_after(self._settings.deadline) as limit:
                try:
                    self._check(scope)
                    await self._app(scope, body.receive, send_guarded)
                except Problem as problem:
                    if not status:
                        await problem.response()(scope, receive, send_guarded)
            if limit.cancelled_caught and not status:
                await self._late(body).response()(scope, receive, send_guarded)
        finally:
            self._held -= body.size
            path = getattr(scope.get("route"), "path", "other")
            self._metrics.requests.labels(path, str(status)).inc()
            self._metrics.latency.labels(path).observe(time.perf_counter() - started)

    def _check(self, scope: Scope) -> None:
        headers = Headers(scope=scope)
        if not self._hosts.allows(host := _host_of(headers)):
            raise Problem(
                400,
                f"The host {host[:100]!r} is not allowed. Use the address of the server, or start "
                "it with --allow-host NAME.",
            )
        path = scope["path"]
        is_open = path in _OPEN_PATHS or path.startswith("/page/")
        if not (is_open or scope["method"] == "OPTIONS" or self._keys.fits(key_of(headers))):
            raise Problem(
                401,
                "The key is wrong or missing. Send it as: Authorization: Bearer KEY",
                {"WWW-Authenticate": "Bearer"},
            )
        length = headers.get("content-length", "")
        if length.isdecimal() and int(length) > self._settings.max_bytes:
            raise too_large(self._settings.max_bytes)
        if scope["method"] == "POST" and path.startswith("/v1/"):
            self._admit(1)  # refused here, a request costs others the least

    def _hold(self, count: int) -> None:
        if self._held + count > _BODIES * self._settings.max_bytes:
            raise busy(1)
        self._held += count

    def _late(self, body: _Body) -> Problem:
        seconds = f"{self._settings.deadline:g} seconds"
        if not body.complete:
            return Problem(408, f"The body did not arrive within {seconds}.")
        return Problem(
            503, f"There was no answer within {seconds}. Try again.", {"Retry-After": "5"}
        )

    async def _websocket(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = Headers(scope=scope)
        host, origin = _host_of(headers), headers.get("origin")
        same = origin is None or origin.split("://", 1)[-1] == host
        if self._hosts.allows(host) and (same or origin in self._settings.allow_origin):
            await self._app(scope, receive, send)
        else:
            await receive()
            await send({"type": "websocket.close", "code": 1008})  # before accept: HTTP 403


def too_large(limit: int) -> Problem:
    return Problem(
        413,
        f"The body has more than {limit:,} bytes, the limit. Send fewer pictures at once.",
    )


def busy(seconds: int) -> Problem:
    return Problem(
        429,
        f"The server is busy: its queue is full. Try again in {seconds} s.",
        {"Retry-After": str(seconds)},
    )


class _Body:
    """The body of a request as it comes in, up to its limit."""

    def __init__(
        self, scope: Scope, receive: Receive, limit: int, hold: Callable[[int], None]
    ) -> None:
        headers = Headers(scope=scope)
        self._receive = receive
        self._limit = limit
        self._hold = hold
        self.size = 0
        has_none = headers.get("content-length", "0") == "0"
        self.complete = has_none and "transfer-encoding" not in headers

    async def receive(self) -> Message:
        message = await self._receive()
        if message["type"] == "http.request":
            count = len(message.get("body", b""))
            if self.size + count > self._limit:
                raise too_large(self._limit)
            self._hold(count)
            self.size += count
            self.complete = not message.get("more_body", False)
        return message
