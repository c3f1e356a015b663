"""Damaged pictures, bombs, malformed requests, idle sockets: no crash, no 500, bounded memory."""

from __future__ import annotations

import contextlib
import io
import json
import random
import resource
import socket
import subprocess
import sys
import zipfile
import zlib

import numpy as np
import PIL.Image
import pytest

from ferembed.errors import ImageError
from ferembed.images import load_image
from tests.helpers.service import ask, assert_equal, open_stream, png_head
from tests.service.conftest import Server

GROWTH = 150  # megabytes of memory that hostile clients may cost


@pytest.fixture(autouse=True)
def afterwards(server: Server, pipeline, jpeg):
    """Whatever a test sends, the next good request is answered, and the memory is bounded."""
    before = server.megabytes
    yield
    with server.client() as client:
        answer = client.post("/v1/analyze", files={"a": jpeg}).json()
        text = client.get("/metrics").text
    assert_equal(answer["pictures"][0]["faces"][0], pipeline.analyze(jpeg)[0])
    assert 'status="500"' not in text
    assert 'status="0"' not in text
    assert server.megabytes < before + GROWTH


def damaged(jpeg: bytes, count: int, seed: int) -> list[bytes]:
    """Pictures of many formats with bytes changed, cut off, doubled or left out."""
    rng = random.Random(seed)
    small = PIL.Image.open(io.BytesIO(jpeg)).resize((96, 112))
    sources = []
    for format in ("JPEG", "PNG", "GIF", "BMP", "TIFF", "WEBP", "PPM", "ICO", "TGA", "PCX"):
        out = io.BytesIO()
        small.convert("P" if format == "GIF" else "RGB").save(out, format)
        sources.append(out.getvalue())
    found = []
    for i in range(count):
        content = bytearray(sources[i % len(sources)])
        for _ in range(rng.randint(1, 12)):
            place = rng.randrange(min(len(content), rng.choice([40, 400, 10**6])))
            kind = rng.randrange(4)
            if kind == 0:
                content[place] = rng.randrange(256)
            elif kind == 1:
                content[place : place + rng.randint(1, 40)] = b""
            elif kind == 2:
                content[place:place] = rng.randbytes(rng.randint(1, 40))
            elif len(content) > 100:
                del content[max(place, 60) :]
            content = content or bytearray(b"\0")
        found.append(bytes(content))
    return found


def test_damaged_pictures_are_refused_as_in_the_library(client, jpeg):
    contents = damaged(jpeg, 320, seed=1)
    for start in range(0, len(contents), 32):
        some = contents[start : start + 32]
        form = [("a", (f"{start + i}", content)) for i, content in enumerate(some)]
        answer = client.post("/v1/analyze", params={"detector": "none"}, files=form)
        assert answer.status_code in (200, 422)
        for entry, content in zip(answer.json()["pictures"], some, strict=True):
            try:
                image = load_image(content, 4_000_000)
            except ImageError:
                assert entry["error"].startswith(entry["picture"])
            else:
                assert (entry["height"], entry["width"]) == image.shape[:2]


@pytest.mark.slow
def test_bombs_are_refused_before_they_are_opened(client):
    flat = io.BytesIO()
    PIL.Image.new("1", (30_000, 30_000)).save(flat, "PNG", compress_level=9)
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as packed:
        packed.writestr("zeros", bytes(200_000_000))
    bombs = {
        "head.png": png_head(60_000, 60_000),
        "flat.png": flat.getvalue(),
        "many.gif": b"GIF89a\xff\xff\xff\xff\x80\0\0"
        + bytes(6)
        + b",\0\0\0\0\xff\xff\xff\xff\0\x02",
        "zip.jpg": archive.getvalue(),
        "deflate.png": zlib.compress(bytes(100_000_000)),
        "text.png": b"\x89PNG\r\n\x1a\n" + b"A" * 1_000_000,
    }
    assert max(map(len, bombs.values())) < 1_500_000
    form = [("a", (name, content)) for name, content in bombs.items()]
    answer = client.post("/v1/analyze", files=form)
    assert answer.status_code == 422
    errors = [entry["error"] for entry in answer.json()["pictures"]]
    assert errors[0].startswith("head.png has 60000 x 60000 = 3600 million pixels; the limit is 4")
    assert errors[1].startswith("flat.png has 30000 x 30000 = 900 million pixels")
    assert errors[2].startswith("many.gif has 65535 x 65535")
    assert "it is a zip" in errors[3]


