"""Real servers, each in a process of its own on a free port of this computer."""

from __future__ import annotations

import re
import resource
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from ferembed.pipeline import Pipeline
from tests.helpers.service import KEY

pytest.importorskip("fastapi")


@dataclass
class Server:
    """A server that runs, and how to call it."""

    process: subprocess.Popen[str]
    port: int
    log: Path

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def client(self, **options: object) -> httpx.Client:
        return httpx.Client(base_url=self.url, timeout=60, **options)

    def stop(self, number: int = signal.SIGTERM) -> int:
        self.process.send_signal(number)
        return self.process.wait(60)

    @property
    def megabytes(self) -> float:
        """Its resident memory."""
        text = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(re.search(r"VmRSS:\s+(\d+)", text)[1]) / 1000


@contextmanager
def running(
    log: Path, *flags: str, port: int = 0, largest_file: int | None = None
) -> Iterator[Server]:
    """A server of these flags that is ready; `largest_file` limits what it may write."""

    def limit() -> None:
        if largest_file is not None:
            resource.setrlimit(resource.RLIMIT_FSIZE, (largest_file, largest_file))

    command = [sys.executable, "-m", "ferembed.cli", "serve", "--port", str(port), *flags]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, preexec_fn=limit)

    def keep() -> None:  # a pipe that nobody reads would stop the server
        with log.open("w") as file:
            for line in process.stderr:
                file.write(line)
                file.flush()

    keeping = threading.Thread(target=keep)
    keeping.start()
    try:
        address = re.compile(r"open http://\S+:(\d+)")
        wait_until(lambda: log.exists() and address.search(log.read_text()) is not None, process)
        server = Server(process, int(address.search(log.read_text())[1]), log)
        wait_until(lambda: ready(server), process)
        yield server
    finally:
        if process.poll() is None:
            process.terminate()
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        keeping.join()
        process.stderr.close()


def ready(server: Server) -> bool:
    try:
        return httpx.get(f"{server.url}/readyz", timeout=5).status_code == 200
    except httpx.TransportError:
        return False


def wait_until(
    happened: Callable[[], bool], process: subprocess.Popen[str], seconds: float = 90
) -> None:
    end = time.monotonic() + seconds
    while not happened():
        assert process.poll() is None, f"the server has ended with {process.returncode}"
        assert time.monotonic() < end
        time.sleep(0.05)


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One server for all tests that leave it as it is. It may not write a byte to a file."""
    log = tmp_path_factory.mktemp("server") / "log"
    with running(
        log, "--max-bytes", "8000000", "--max-pixels", "4000000", largest_file=0
    ) as server:
        yield server
    assert "Traceback" not in log.read_text()


@pytest.fixture
def client(server: Server) -> Iterator[httpx.Client]:
    with server.client() as client:
        yield client


@pytest.fixture(scope="session")
def pipeline() -> Pipeline:
    """The library's own answers, to which the service's must be equal."""
    return Pipeline.load("default", store="none")


@pytest.fixture(scope="session")
def jpeg(portrait: Path) -> bytes:
    return portrait.read_bytes()


@pytest.fixture(scope="session")
def small(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server with keys that takes on one picture at a time, for two seconds at most."""
    folder = tmp_path_factory.mktemp("small")
    (folder / "keys").write_text(f"another-key-of-this-test\n{KEY}\n")
    flags = ("--api-key-file", str(folder / "keys"), "--queue", "1", "--deadline", "3")
    origin = ("--allow-origin", "https://example.org", "--allow-host", "faces.example.org")
    with running(folder / "log", *flags, *origin) as server:
        yield server


@pytest.fixture
def knowing(small: Server) -> Iterator[httpx.Client]:
    with small.client(headers={"Authorization": f"Bearer {KEY}"}) as client:
        yield client
