"""Requests that are refused before they are read: sizes, times, keys, hosts, other sites."""

from __future__ import annotations

import asyncio
import socket
import time

import cv2
import httpx
import numpy as np
import pytest

from ferembed.service import Settings
from ferembed.service.guard import Guard, Keys
from ferembed.service.metrics import Metrics
from tests.helpers.service import KEY, told


def test_a_body_that_is_too_large_is_refused(client):
    large = bytes(8_000_001)
    for content in (large, iter([large[:5_000_000], large[5_000_000:]])):  # the second is chunked
        answer = client.post("/v1/analyze", content=content, headers={"content-type": "image/png"})
        assert told(answer) == (
            413,
            "The body has more than 8,000,000 bytes, the limit. Send fewer pictures at once.",
        )


@pytest.mark.slow
def test_a_request_is_given_up_at_its_deadline(small, knowing):
    noise = np.random.default_rng(0).integers(0, 256, (1500, 2000, 3), dtype=np.uint8)
    slow = cv2.imencode(".jpg", noise, [cv2.IMWRITE_JPEG_QUALITY, 20])[1].tobytes()
    # haar needs eight times as long for such a picture as mtcnn does
    answer = knowing.post("/v1/analyze", params={"detector": "haar"}, files=[("a", slow)] * 32)
    assert told(answer) == (503, "There was no answer within 3 seconds. Try again.")
    assert answer.headers["retry-after"]
    end = time.monotonic() + 60  # what was given up before its turn is not read
    while "ferembed_queue_pictures 0" not in knowing.get("/metrics").text:
        assert time.monotonic() < end
        time.sleep(0.1)


@pytest.mark.slow
def test_a_body_that_comes_too_slowly_is_given_up(small):
    with socket.create_connection(("127.0.0.1", small.port), 30) as connection:
        connection.sendall(
            b"POST /v1/analyze HTTP/1.1\r\nHost: localhost\r\nContent-Type: image/png\r\n"
            b"X-API-Key: " + KEY.encode() + b"\r\nContent-Length: 1000\r\n\r\nabc"
        )
        answer = connection.recv(10_000).decode()
        assert answer.startswith("HTTP/1.1 408 ")
        assert "The body did not arrive within 3 seconds." in answer


def test_a_late_answer_to_a_request_without_a_body_is_not_the_clients_fault():
    async def sleep(scope, receive, send):
        await asyncio.sleep(60)

    settings = Settings(deadline=0.1)
    guard = Guard(sleep, settings, Metrics(), Keys(()), admit=lambda count: None)

    async def ask() -> httpx.Response:
        transport = httpx.ASGITransport(guard)
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
            return await client.get("/v1/models")

    assert told(asyncio.run(ask())) == (503, "There was no answer within 0.1 seconds. Try again.")


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Authorization": "Bearer wrong"},
        {"Authorization": f"Basic {KEY}"},
        {"Authorization": f"Bearer {KEY}x"},
        {"X-API-Key": KEY.upper()},
        {"X-API-Key": ""},
    ],
)
@pytest.mark.parametrize("path", ["/v1/analyze", "/v1/models", "/metrics", "/v1/nothing"])
def test_a_wrong_or_missing_key_opens_nothing(small, headers, path):
    with small.client(headers=headers) as client:
        answer = client.get(path)
    assert told(answer) == (
        401,
        "The key is wrong or missing. Send it as: Authorization: Bearer KEY",
    )
    assert answer.headers["www-authenticate"] == "Bearer"


def test_the_right_key_opens_all_and_health_needs_none(small, knowing, jpeg):
    assert knowing.get("/v1/models").status_code == 200
    assert knowing.get("/metrics").status_code == 200
    with small.client() as client:
        for path in ("/", "/page/app.js", "/healthz", "/readyz", "/openapi.json"):
            assert client.get(path).status_code == 200
        security = client.get("/openapi.json").json()
    assert security["security"] == [{"key": []}]


def test_another_site_may_call_only_if_it_is_named(small, client, knowing):
    for origin, allowed in (("https://example.org", True), ("https://evil.example", False)):
        for caller in (client, knowing):
            headers = {"Origin": origin, "Access-Control-Request-Method": "POST"}
            asked = caller.options("/v1/analyze", headers=headers)
            open_ = allowed and caller is knowing
            assert ("access-control-allow-origin" in asked.headers) == open_
            for more in ({}, {"Authorization": "Bearer wrong"}):  # refusals can be read, too
                answer = caller.get("/v1/models", headers={"Origin": origin, **more})
                assert ("access-control-allow-origin" in answer.headers) == open_


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("localhost", 200),
        ("127.0.0.1:9", 200),
        ("[::1]:9", 200),
        ("faces.example.org", 200),
        ("FACES.example.org:443", 200),
        ("evil.example", 400),
        ("faces.example.org.evil.example", 400),
        ("192.168.0.1", 400),
        ("localhost:80, evil.example", 400),
        ("localhost:evil.example", 400),
        ("", 400),
    ],
)
def test_the_server_serves_its_own_host_names_only(small, host, status):
    with small.client(headers={"Host": host}) as client:
        assert client.get("/healthz").status_code == status


def test_responses_have_security_headers(client):
    for path in ("/", "/v1/models", "/v1/nothing"):
        headers = client.get(path).headers
        assert headers["content-security-policy"].startswith("default-src 'none'; script-src 'sel")
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["cache-control"] == "no-store"
        assert "access-control-allow-origin" not in headers
        assert "server" not in headers