def exchange(server: Server, sent: bytes, patience: float = 20) -> bytes:
    """What the server answers. Who waits for it longer than `patience` sends no more, and ends."""
    with socket.create_connection(("127.0.0.1", server.port), 30) as connection:
        received = b""
        with contextlib.suppress(ConnectionError):
            connection.sendall(sent)
            connection.settimeout(patience)
            try:
                received = connection.recv(65536)
            except TimeoutError:
                connection.shutdown(socket.SHUT_WR)
            connection.settimeout(60)
            while some := connection.recv(65536):
                received += some
        return received


def head(line: str, *more: str, host: str = "localhost") -> bytes:
    """The head of a request."""
    lines = [line, *([f"Host: {host}"] if host else []), *more, "Connection: close", "", ""]
    return "\r\n".join(lines).encode("latin-1")


POST = "POST /v1/analyze HTTP/1.1"


@pytest.mark.parametrize(
    ("sent", "begins"),
    [
        (head("GET /../../etc/passwd HTTP/1.1"), b"HTTP/1.1 404"),
        (head("GET /page/..%2f..%2fapp.py HTTP/1.1"), b"HTTP/1.1 404"),
        (head("GET /page/%2e%2e/app.py HTTP/1.1"), b"HTTP/1.1 404"),
        (head("GET //page/app.js HTTP/1.1"), b"HTTP/1.1 404"),
        (head("GET /page/app.js%00.css HTTP/1.1"), b"HTTP/1.1 404"),
        (head("GET http://evil.example/healthz HTTP/1.1", host="evil.example"), b"HTTP/1.1 400"),
        (head("GET /healthz HTTP/1.1", host=""), b"HTTP/1.1 400"),
        (head("GET /healthz HTTP/1.1", "Host: evil.example"), b"HTTP/1.1 400"),
        (head("GET /healthz HTTP/9.9"), b"HTTP/1.1 400"),
        (head("BREW /healthz HTTP/1.1"), b"HTTP/1.1 400"),
        (head(POST, "Content-Length: -1"), b"HTTP/1.1 400"),
        (head(POST, "Content-Length: 99999999999999999999"), b"HTTP/1.1 4"),
        (
            head(POST, "Content-Length: 5", "Transfer-Encoding: chunked") + b"0\r\n\r\n",
            b"HTTP/1.1 4",
        ),
        (head(POST, "Content-Type: image/png; \xff"), b"HTTP/1.1 422"),
        (b"\x16\x03\x01\x02\x00\x01\x00", b"HTTP/1.1 400"),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", b"HTTP/1.1 400"),
        (head("GET /v1/stream HTTP/1.1", "Upgrade: websocket"), b"HTTP/1.1 4"),
    ],
)
def test_tricks_with_heads_and_paths_lead_nowhere(server, sent, begins):
    answer = exchange(server, sent)
    assert answer.startswith(begins), answer[:300]
    if answer.startswith(b"HTTP/1.1 400") and b"Upgrade" not in sent:
        told, _, body = answer.partition(b"\r\n\r\n")
        assert b"content-type: application/problem+json" in told
        assert json.loads(body)["status"] == 400
    assert b"root:" not in answer
    assert b"import " not in answer


