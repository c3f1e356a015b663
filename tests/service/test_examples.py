"""The clients in examples/service, each run against a real server."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from ferembed.labels import display_name
from ferembed.service import Settings
from tests.conftest import ROOT
from tests.helpers import clips
from tests.service.conftest import Server, running

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
def test_the_python_client_sends_its_key(portrait: Path, tmp_path: Path):
    (tmp_path / "keys").write_text("the-key-of-this-test\n")
    with running(tmp_path / "log", "--api-key-file", str(tmp_path / "keys")) as server:
        for key, told in (("the-key-of-this-test", " at ["), ("another", "The key is wrong")):
            environment = {**os.environ, "FEREMBED_KEY": key}
            command = sys.executable, EXAMPLES / "client.py", server.url, portrait
            assert told in run(*command, env=environment).stdout


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
