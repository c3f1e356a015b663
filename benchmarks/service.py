"""Measure the throughput and latency of the service, and `ferembed predict` in the same run.

    python -m benchmarks.service                      all, in some minutes
    python -m benchmarks.service --seconds 30         each measurement so long
    python -m benchmarks.service --endurance 900      full load for 15 minutes, too
    python -m benchmarks.service --only stream start  some parts alone

Server, clients and `predict` share the cores of one computer, so the clients cost the server
something. They write requests that were made before, and compare each answer with the library's.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import KW_ONLY, dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from benchmarks.machine import machine_text
from ferembed import Pipeline, load_image
from ferembed.media.demo import photo

RESULTS = Path(__file__).parent / "results" / "service.json"
SIZES = ((350, 350), (1280, 720))
CLIENTS = (1, 8, 32, 128)
VARIANTS = 8  # photos that differ
PARTS = ("start", "load", "overload", "stream")
SHORT_QUEUE = 2  # pictures: one for each core, so that none of them waits


def pictures(width: int, height: int) -> list[bytes]:
    """Photos of this size with one face each, as JPEG."""
    portrait = load_image(photo())[40:400, 80:440]
    side = min(width, height)
    head = cv2.resize(portrait, (side, side), interpolation=cv2.INTER_AREA)
    found = []
    for i in range(VARIANTS):
        scene = np.full((height, width, 3), (100, 120, 90), np.uint8)
        left = (width - side) * i // max(1, VARIANTS - 1)
        face = head[:, ::-1] if i % 2 else head
        scene[:, left : left + side] = np.uint8(face * (1 - 0.03 * i))
        found.append(cv2.imencode(".jpg", scene[..., ::-1])[1].tobytes())
    return found


def number_in(pattern: str, text: str) -> int:
    """The number that the pattern's group finds in the text."""
    found = re.search(pattern, text)
    assert found, f"{pattern} is not in {text!r}"
    return int(found[1])


@dataclass
class Server:
    """A server that runs."""

    process: subprocess.Popen[str]
    port: int
    seconds_to_ready: float

    @property
    def core_seconds(self) -> float:
        """The CPU seconds used until now."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    @property
    def megabytes(self) -> float:
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return number_in(r"VmRSS:\s+(\d+)", status) / 1000


@contextmanager
def running(*flags: str) -> Iterator[Server]:
    started = time.perf_counter()
    command = [sys.executable, "-m", "ferembed.cli", "serve", "--port", "0", *flags]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    try:
        port = number_in(r"open http://\S+:(\d+)", process.stderr.readline())
        while True:
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz").close()
                break
            except OSError:
                time.sleep(0.005)
        yield Server(process, port, time.perf_counter() - started)
    finally:
        process.terminate()
        process.wait()
        process.stderr.close()


@dataclass
class Load:
    """The results of many requests."""

    photos: Sequence[bytes]
    expected: Sequence[dict[str, Any]]
    port: int
    _: KW_ONLY
    seconds: list[float] = field(default_factory=list)  # of the accepted
    refused: list[float] = field(default_factory=list)
    wrong: int = 0
    failed: int = 0
    elapsed: float = 0.0

    def __post_init__(self) -> None:
        self._requests = [
            b"POST /v1/analyze HTTP/1.1\r\nHost: localhost\r\nContent-Type: image/jpeg\r\n"
            b"Content-Length: %d\r\n\r\n%s" % (len(content), content)
            for content in self.photos
        ]
        self._idle: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = []

    async def ask(self, number: int) -> float:
        """Send one photo; seconds that the server asks to wait."""
        started = time.perf_counter()
        if self._idle:
            reader, writer = self._idle.pop()
        else:
            reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        try:
            writer.write(self._requests[number % len(self._requests)])
            head = (await reader.readuntil(b"\r\n\r\n")).lower()
            body = await reader.readexactly(number_in(r"content-length: (\d+)", head.decode()))
        except (OSError, asyncio.IncompleteReadError):
            self.failed += 1
            return 0.0
        taken = time.perf_counter() - started
        self._idle.append((reader, writer))
        if head.startswith(b"http/1.1 429"):
            self.refused.append(taken)
            return float(number_in(r"retry-after: (\d+)", head.decode()))
        if not head.startswith(b"http/1.1 200"):
            self.failed += 1
        else:
            self.seconds.append(taken)
            self.wrong += not self._is_right(json.loads(body), number)
        return 0.0

    def _is_right(self, answer: dict[str, Any], number: int) -> bool:
        expected = self.expected[number % len(self.expected)]
        faces = answer["pictures"][0]["faces"]
        return [face["box"] for face in faces] == expected["boxes"] and all(
            abs(face["probabilities"][label] - p) < 2e-6
            for face, shares in zip(faces, expected["probabilities"], strict=True)
            for label, p in shares.items()
        )

    async def closed(self, clients: int, seconds: float) -> None:
        """So many clients, each of which asks again when it has its answer."""
        end = time.perf_counter() + seconds

        async def client(number: int) -> None:
            while time.perf_counter() < end:
                wait = await self.ask(number)
                await asyncio.sleep(min(wait, max(0.0, end - time.perf_counter())))
                number += clients

        await self._timed(asyncio.gather(*(client(i) for i in range(clients))))

    async def open(self, rate: float, seconds: float) -> None:
        """So many requests a second, at random times, whatever becomes of them."""
        rng = np.random.default_rng(0)
        tasks = []

        async def arrive() -> None:
            start = time.perf_counter()
            for number, due in enumerate(np.cumsum(rng.exponential(1 / rate, int(rate * seconds)))):
                await asyncio.sleep(max(0.0, start + due - time.perf_counter()))
                tasks.append(asyncio.create_task(self.ask(number)))
            await asyncio.gather(*tasks)

        await self._timed(arrive())

    async def _timed(self, work: Any) -> None:
        started = time.perf_counter()
        await work
        self.elapsed = time.perf_counter() - started
        for _, writer in self._idle:
            writer.close()

    def facts(self) -> dict[str, Any]:
        def percentile(values: Sequence[float], share: float) -> float | None:
            return round(1000 * float(np.quantile(values, share)), 1) if values else None

        return {
            "answered": len(self.seconds),
            "refused": len(self.refused),
            "failed": self.failed,
            "wrong": self.wrong,
            "requests_per_second": round(len(self.seconds) / self.elapsed, 2),
            "p50_ms": percentile(self.seconds, 0.5),
            "p99_ms": percentile(self.seconds, 0.99),
            "refusal_p99_ms": percentile(self.refused, 0.99),
        }


def expected_of(photos: Sequence[bytes]) -> list[dict[str, Any]]:
    """The library's own answers."""
    pipeline = Pipeline.load("default", store="none")
    answers = [pipeline.analyze(content) for content in photos]
    assert all(len(predictions) == 1 for predictions in answers)
    return [
        {
            "boxes": [list(one.box) for one in predictions],
            "probabilities": [dict(one.probabilities) for one in predictions],
        }
        for predictions in answers
    ]