def test_a_head_without_end_is_cut_off(server):
    def send_for_ever(filler: bytes) -> None:
        with socket.create_connection(("127.0.0.1", server.port), 30) as connection:
            connection.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\nX-Long: ")
            for _ in range(20_000_000 // len(filler)):
                connection.sendall(filler)

    for filler in (b"x" * 64_000, 8_000 * b"X-A: b\r\n"):
        with pytest.raises(ConnectionError):
            send_for_ever(filler)


@pytest.mark.slow
def test_a_thousand_idle_sockets_keep_nobody_out_and_are_closed(server, jpeg):
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, max(soft, 4096)), hard))
    with contextlib.ExitStack() as stack:
        stack.callback(resource.setrlimit, resource.RLIMIT_NOFILE, (soft, hard))
        idle = []
        for i in range(1000):
            connection = socket.create_connection(("127.0.0.1", server.port), 30)
            idle.append(stack.enter_context(connection))
            if i % 2:
                connection.sendall(b"GET / HTTP/1.1\r\nHost: local")
        with server.client() as client:
            assert client.post("/v1/analyze", files={"a": jpeg}).status_code == 200
        for connection in idle:
            connection.settimeout(40)
            with contextlib.suppress(ConnectionError):  # it was reset, which will do
                assert connection.recv(1) == b""


@pytest.mark.slow
def test_ten_thousand_malformed_requests(server, jpeg):
    rng = random.Random(5)
    boundary = b"--edge\r\nContent-Disposition: form-data; name=a; filename=b\r\n\r\n"
    form = boundary + jpeg[:3000] + b"\r\n--edge--\r\n"
    bodies = [
        (b"multipart/form-data; boundary=edge", form),
        (b"image/jpeg", jpeg[:3000]),
        (b"application/json", b'{"a": 1}'),
    ]
    paths = [b"analyze", b"classify", b"embed", b"annotate", b"models", b"labels", b"stream"]
    for _ in range(10_000):
        kind, body = rng.choice(bodies)
        request = bytearray(
            b"%s /v1/%s?lang=%s&min_face=%s&detector=%s HTTP/1.1\r\nHost: localhost\r\n"
            b"Content-Type: %s\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%s"
            % (
                rng.choice([b"POST", b"POST", b"GET", b"PUT", b"HEAD"]),
                rng.choice(paths),
                rng.choice([b"en", b"es", b"%00", b"x" * 50]),
                rng.choice([b"0", b"-1", b"1e9", b"\xff"]),
                rng.choice([b"none", b"haar", b"../x"]),
                kind,
                len(body) + rng.choice([0, 0, 0, -5, 7]),
                body,
            )
        )
        for _ in range(rng.randrange(6)):
            place = rng.randrange(min(len(request), rng.choice([60, 300, 4000])))
            request[place : place + rng.randrange(3)] = rng.randbytes(rng.randrange(4))
        answer = exchange(server, bytes(request), patience=0.1)
        assert not answer.startswith(b"HTTP/1.1 5"), answer[:500]


@pytest.mark.slow
def test_the_openapi_document_holds(server, tmp_path):
    """Schemathesis makes requests of the document, and compares what is answered with it."""
    run = subprocess.run(
        [
            *(sys.executable, "-m", "schemathesis.cli", "run", f"{server.url}/openapi.json"),
            *(
                "--checks",
                "not_a_server_error,content_type_conformance,response_schema_conformance",
            ),
            *("--max-examples", "20", "--seed", "1", "--phases", "coverage,fuzzing"),
            *("--request-timeout", "60"),
        ],
        capture_output=True,
        text=True,
        timeout=1200,
        cwd=tmp_path,  # it leaves a folder behind
    )
    assert run.returncode == 0, run.stdout[-3000:] + run.stderr[-1000:]


def test_noise_is_no_frame_of_a_stream(server):
    rng = np.random.default_rng(0)
    with open_stream(server) as stream:
        stream.recv(timeout=60)
        for size in (0, 1, 10, 1000, 100_000):
            assert ask(stream, rng.bytes(size))["error"]
