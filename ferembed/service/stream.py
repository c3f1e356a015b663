"""WS /v1/stream: receive the frames of a camera, send the people in the newest frame."""

from __future__ import annotations

import asyncio
import itertools
import json
import time
from concurrent.futures import Future
from dataclasses import replace
from typing import Any

from fastapi import FastAPI
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from starlette.websockets import WebSocket, WebSocketDisconnect

from ferembed.errors import FerembedError
from ferembed.faces import FaceRecipe
from ferembed.faces.frames import FrameSearch
from ferembed.labels import display_name
from ferembed.media.tracking import People
from ferembed.service import responses
from ferembed.service.guard import Keys, key_of
from ferembed.service.metrics import Metrics
from ferembed.service.reading import Reader, Result, Upload
from ferembed.service.settings import Settings

WRONG_KEY, BAD_OPTIONS, TOO_MANY, TOO_QUIET = 4401, 4400, 4429, 4408  # closing codes
_AT_ONCE = 2  # frames in work: one is searched while the faces of the other are read
_PATIENCE = 10.0  # seconds for the first message
_QUIET = 120.0  # seconds without a frame


class Options(BaseModel):
    """The first message of a client, as JSON. It may be sent again to change them."""

    model_config = ConfigDict(extra="forbid")

    key: str = ""
    model: str = ""
    detector: str = ""
    min_face: float | None = Field(None, ge=0, le=10_000)
    prior: str = ""
    prior_strength: float = Field(1.0, ge=0, le=1)
    lang: str = "en"
    smoothing: float = Field(0.5, ge=0, le=60)
    every: int = Field(1, ge=1, le=30)  # detect faces in every n-th frame, extrapolate between


def add_stream(
    app: FastAPI, reader: Reader, settings: Settings, metrics: Metrics, keys: Keys
) -> None:
    streams: set[WebSocket] = set()

    @app.websocket("/v1/stream")
    async def stream(socket: WebSocket) -> None:
        await socket.accept()
        if len(streams) >= settings.max_streams:
            await _close(
                socket,
                TOO_MANY,
                "The server has reached its limit of live streams (--max-streams).",
            )
            return
        streams.add(socket)
        metrics.streams.set(len(streams))
        try:
            await _Stream(socket, reader, metrics, keys).serve()
        except WebSocketDisconnect:
            pass
        finally:
            streams.discard(socket)
            metrics.streams.set(len(streams))


class _Stream:
    """One connection: its options, its newest frame, and the people in its frames."""

    def __init__(self, socket: WebSocket, reader: Reader, metrics: Metrics, keys: Keys) -> None:
        self._socket = socket
        self._reader = reader
        self._metrics = metrics
        self._keys = keys
        self._newest: tuple[int, float, bytes] | None = None
        self._arrived = asyncio.Event()
        self._frames = self._dropped = 0
        self._size = (0, 0)  # of the frames
        self._started = time.perf_counter()

    async def serve(self) -> None:
        try:
            first = await asyncio.wait_for(self._socket.receive(), _PATIENCE)
        except asyncio.TimeoutError:
            await _close(self._socket, TOO_QUIET, "There was no message with options.")
            return
        if not await self._take_options(first):
            return
        tasks = {asyncio.create_task(self._receive()), asyncio.create_task(self._answer())}
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _receive(self) -> None:
        """Receive messages; only the newest frame is kept."""
        while True:
            try:
                message = await asyncio.wait_for(self._socket.receive(), _QUIET)
            except asyncio.TimeoutError:
                await _close(self._socket, TOO_QUIET, f"No frame came for {_QUIET:g} seconds.")
                return
            if message["type"] == "websocket.disconnect":
                return
            if message.get("bytes") is None:
                if not await self._take_options(message):
                    return
                continue
            self._frames += 1
            if self._newest is not None:
                self._dropped += 1
                self._metrics.frames.labels("dropped").inc()
            self._newest = self._frames, time.perf_counter() - self._started, message["bytes"]
            self._arrived.set()

    async def _take_options(self, message: Any) -> bool:
        """Apply the options of the client. Wrong options end the connection with an error."""
        if message["type"] == "websocket.disconnect":
            return False
        try:
            options = Options.model_validate_json(message.get("text") or "")
            if not self._keys.fits(options.key or key_of(self._socket.headers)):
                await _close(self._socket, WRONG_KEY, "The key is wrong or missing.")
                return False
            reading = options.model_dump(exclude={"key", "lang", "smoothing", "every"})
            read_options = self._reader.read_options(**reading)
            display_name("", options.lang)
        except ValidationError as error:
            found = "; ".join(
                ": ".join([*map(str, one["loc"]), one["msg"]]) for one in error.errors()
            )
            await _close(self._socket, BAD_OPTIONS, f"The options cannot be read: {found}.")
            return False
        except FerembedError as error:
            await _close(self._socket, BAD_OPTIONS, str(error))
            return False
        if isinstance(read_options.recipe, FaceRecipe):
            read_options = replace(read_options, recipe=FrameSearch(read_options.recipe))
        self._read_options, self._lang, self._every = read_options, options.lang, options.every
        self._people = People(options.smoothing)
        labels, model = read_options.pipeline.labels, read_options.model
        await self._socket.send_json({"ready": True, "model": model, "labels": labels})
        return True

    async def _answer(self) -> None:
        """Process the newest frame repeatedly; results are sent in the order of the frames."""
        free = asyncio.Semaphore(_AT_ONCE)
        begun: asyncio.Queue[tuple[int, float, Future[Result] | None]] = asyncio.Queue()

        async def begin() -> None:
            for step in itertools.count():
                is_searched = step % self._every == 0
                if is_searched:
                    await free.acquire()
                await self._arrived.wait()
                assert self._newest is not None
                (number, seconds, frame), self._newest = self._newest, None
                self._arrived.clear()
                future = None
                if is_searched:
                    upload = Upload(f"frame {number}", frame)
                    future = self._reader.submit(upload, self._read_options, is_queued=False)
                begun.put_nowait((number, seconds, future))

        beginning = asyncio.create_task(begin())
        try:
            while True:
                number, seconds, future = await begun.get()
                result = None
                if future is not None:
                    result = await asyncio.wrap_future(future)
                    free.release()
                await self._socket.send_text(json.dumps(self._told(number, seconds, result)))
        finally:
            beginning.cancel()

    def _told(self, number: int, seconds: float, result: Result | None) -> dict[str, Any]:
        """The answer to a frame that was searched, or to one between two of these."""
        waited = time.perf_counter() - self._started - seconds
        told = {
            "frame": number,
            "dropped": self._dropped,
            "seconds": round(seconds, 3),
            "milliseconds": round(1000 * waited, 1),
        }
        if result is not None and result.error:
            self._metrics.frames.labels("failed").inc()
            return {**told, "error": result.error}
        self._metrics.frames.labels("answered").inc()
        if result is not None:
            self._size = result.size
            people = self._people.seen(result.predictions, seconds)
        else:
            people = self._people.extrapolated(seconds, self._size)
        faces = [
            {"number": person.number, **responses.face(person, self._lang), "raw": dict(person.raw)}
            for person in people
        ]
        width, height = self._size
        searched = result is not None
        return {**told, "searched": searched, "width": width, "height": height, "faces": faces}


async def _close(socket: WebSocket, code: int, reason: str) -> None:
    """Send the reason as a message, and as the close reason, which is limited to 123 bytes."""
    await socket.send_json({"error": reason, "code": code})
    await socket.close(code, reason.encode()[:120].decode(errors="ignore"))
