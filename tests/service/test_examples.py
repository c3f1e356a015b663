"""The clients in examples/service, each run against a real server."""

from __future__ import annotations

import json
import os
import shutil
import socket
import ssl
import subprocess
import sys
from pathlib import Path

import httpx
import pytest
from websockets.sync.client import connect

from ferembed.labels import display_name
from ferembed.service import Settings
from tests.conftest import ROOT
from tests.helpers import clips
from tests.service.conftest import Server, running, wait_until

EXAMPLES = ROOT / "examples" / "service"


def run(*command: object, **options: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*map(str, command)], capture_output=True, text=True, timeout=120, **options
    )


def test_the_python_client_reads_photos(server: Server, portrait: Path, pipeline, tmp_path: Path):
    (prediction,) = pipeline.analyze(portrait)
    bad = tmp_path / "bad.jpg"
    bad.write_text("hello")
    done = run(sys.executable, EXAMPLES / "client.py", server.url, portrait, bad)
    assert done.returncode == 0, done.stderr
    first, second = done.stdout.splitlines()
    assert f": {display_name(prediction.label)} (" in first
    assert first.endswith(str(list(prediction.box)))
    assert "bad.jpg is not a picture in a known format" in second


@pytest.mark.slow
def test_the_python_clients_send_their_key(portrait: Path, tmp_path: Path):
    (tmp_path / "keys").write_text("the-key-of-this-test\n")
    with running(tmp_path / "log", "--api-key-file", str(tmp_path / "keys")) as server:
        for key, told in (("the-key-of-this-test", " at ["), ("another", "The key is wrong")):
            environment = {**os.environ, "FEREMBED_KEY": key}
            command = sys.executable, EXAMPLES / "client.py", server.url, portrait
            assert told in run(*command, env=environment).stdout
        clip = clips.write(tmp_path / "clip.mp4", clips.walk(2))
        url = f"ws://127.0.0.1:{server.port}"
        done = run(sys.executable, EXAMPLES / "stream.py", url, clip, env=environment)
        assert (done.returncode, done.stderr) == (1, "The key is wrong or missing.\n")


@pytest.mark.skipif(shutil.which("curl") is None, reason="install curl")
def test_the_curl_client_reads_and_draws_a_photo(server: Server, portrait: Path, tmp_path: Path):
    done = run("sh", EXAMPLES / "client.sh", server.url, portrait, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert '"picture":"grace_hopper.jpg"' in done.stdout
    assert (tmp_path / "drawn.png").read_bytes().startswith(b"\x89PNG")


def test_the_stream_client_follows_people(server: Server, tmp_path: Path):
    clip = clips.write(tmp_path / "clip.mp4", clips.walk(4))
    done = run(sys.executable, EXAMPLES / "stream.py", f"ws://127.0.0.1:{server.port}", clip)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[0] == "model: default"
    assert "frame 4: person " in done.stdout


@pytest.mark.parametrize("name", ["client.py", "client.sh", "stream.py"])
def test_a_client_without_arguments_prints_its_usage(name: str):
    done = run("sh" if name.endswith(".sh") else sys.executable, EXAMPLES / name)
    assert done.returncode == 1
    assert f"{name} " in done.stderr
    assert "Traceback" not in done.stderr


def test_the_unit_sets_what_the_service_knows(tmp_path: Path):
    text = (EXAMPLES / "ferembed.service").read_text()
    variables = {}
    for line in text.splitlines():
        if line.startswith("Environment="):
            for pair in line.removeprefix("Environment=").split():
                name, _, value = pair.partition("=")
                variables[name] = value.replace("%d", str(tmp_path))
    variables.pop("FEREMBED_CACHE")
    settings = Settings.from_environment(variables)
    assert {f"FEREMBED_{name.upper()}" for name in vars(settings)} >= variables.keys()
    assert settings.allow_host == ("faces.example.org",)
    assert settings.api_key_file == tmp_path / "keys"


NGINX = """
daemon off;
pid {folder}/pid;
error_log {folder}/error.log;
events {{}}
http {{
    access_log off;
    client_body_temp_path {folder}/bodies;
    proxy_temp_path {folder}/answers;
    fastcgi_temp_path {folder}/1;
    uwsgi_temp_path {folder}/2;
    scgi_temp_path {folder}/3;
    include {folder}/ferembed.conf;
}}
"""
CERTIFICATE = "req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=faces.example.org -batch"


@pytest.mark.slow
@pytest.mark.skipif(not (shutil.which("nginx") and shutil.which("openssl")), reason="install nginx")
def test_the_proxy_passes_photos_and_streams(portrait: Path, tmp_path: Path):
    run("openssl", *CERTIFICATE.split(), "-keyout", tmp_path / "key", "-out", tmp_path / "cert")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with running(tmp_path / "log", "--allow-host", "faces.example.org") as server:
        site = (EXAMPLES / "nginx.conf").read_text()
        for here, there in (
            ("listen 443 ssl", f"listen 127.0.0.1:{port} ssl"),
            ("/etc/ssl/faces.example.org/fullchain.pem", f"{tmp_path}/cert"),
            ("/etc/ssl/faces.example.org/privkey.pem", f"{tmp_path}/key"),
            ("127.0.0.1:8000", f"127.0.0.1:{server.port}"),
        ):
            assert here in site
            site = site.replace(here, there)
        (tmp_path / "ferembed.conf").write_text(site)
        (tmp_path / "nginx.conf").write_text(NGINX.format(folder=tmp_path))
        proxy = subprocess.Popen(["nginx", "-e", "stderr", "-c", str(tmp_path / "nginx.conf")])
        try:
            wait_until((tmp_path / "pid").exists, proxy)
            host, context = f"faces.example.org:{port}", ssl.create_default_context()
            context.load_verify_locations(tmp_path / "cert")
            context.check_hostname = False
            with httpx.Client(verify=context, headers={"Host": host}, timeout=60) as client:
                files = {"picture": portrait.read_bytes()}
                answer = client.post(f"https://127.0.0.1:{port}/v1/analyze", files=files)
                assert answer.status_code == 200
                assert "max-age" in answer.headers["strict-transport-security"]
                assert len(answer.json()["pictures"][0]["faces"]) == 1
            with connect(
                f"wss://{host}/v1/stream",
                sock=socket.create_connection(("127.0.0.1", port)),
                ssl=context,
                origin=f"https://{host}",  # as a browser says that the page came from there
            ) as stream:
                stream.send("{}")
                assert json.loads(stream.recv(timeout=60))["ready"]
            bodies = [
                path for name in ("bodies", "answers") for path in (tmp_path / name).rglob("*")
            ]
            assert [path for path in bodies if path.is_file()] == []
        finally:
            proxy.terminate()
            proxy.wait(30)