def predict_rate(photos: Sequence[bytes], count: int) -> tuple[float, float]:
    """Photos a second of `ferembed predict` on a folder, and milliseconds of a core for each.

    The start of the command is left out: it is what a folder of a few photos takes.
    """

    def taken(number: int) -> tuple[float, float]:
        with tempfile.TemporaryDirectory() as folder:
            for i in range(number):
                (Path(folder) / f"{i:04}.jpg").write_bytes(photos[i % len(photos)])
            target = str(Path(folder) / "faces.json")
            command = [sys.executable, "-m", "ferembed.cli", "predict", folder, "--quiet"]
            started, before = time.perf_counter(), os.times()
            subprocess.run([*command, "--output", target], check=True)
            after = os.times()
            core = after.children_user + after.children_system
            core -= before.children_user + before.children_system
            return time.perf_counter() - started, core

    (short, short_core), (long, long_core) = taken(VARIANTS), taken(count)
    more = count - VARIANTS
    return more / (long - short), 1000 * (long_core - short_core) / more


def measure_start(rounds: int = 5) -> dict[str, Any]:
    seconds, core, megabytes = [], [], []
    for _ in range(rounds):
        with running() as server:
            seconds.append(server.seconds_to_ready)
            core.append(server.core_seconds)
            megabytes.append(server.megabytes)
    return {
        "seconds_to_ready": round(statistics.median(seconds), 2),
        "seconds_range": [round(min(seconds), 2), round(max(seconds), 2)],
        "core_seconds_to_ready": round(statistics.median(core), 2),
        "megabytes": round(statistics.median(megabytes)),
    }


def measure_load(seconds: float) -> dict[str, Any]:
    """Throughput for each size of photo and number of clients, and `predict` before and after.

    Where other programs use the cores, too, the milliseconds of a core say more than the seconds.
    """
    results = {}
    for width, height in SIZES:
        photos = pictures(width, height)
        expected = expected_of(photos)
        count = VARIANTS + max(16, int(5 * seconds * 350 * 350 / (width * height)))
        batch = [predict_rate(photos, count)]
        rows = {}
        with running() as server:
            asyncio.run(Load(photos, expected, server.port).closed(2, 1))
            for clients in CLIENTS:
                load = Load(photos, expected, server.port)
                before = server.core_seconds
                asyncio.run(load.closed(clients, seconds))
                core = 1000 * (server.core_seconds - before) / max(1, len(load.seconds))
                rows[str(clients)] = {**load.facts(), "core_ms_each": round(core, 1)}
        batch.append(predict_rate(photos, count))
        rate, core = (statistics.mean(values) for values in zip(*batch, strict=True))
        for row in rows.values():
            row["share_of_predict"] = round(row["requests_per_second"] / rate, 3)
            row["core_share_of_predict"] = round(core / row["core_ms_each"], 3)
        results[f"{width}x{height}"] = {
            "predict_photos_per_second": [round(rate, 2) for rate, _ in batch],
            "predict_core_ms_each": [round(core, 1) for _, core in batch],
            "clients": rows,
        }
        show(f"{width}x{height}", results[f"{width}x{height}"])
    return results


