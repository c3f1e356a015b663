"""Weights that others publish: fetched from a real server, which misbehaves in every usual way."""

import hashlib
import http.server
import re
import resource
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from ferembed.errors import WeightsError
from ferembed.storage.weights import DownloadableWeights
from tests.conftest import run_python

CONTENT = np.random.default_rng(5).bytes(3_000_000)
SIZE = len(CONTENT)
SHA256 = hashlib.sha256(CONTENT).hexdigest()


class Server(http.server.ThreadingHTTPServer):
    """Serves CONTENT, and counts what it is asked for."""

    def __init__(self):
        self.content, self.etag = CONTENT, '"one"'
        self.knows_ranges = self.says_length = True
        self.breaks_after = self.status = None
        self.pause = 0.0
        self.changes_at = None  # the request before which another version comes
        self.ranges = []  # one for each request
        super().__init__(("127.0.0.1", 0), Handler)

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_port}/numbers.bin"


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        server = self.server
        asked = self.headers["Range"]
        server.ranges.append(asked)
        if len(server.ranges) == server.changes_at:
            server.content, server.etag = server.content[::-1], '"two"'
        if server.status:
            return self.send_error(server.status)
        start = int(re.fullmatch(r"bytes=(\d+)-", asked)[1]) if asked and server.knows_ranges else 0
        body = server.content[start:]
        self.send_response(206 if start else 200)
        if start:
            whole = len(server.content)
            self.send_header("Content-Range", f"bytes {start}-{whole - 1}/{whole}")
        if server.says_length:
            self.send_header("Content-Length", str(len(body)))
        self.send_header("ETag", server.etag)
        self.end_headers()
        sent = body if server.breaks_after is None else body[: server.breaks_after]
        try:
            for at in range(0, len(sent), 1 << 16):
                self.wfile.write(sent[at : at + (1 << 16)])
                time.sleep(server.pause)
        except ConnectionError:
            pass  # who asked has seen enough

    def log_message(self, *_):
        pass


@pytest.fixture
def server():
    with Server() as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield server
        server.shutdown()


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """The folder that $FEREMBED_WEIGHTS names."""
    folder = tmp_path / "named"
    monkeypatch.setenv("FEREMBED_WEIGHTS", str(folder))
    monkeypatch.setenv("FEREMBED_CACHE", str(tmp_path / "cache"))
    return folder


def published(server, sha256=SHA256):
    return DownloadableWeights(
        "numbers.bin", sha256, "CC BY 4.0", "faces", url=server.url, size=SIZE, backbone="net"
    )


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_a_file_is_fetched_once_and_only_on_request(server, folder):
    weights = published(server)
    with pytest.raises(WeightsError) as error:
        weights.path()
    assert server.ranges == []
    for fact in ("numbers.bin", "3 MB", "CC BY 4.0", "models fetch net", server.url, "_WEIGHTS"):
        assert fact in str(error.value)
    seen = []
    assert weights.fetch(progress=lambda done, total: seen.append((done, total))) == weights.path()
    assert weights.path() == folder / "numbers.bin"
    assert weights.path().read_bytes() == CONTENT
    assert seen[0] == (0, SIZE)
    assert seen[-1] == (SIZE, SIZE)
    assert names(folder) == ["numbers.bin"]
    weights.fetch()
    assert server.ranges == [None]


def test_without_a_named_folder_weights_lie_in_the_cache(server, folder, monkeypatch):
    monkeypatch.delenv("FEREMBED_WEIGHTS")
    path = published(server).fetch()
    assert path == folder.parent / "cache" / "weights" / "numbers.bin"
    monkeypatch.setenv("FEREMBED_WEIGHTS", str(folder))
    assert published(server).path() == path  # looked for there, too


def test_an_interrupted_download_is_resumed(server, folder):
    server.breaks_after = 1_000_000
    with pytest.raises(WeightsError, match=r"interrupted: got 1\.0 of 3\.0 MB.*to resume"):
        published(server).fetch()
    with pytest.raises(WeightsError, match=r"interrupted: got 2\.0 of 3\.0 MB"):
        published(server).fetch()
    server.breaks_after = None
    seen = []
    path = published(server).fetch(progress=lambda done, total: seen.append(done))
    assert path.read_bytes() == CONTENT
    assert seen[0] == 2_000_000
    assert [asked for asked in server.ranges if asked] == ["bytes=1000000-", "bytes=2000000-"]
    assert names(folder) == ["numbers.bin"]


def test_a_killed_download_is_resumed(server, folder):
    server.pause = 0.02
    code = (
        "import sys; from ferembed.storage.weights import DownloadableWeights;"
        "DownloadableWeights('numbers.bin', sys.argv[1],"
        "'', '', url=sys.argv[2], size=3_000_000, backbone='net').fetch()"
    )
    process = subprocess.Popen([sys.executable, "-c", code, SHA256, server.url])
    deadline = time.monotonic() + 60
    while not (folder.exists() and any(p.stat().st_size > 300_000 for p in folder.iterdir())):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    (part,) = folder.iterdir()
    have = part.stat().st_size
    assert CONTENT.startswith(part.read_bytes())
    assert 0 < have < SIZE
    server.pause = 0
    assert published(server).fetch().read_bytes() == CONTENT
    assert server.ranges[-1] == f"bytes={have}-"


def test_a_server_without_ranges_sends_all_once_more(server, folder):
    server.knows_ranges, server.breaks_after = False, 1_000_000
    with pytest.raises(WeightsError, match="was interrupted"):
        published(server).fetch()
    server.breaks_after = None
    assert published(server).fetch().read_bytes() == CONTENT


