"""Servers that are stopped, killed and watched."""

from __future__ import annotations

import os
import signal
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

from ferembed.images import load_image
from ferembed.pipeline import Pipeline
from tests.helpers.service import assert_equal
from tests.service.conftest import Server, running


@pytest.mark.slow
def test_what_listens_beyond_this_computer_without_a_key_warns(tmp_path):
    with running(tmp_path / "log", "--host", "0.0.0.0") as server:
        with server.client(headers={"Host": "10.1.2.3:8000"}) as client:
            assert client.get("/healthz").status_code == 200  # a number is nobody's trick
        with server.client(headers={"Host": "evil.example"}) as client:
            assert client.get("/healthz").status_code == 400
    assert "warning: everybody who can reach 0.0.0.0 can use this" in (tmp_path / "log").read_text()


@pytest.mark.slow
def test_a_stopped_server_finishes_what_is_in_flight(tmp_path, pipeline, jpeg):
    with running(tmp_path / "log") as server, ThreadPoolExecutor(4) as pool:

        def ask(_: int) -> httpx.Response:
            with server.client() as client:
                return client.post("/v1/analyze", files=[("a", jpeg)] * 8)

        asked = [pool.submit(ask, i) for i in range(4)]
        with server.client() as client:
            while "ferembed_queue_pictures 32" not in client.get("/metrics").text:
                assert not all(one.done() for one in asked)
        assert server.stop() == 143  # as shells tell of a TERM
        expected = pipeline.analyze(jpeg)[0]
        for one in asked:
            for entry in one.result().json()["pictures"]:
                assert_equal(entry["faces"][0], expected)


@pytest.mark.slow
def test_a_killed_worker_causes_no_wrong_prediction(tmp_path, pipeline, jpeg):
    expected = pipeline.analyze(jpeg)[0]
    with running(tmp_path / "log", "--workers", "2") as server:
        end, killed = time.monotonic() + 20, []

        def ask(_: int) -> tuple[int, int]:
            good = lost = 0
            while time.monotonic() < end:
                try:
                    answer = httpx.post(f"{server.url}/v1/analyze", files={"a": jpeg}, timeout=60)
                except httpx.TransportError:
                    lost += 1
                    continue
                if answer.status_code == 503:  # of a worker that has just begun
                    time.sleep(0.2)
                    continue
                assert answer.status_code == 200
                assert_equal(answer.json()["pictures"][0]["faces"][0], expected)
                good += bool(killed)
            return good, lost

        with ThreadPoolExecutor(4) as pool:
            asked = [pool.submit(ask, i) for i in range(4)]
            time.sleep(3)
            worker = workers(server)[0]
            killed.append(worker)
            os.kill(worker, signal.SIGKILL)
            good, lost = (sum(counts) for counts in zip(*(a.result() for a in asked), strict=True))
        assert good > 0
        assert lost <= 4 + 4  # at most what each client had with it, and what waited to be accepted
        counted = httpx.get(f"{server.url}/metrics").text
    assert 'ferembed_requests_total{path="/v1/analyze",status="200"}' in counted


def workers(server: Server) -> list[int]:
    """The processes of a server that answer."""
    children = Path(f"/proc/{server.process.pid}/task/{server.process.pid}/children").read_text()
    return [
        int(child)
        for child in children.split()
        if b"spawn_main" in Path(f"/proc/{child}/cmdline").read_bytes()
    ]


@pytest.mark.slow
def test_the_service_runs_without_a_framework_and_in_little_memory(tmp_path):
    with running(tmp_path / "log") as server:
        assert server.megabytes < 300
        maps = Path(f"/proc/{server.process.pid}/maps").read_text()
    assert "openvino" in maps
    assert "libtensorflow" not in maps
    assert "/sklearn/" not in maps


def test_the_picture_that_was_sent_is_not_logged(server, client, jpeg):
    client.post("/v1/analyze", files={"a": ("secret-name.jpg", jpeg)})
    client.post("/v1/analyze", files={"a": ("secret-name.jpg", b"secret content")})
    assert "secret" not in server.log.read_text()
    assert load_image(jpeg).size


@pytest.mark.slow
def test_several_models_are_served_and_chosen(tmp_path, jpeg):
    with running(tmp_path / "log", "--model", "fast", "--model", "default") as server:
        with server.client() as client:
            answers = {
                name: client.post("/v1/analyze", params={"model": name}, files={"a": jpeg}).json()
                for name in ("", "fast", "default")
            }
        assert answers[""] == answers["fast"] != answers["default"]
        for name in ("fast", "default"):
            (prediction,) = Pipeline.load(name, store="none").analyze(jpeg)
            assert_equal(answers[name]["pictures"][0]["faces"][0], prediction)
