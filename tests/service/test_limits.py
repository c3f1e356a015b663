"""What the service refuses, and when: sizes, queues, deadlines, keys, other sites."""

from __future__ import annotations

import os
import signal
import socket
import struct
import time
import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import httpx
import numpy as np
import pytest

from ferembed.images import load_image
from tests.helpers import clips
from tests.service.conftest import Server, running
from tests.service.test_api import assert_equal, png
from tests.service.test_stream import open_stream, refusal

KEY = "the-key-of-this-test"


def told(answer: httpx.Response) -> tuple[int, str]:
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["status"] == answer.status_code
    return answer.status_code, answer.json()["detail"]


def test_a_body_that_is_too_large_is_refused(client):
    large = bytes(8_000_001)
    for content in (large, iter([large[:5_000_000], large[5_000_000:]])):  # the second is chunked
        answer = client.post("/v1/analyze", content=content, headers={"content-type": "image/png"})
        assert told(answer) == (
            413,
            "The body has more than 8,000,000 bytes, the limit. Send fewer pictures at once.",
        )


@pytest.mark.parametrize(
    ("request_", "status", "detail"),
    [
        ({"files": [("a", b"x")] * 33}, 413, "There are more than 32 pictures."),
        ({"data": {"lang": "es"}, "files": {"a": b"x"}}, 422, "A form may contain only pictures."),
        ({"files": {"a": (None, b"x")}}, 422, "A form may contain only pictures."),
        ({"content": b"x", "headers": {"content-type": "text/plain"}}, 415, "The content type is"),
        ({"content": b"x"}, 415, "The content type is ''"),
        ({"json": {"url": "http://example.org/a.jpg"}}, 415, "The content type is 'application/"),
        ({"content": b"x", "headers": {"content-type": "multipart/form-data"}}, 400, "The form ca"),
        (
            {"content": b"x", "headers": {"content-type": "multipart/form-data; boundary=a"}},
            400,
            "The form cannot be read",
        ),
        ({"content": b"", "headers": {"content-type": "image/png"}}, 422, "picture is empty"),
    ],
)
def test_a_body_that_holds_no_pictures_is_refused(client, request_, status, detail):
    answer = client.post("/v1/analyze", **request_)
    assert told(answer)[0] == status
    assert told(answer)[1].startswith(detail)


def test_a_picture_beyond_the_limit_is_refused_by_its_header(client):
    code, detail = told(client.post("/v1/analyze", files={"a": ("wide.png", png_head(5000, 4000))}))
    assert (code, detail) == (
        422,
        "wide.png has 5000 x 4000 = 20 million pixels; the limit is 4 million. Shrink it, or raise "
        "max_pixels.",
    )


def png_head(width: int, height: int) -> bytes:
    """A PNG that says to be so large, and ends after saying so."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        check = struct.pack(">I", zlib.crc32(kind + content))
        return struct.pack(">I", len(content)) + kind + content + check

    size = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", size) + chunk(b"IDAT", b"") + chunk(b"IEND", b"")


def test_a_large_picture_is_read_without_a_file(server, jpeg):
    """The server may not write a byte; usually a form's parts over 1 MB become files."""
    rng = np.random.default_rng(0)
    noise = rng.integers(0, 256, (1200, 1600, 3), dtype=np.uint8)
    content = png(noise)
    assert 5_000_000 < len(content) < 8_000_000
    with server.client() as client:
        answer = client.post("/v1/analyze", files={"a": content})
    assert answer.status_code == 200
    assert answer.json()["pictures"][0]["width"] == 1600


def test_answers_of_many_clients_are_never_mixed(server, pipeline):
    rng = np.random.default_rng(3)
    heads = [clips.person(90)[:, :: rng.choice([-1, 1])] for _ in range(16)]
    tints = rng.uniform(0.4, 1.0, (16, 3))
    contents = [
        png(clips.scene(10 + 4 * i, size=(240, 140), head=np.uint8(head * tint)))
        for i, (head, tint) in enumerate(zip(heads, tints, strict=True))
    ]
    expected = [pipeline.analyze(content) for content in contents]

    def ask(number: int) -> None:
        with server.client() as client:
            for i in (number, (number + 5) % 16):
                answer = client.post("/v1/analyze", files={"a": contents[i]})
                faces = answer.json()["pictures"][0]["faces"]
                assert len(faces) == len(expected[i])
                for face, prediction in zip(faces, expected[i], strict=True):
                    assert_equal(face, prediction)

    with ThreadPoolExecutor(16) as pool:
        list(pool.map(ask, range(16)))
    with server.client() as client:
        text = client.get("/metrics").text
    sums = dict(line.split() for line in text.splitlines() if line.startswith("ferembed_batch_f"))
    mean = float(sums["ferembed_batch_faces_sum"]) / float(sums["ferembed_batch_faces_count"])
    assert mean > 1  # faces of several requests were run together


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory):
    """A server with keys that takes on one picture at a time, for two seconds at most."""
    folder = tmp_path_factory.mktemp("small")
    (folder / "keys").write_text(f"another-key-of-this-test\n{KEY}\n")
    flags = ("--api-key-file", str(folder / "keys"), "--queue", "1", "--deadline", "3")
    origin = ("--allow-origin", "https://example.org", "--allow-host", "faces.example.org")
    with running(folder / "log", *flags, *origin) as server:
        yield server


@pytest.fixture
def knowing(small: Server):
    with small.client(headers={"Authorization": f"Bearer {KEY}"}) as client:
        yield client


def test_a_full_queue_answers_429_at_once_and_says_when_to_try_again(small, pipeline, jpeg):
    expected = pipeline.analyze(jpeg)[0]

    def ask(_: int) -> httpx.Response:
        with small.client(headers={"X-API-Key": KEY}) as client:
            return client.post("/v1/analyze", files={"a": jpeg})

    with ThreadPoolExecutor(12) as pool:
        answers = list(pool.map(ask, range(12)))
    accepted = [answer for answer in answers if answer.status_code == 200]
    refused = [answer for answer in answers if answer.status_code == 429]
    assert len(accepted) + len(refused) == 12
    assert accepted
    assert refused
    for answer in accepted:
        assert_equal(answer.json()["pictures"][0]["faces"][0], expected)
    seconds = refused[0].headers["retry-after"]
    assert int(seconds) >= 1
    assert told(refused[0])[1] == (
        f"The server is busy: its queue is full. Try again in {seconds} s."
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


def test_a_stream_needs_the_key_too(small):
    assert refusal(small) == (4401, "The key is wrong or missing.")
    assert refusal(small, key="wrong")[0] == 4401
    with open_stream(small, key=KEY) as stream:
        assert "ready" in stream.recv(timeout=60)


def test_another_site_may_call_only_if_it_is_named(small, client, knowing):
    for origin, allowed in (("https://example.org", True), ("https://evil.example", False)):
        for caller in (client, knowing):
            headers = {"Origin": origin, "Access-Control-Request-Method": "POST"}
            asked = caller.options("/v1/analyze", headers=headers)
            open_ = allowed and caller is knowing
            assert ("access-control-allow-origin" in asked.headers) == open_
            answer = caller.get("/v1/models", headers={"Origin": origin})
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
        ("", 400),
    ],
)
def test_the_server_answers_to_its_own_names(small, host, status):
    with small.client(headers={"Host": host}) as client:
        assert client.get("/healthz").status_code == status


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
def test_a_killed_worker_costs_no_wrong_answer(tmp_path, pipeline, jpeg):
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
