"""Pictures, answers and streams of the service, for tests."""

from __future__ import annotations

import asyncio
import json
import struct
import zlib
from collections.abc import Iterator
from contextlib import contextmanager

import cv2
import httpx
import numpy as np
import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

from ferembed.service import Settings, create_app

KEY = "the-key-of-this-test"


def told(answer: httpx.Response) -> tuple[int, str]:
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["status"] == answer.status_code
    return answer.status_code, answer.json()["detail"]


def png_head(width: int, height: int) -> bytes:
    """A PNG that says to be so large, and ends after saying so."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        check = struct.pack(">I", zlib.crc32(kind + content))
        return struct.pack(">I", len(content)) + kind + content + check

    size = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", size) + chunk(b"IDAT", b"") + chunk(b"IEND", b"")


def png(pixels: np.ndarray) -> bytes:
    return cv2.imencode(".png", np.ascontiguousarray(pixels[..., ::-1]))[1].tobytes()


def assert_equal(face: dict, prediction) -> None:
    assert face["box"] == list(prediction.box)
    assert face["label"] == prediction.label
    assert face["probabilities"] == pytest.approx(dict(prediction.probabilities), abs=2e-6)


async def with_app(pipeline, ask):
    """Call a function with a client of an app of this pipeline, and return its result."""
    app = create_app(pipeline, Settings(model=("mine",)))
    transport = httpx.ASGITransport(app)
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=transport, base_url="http://localhost") as client,
    ):
        while (await client.get("/readyz")).status_code == 503:
            await asyncio.sleep(0.01)
        return await ask(client)


@contextmanager
def open_stream(server, first: str | bytes = "", **options) -> Iterator[ClientConnection]:
    with connect(f"ws://127.0.0.1:{server.port}/v1/stream") as socket:
        socket.send(first or json.dumps(options))
        yield socket


def say_and_hear(socket: ClientConnection, content: bytes) -> str:
    socket.send(content)
    return socket.recv(timeout=60)


def ask(socket: ClientConnection, content: bytes) -> dict:
    return json.loads(say_and_hear(socket, content))


def refusal(server, first: str | bytes = "", **options) -> tuple[int, str]:
    """The code and the text with which the server ends a stream of such options."""
    with open_stream(server, first, **options) as socket:
        told = json.loads(socket.recv(timeout=60))
        with pytest.raises(ConnectionClosed) as closed:
            socket.recv(timeout=60)
    assert closed.value.rcvd.code == told["code"]
    return told["code"], told["error"]