def measure_overload(seconds: float) -> dict[str, Any]:
    """Half of what it can do, and four times as much, with a short queue."""
    photos = pictures(*SIZES[0])
    expected = expected_of(photos)
    results: dict[str, Any] = {"photo": "350x350", "queue": SHORT_QUEUE}
    with running("--queue", str(SHORT_QUEUE)) as server:

        def loaded(clients: int = 0, rate: float = 0.0) -> dict[str, Any]:
            load = Load(photos, expected, server.port)
            work = load.closed(clients, seconds) if clients else load.open(rate, seconds)
            asyncio.run(work)
            return load.facts()

        loaded(clients=1)
        results["lone"] = loaded(clients=1)
        results["full"] = loaded(clients=SHORT_QUEUE)
        rate = results["full"]["requests_per_second"]
        results["half load"] = loaded(rate=rate / 2)
        results["4 times overload"] = loaded(rate=4 * rate)
    alone = results["lone"]["p50_ms"]
    for name in ("half load", "4 times overload"):
        results[name]["p99_by_lone_p50"] = round(results[name]["p99_ms"] / alone, 2)
    show("overload", results)
    return results


def measure_endurance(seconds: float) -> dict[str, Any]:
    """Full load for long: the memory after a minute and at the end, and wrong answers."""
    photos = pictures(*SIZES[0])
    expected = expected_of(photos)
    with running() as server:
        first = Load(photos, expected, server.port)
        asyncio.run(first.closed(32, min(60.0, seconds / 4)))
        before = server.megabytes
        load = Load(photos, expected, server.port)
        asyncio.run(load.closed(32, seconds))
        after = server.megabytes
    return {
        **load.facts(),
        "seconds": seconds,
        "megabytes_before": round(before),
        "megabytes_after": round(after),
        "memory_ratio": round(after / before, 3),
    }


def measure_stream(seconds: float) -> dict[str, Any]:
    """Frames of 640x480 with one face, two on their way at a time, as the page sends them."""
    from websockets.asyncio.client import connect

    frames = pictures(640, 480)

    async def follow(port: int, at_once: int) -> dict[str, Any]:
        waits, dropped = [], 0
        sent_at: dict[int, float] = {}
        async with connect(f"ws://127.0.0.1:{port}/v1/stream") as stream:
            await stream.send("{}")
            await stream.recv()
            started = time.perf_counter()
            sent = 0
            while time.perf_counter() < started + seconds or len(sent_at):
                while len(sent_at) < at_once and time.perf_counter() < started + seconds:
                    sent += 1
                    sent_at[sent] = time.perf_counter()
                    await stream.send(frames[sent // 8 % len(frames)])
                answer = json.loads(await stream.recv())
                waits.append(time.perf_counter() - sent_at.pop(answer["frame"]))
                for number in [one for one in sent_at if one < answer["frame"]]:
                    del sent_at[number]
                dropped = answer["dropped"]
            elapsed = time.perf_counter() - started
        return {
            "frames_per_second": round(len(waits) / elapsed, 1),
            "median_latency_ms": round(1000 * statistics.median(waits), 1),
            "p99_latency_ms": round(1000 * float(np.quantile(waits, 0.99)), 1),
            "dropped": dropped,
        }

    with running() as server:
        asyncio.run(follow(server.port, 1))
        results = {f"{n} at once": asyncio.run(follow(server.port, n)) for n in (1, 2)}
    show("stream 640x480", results)
    return results


def show(name: str, results: dict[str, Any]) -> None:
    print(f"{name}: {json.dumps(results)}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=10.0, help="of each measurement")
    parser.add_argument("--endurance", type=float, metavar="SECONDS", help="of full load")
    parser.add_argument("--only", nargs="+", choices=PARTS, default=PARTS)
    parser.add_argument("--output", type=Path, default=RESULTS)
    options = parser.parse_args()
    before = os.getloadavg()[0]
    results: dict[str, Any] = {
        "made_by": "benchmarks/service.py",
        "machine": machine_text(),
        "seconds_each": options.seconds,
        "processes_that_waited_for_a_core_before": round(before, 2),
    }
    if "start" in options.only:
        results["start"] = measure_start()
        show("start", results["start"])
    if "load" in options.only:
        results["load"] = measure_load(options.seconds)
    if "overload" in options.only:
        results["overload"] = measure_overload(options.seconds)
    if "stream" in options.only:
        results["stream"] = measure_stream(options.seconds)
    if options.endurance:
        results["endurance"] = measure_endurance(options.endurance)
        show("endurance", results["endurance"])
    options.output.write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