def test_without_a_length_the_sha256_decides(server, folder):
    server.says_length, server.breaks_after = False, 1_000_000
    with pytest.raises(WeightsError, match="sha256 of .* The download was deleted"):
        published(server).fetch()
    assert names(folder) == []
    server.breaks_after = None
    assert published(server).fetch().read_bytes() == CONTENT


def test_halves_of_two_versions_are_not_joined(server, folder):
    unknown = published(server, sha256="")
    server.breaks_after = 1_000_000
    with pytest.raises(WeightsError, match="was interrupted"):
        unknown.fetch()
    server.content, server.etag, server.breaks_after = CONTENT[::-1], '"two"', None
    assert unknown.fetch().read_bytes() == CONTENT[::-1]
    assert names(folder) == ["numbers.bin", "numbers.bin.sha256"]


def test_a_version_that_comes_between_two_requests_is_not_joined_either(server, folder):
    unknown = published(server, sha256="")
    server.breaks_after = 1_000_000
    with pytest.raises(WeightsError, match="was interrupted"):
        unknown.fetch()
    server.breaks_after, server.changes_at = None, 3
    with pytest.raises(WeightsError, match="changed during the download. Start again"):
        unknown.fetch()
    assert unknown.fetch().read_bytes() == CONTENT[::-1]


def test_a_file_of_another_content_is_deleted(server, folder):
    server.content = CONTENT[::-1]
    with pytest.raises(WeightsError, match=f"expected {SHA256[:12]}.* The download was deleted"):
        published(server).fetch()
    assert names(folder) == []
    server.content = CONTENT[:-1]
    server.ranges.clear()
    with pytest.raises(WeightsError, match="has 2,999,999 bytes, expected 3,000,000.* Nothing was"):
        published(server).fetch()


def test_a_refusal_of_the_server_is_an_error(server, folder):
    for status, reason in ((404, "404 Not Found"), (503, "503 Service Unavailable")):
        server.status = status
        with pytest.raises(WeightsError, match=f"cannot be downloaded: {reason}. Without a net"):
            published(server).fetch()
    weights = published(server)
    server.shutdown()
    server.server_close()
    with pytest.raises(WeightsError, match="cannot be reached: Connection refused. Without a net"):
        weights.fetch()


@pytest.mark.skipif(not hasattr(resource, "RLIMIT_FSIZE"), reason="needs a file size limit")
def test_a_full_disk_is_an_error_and_the_part_is_kept(server, folder):
    code = (
        "import resource, sys; from ferembed.storage.weights import DownloadableWeights;"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, 1_000_000));"
        "DownloadableWeights('numbers.bin', sys.argv[1], '', '', "
        "url=sys.argv[2], size=3_000_000).fetch()"
    )
    result = run_python(code, SHA256, server.url)
    assert re.search(r"part cannot be written beyond \d\.\d MB: File too large", result.stderr)
    assert "set $FEREMBED_WEIGHTS to another folder" in result.stderr
    (part,) = folder.iterdir()
    assert 0 < part.stat().st_size <= 1_000_000
    assert published(server).fetch().read_bytes() == CONTENT
    assert server.ranges[-1].startswith("bytes=")


def test_two_at_once_end_with_one_whole_file(server, folder):
    server.pause = 0.005
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(published(server).fetch)
        time.sleep(0.1)
        second = pool.submit(published(server).fetch)
        assert first.result().read_bytes() == second.result().read_bytes() == CONTENT
    assert names(folder) == ["numbers.bin"]


def test_an_unpublished_sha256_is_recorded_at_the_first_fetch(server, folder):
    unknown = published(server, sha256="")
    checked = []
    path = unknown.fetch(check=lambda path: checked.append(path.read_bytes()))
    assert checked == [CONTENT]
    assert unknown.digest == SHA256
    record = folder / "numbers.bin.sha256"
    assert record.read_text() == f"{SHA256}  numbers.bin\n"
    path.write_bytes(CONTENT[::-1])
    with pytest.raises(WeightsError, match=f"expected {SHA256[:12]}.*models fetch net"):
        unknown.path()
    path.unlink()
    server.content = CONTENT[::-1]
    with pytest.raises(WeightsError, match="as recorded in .*sha256. The download was deleted"):
        unknown.fetch()
    assert names(folder) == ["numbers.bin.sha256"]


def test_a_download_that_fails_the_check_is_deleted(server, folder):
    def refuse(path):
        raise WeightsError("It holds no numbers.")

    with pytest.raises(WeightsError, match="It holds no numbers. The download was deleted."):
        published(server, sha256="").fetch(check=refuse)
    assert names(folder) == []


def test_a_file_put_in_place_by_hand_is_used_and_its_sha256_recorded_by_fetch(server, folder):
    folder.mkdir()
    (folder / "numbers.bin").write_bytes(CONTENT)
    assert published(server).fetch() == published(server).path() == folder / "numbers.bin"
    unknown = published(server, sha256="")
    assert unknown.digest == SHA256
    unknown.fetch()
    assert "numbers.bin.sha256" in names(folder)
    assert server.ranges == []
    (folder / "numbers.bin").write_bytes(b"another")
    with pytest.raises(WeightsError, match="delete it and run: ferembed models fetch net"):
        published(server).path()


def test_a_file_from_another_machine_is_checked_and_copied(server, folder, tmp_path):
    carried = tmp_path / "carried.bin"
    with pytest.raises(WeightsError, match="There is no file at .*carried.bin"):
        published(server).fetch(carried)
    carried.write_bytes(b"another")
    with pytest.raises(WeightsError, match="sha256 of .*carried.bin is"):
        published(server).fetch(carried)
    assert carried.exists()
    assert not folder.exists()
    carried.write_bytes(CONTENT)
    assert published(server).fetch(carried).read_bytes() == CONTENT
    assert names(folder) == ["numbers.bin"]
    assert server.ranges == []
