"""serve: run the service on uvicorn, in one process or in several."""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import sys
import tempfile
from contextlib import ExitStack

import uvicorn
from fastapi import FastAPI
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.supervisors import Multiprocess

from ferembed.errors import ServiceError
from ferembed.pipeline import Pipeline
from ferembed.service.app import create_app
from ferembed.service.problems import Problem
from ferembed.service.settings import Settings

_HEAD_SECONDS = 10.0  # for a client to send the head of a request
_GRACE = 5.0  # seconds beyond the deadline, for the answer to be taken
_KEEP_ALIVE = 5  # seconds for a further request
_LARGEST_HEAD = 64_000  # bytes
_SHUTDOWN = 30  # seconds to finish what is in flight


def serve(settings: Settings) -> None:
    """Run the service until it is stopped. Requests in progress are finished."""
    settings.api_keys()  # refused here rather than in each worker
    load_pipelines(settings)
    with ExitStack() as stack:
        listening = stack.enter_context(_listening(settings))
        _tell(settings, listening.getsockname()[1])
        os.environ.update(settings.to_environment())
        if settings.workers > 1:
            folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="ferembed-metrics-"))
            os.environ["PROMETHEUS_MULTIPROC_DIR"] = folder
        config = uvicorn.Config(
            "ferembed.service.server:app_from_environment",
            factory=True,
            http=_Protocol,
            ws="websockets-sansio",
            ws_max_size=settings.max_bytes,
            ws_max_queue=4,
            ws_per_message_deflate=False,
            workers=settings.workers,
            access_log=False,
            log_level="error",  # a warning for each malformed request would fill the log
            server_header=False,
            timeout_keep_alive=_KEEP_ALIVE,
            timeout_graceful_shutdown=_SHUTDOWN,
        )
        if settings.workers > 1:
            Multiprocess(config, [listening]).run()
        else:
            uvicorn.Server(config).run([listening])


def app_from_environment() -> FastAPI:
    """The app of the FEREMBED_* variables, in each worker."""
    logging.getLogger("python_multipart").setLevel(logging.ERROR)  # it would quote from forms
    settings = Settings.from_environment()
    return create_app(load_pipelines(settings), settings)


def load_pipelines(settings: Settings) -> dict[str, Pipeline]:
    """The served models, by the names that requests use."""
    pipelines: dict[str, Pipeline] = {}
    for path in settings.model:
        name = os.path.basename(os.path.normpath(path)).removesuffix(".ferembed")
        if name in pipelines:
            raise ServiceError(
                f"Two models are called {name!r}. Requests choose a model by the last part of its "
                "path: rename one of them."
            )
        pipelines[name] = Pipeline.load(
            path, store=settings.store, engine=settings.engine, max_pixels=settings.max_pixels
        )
    return pipelines


def _listening(settings: Settings) -> socket.socket:
    """The socket that clients connect to; a port of 0 takes any that is free."""
    try:
        found = socket.getaddrinfo(settings.host, settings.port, type=socket.SOCK_STREAM)
        family, kind, protocol, _, address = found[0]
        listening = socket.socket(family, kind, protocol)
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(address)
    except OSError as error:
        raise ServiceError(
            f"The service cannot listen on {settings.host} port {settings.port}: {error.strerror}. "
            "Choose another with --port."
        ) from error
    listening.set_inheritable(True)
    return listening


def _tell(settings: Settings, port: int) -> None:
    host = "localhost" if settings.is_loopback else socket.gethostname()
    print(f"ferembed: open http://{host}:{port} (Ctrl-C ends it)", file=sys.stderr, flush=True)
    if not settings.is_loopback and settings.api_key_file is None:
        print(
            f"ferembed: warning: everybody who can reach {settings.host} can use this service. "
            "Give --api-key-file FILE, and let a proxy add TLS.",
            file=sys.stderr,
            flush=True,
        )


class _Protocol(HttpToolsProtocol):
    """HTTP that drops slow clients and request heads that are too large.

    A timer limits the head of a request, the request and its response, and the pause until the
    next request. When it expires, the connection is closed.
    """

    _timer: asyncio.TimerHandle | None = None
    _in_head = False
    _head = 0  # bytes
    _has_body = False  # all of it

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._arm(_HEAD_SECONDS)

    def connection_lost(self, exc: Exception | None) -> None:
        self._disarm()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self._in_head:
            self._head += len(data)
            if self._head > _LARGEST_HEAD:
                self.transport.abort()

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._in_head, self._head, self._has_body = True, 0, False
        self._arm(_HEAD_SECONDS)

    def on_headers_complete(self) -> None:
        super().on_headers_complete()
        self._in_head = False
        self._arm(self._whole())

    def on_message_complete(self) -> None:
        super().on_message_complete()
        self._has_body = True

    def on_response_complete(self) -> None:
        super().on_response_complete()
        # What was refused early is still being sent: its sender reads the answer afterwards.
        self._arm(_KEEP_ALIVE if self._has_body else self._whole())

    def send_400_response(self, msg: str) -> None:
        """Answer what is no HTTP as other errors are answered."""
        response = Problem(400, msg).response()
        response.headers["connection"] = "close"
        head = b"".join(b"%b: %b\r\n" % header for header in response.raw_headers)
        self.transport.write(b"HTTP/1.1 400 Bad Request\r\n%b\r\n%b" % (head, bytes(response.body)))
        self.transport.close()

    def handle_websocket_upgrade(self) -> None:
        self._disarm()
        super().handle_websocket_upgrade()

    def _whole(self) -> float:
        return float(self.app_state.get("deadline", 30.0)) + _GRACE

    def _arm(self, seconds: float) -> None:
        self._disarm()
        self._timer = self.loop.call_later(seconds, self.transport.abort)

    def _disarm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
