"""Every Python and console block of README and the guides runs, and prints what the text promises.

Each block runs by itself in a folder that holds what the guides speak of, so that blocks may run in
any order. Blocks of the kind ```sh are not run: they install packages, download files, or set up a
server. Of the console blocks, `make test` is only looked up, as it is what is running.
"""

import os
import re
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest

from ferembed import Pipeline
from tests.conftest import ROOT
from tests.helpers import clips

BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
BLOCKS = {
    f"{name}-{index}": (kind, text, following)
    for name in ("README.md", "examples/README.md")
    for found in [BLOCK.findall((ROOT / name).read_text())]
    for index, ((kind, text), following) in enumerate(
        zip(found, [*found[1:], ("", "")], strict=True)
    )
}
VOTES = "Usage,Image name,neutral,happiness,surprise,sadness,anger,disgust,fear,contempt,unknown,NF"
VOTERS = {
    "happy": "0,8,2,0,0,0,0,0,0,0",
    "sad": "3,0,0,7,0,0,0,0,0,0",
    "angry": "2,0,0,0,6,0,0,0,2,0",
}
DOCUMENTS = [ROOT / "README.md", *ROOT.glob("*/README.md"), *ROOT.glob("examples/*/README.md")]


def of_kind(kind: str) -> list[str]:
    return [name for name, block in BLOCKS.items() if block[0] == kind]


def examples(kind: str) -> list[Any]:
    """The blocks of a kind; those of examples/README.md are slow tests."""
    return [
        pytest.param(name, marks=[pytest.mark.slow] if name.startswith("examples") else [])
        for name in of_kind(kind)
    ]


@pytest.fixture(scope="module")
def folder(
    tmp_path_factory: pytest.TempPathFactory, faces: np.ndarray, labels: np.ndarray, portrait: Path
) -> Path:
    """What the guides speak of: portrait.jpg, clip.mp4, faces/, votes.csv, photos/ and my_model."""
    folder = tmp_path_factory.mktemp("readme")
    shutil.copy(portrait, folder / "portrait.jpg")
    clips.write(folder / "clip.mp4", clips.walk(8))
    for i, (face, label) in enumerate(zip(faces, labels, strict=True)):
        home = folder / "faces" / ("train" if i < 18 else "validation") / label
        home.mkdir(parents=True, exist_ok=True)
        PIL.Image.fromarray(face).save(home / f"{i}.png")
    votes = [VOTERS[label] for label in labels]
    rows = [
        f"{'Training' if i < 18 else 'PublicTest'},{i}.png,{row}" for i, row in enumerate(votes)
    ]
    (folder / "votes.csv").write_text("\n".join([VOTES, *rows]))
    with PIL.Image.open(portrait) as photo:
        for label, picture in (("happy", photo), ("sad", photo.convert("L"))):
            (folder / "photos" / label).mkdir(parents=True)
            picture.save(folder / "photos" / label / "hopper.png")
    Pipeline(head="softmax").fit(faces[:18], labels[:18]).save(folder / "my_model")
    return folder


def run(command: list[str], folder: Path, codes: tuple[int, ...] = (0,)) -> str:
    result = subprocess.run(
        command, cwd=folder, env=environment(), capture_output=True, text=True, timeout=600
    )
    assert result.returncode in codes, result.stdout + result.stderr
    return result.stdout


def environment() -> dict[str, str]:
    binaries = os.path.dirname(sys.executable)
    return {
        **os.environ,
        "PATH": binaries + os.pathsep + os.environ["PATH"],
        "VENV": os.path.dirname(binaries),
        "COLUMNS": "100",
    }


def same(printed: str, promised: str) -> bool:
    """Equal but for numbers, which may differ in their last digit from machine to machine."""
    number = re.compile(r"\d+(?:\.\d+)?")
    values = [[float(n) for n in number.findall(text)] for text in (printed, promised)]
    return number.sub("#", printed).split() == number.sub("#", promised).split() and all(
        abs(a - b) <= 0.5 + 0.02 * abs(b) for a, b in zip(*values, strict=True)
    )


def test_readme_fits_its_length_and_opens_with_an_example():
    lines = (ROOT / "README.md").read_text().splitlines()
    assert len(lines) <= 150
    assert "```python" in lines[:10]
    assert BLOCKS["README.md-1"][0] == "text"


@pytest.mark.parametrize("name", examples("python"))
def test_a_python_block_runs_and_prints_what_is_promised(name, folder):
    _, code, (next_kind, promised) = BLOCKS[name]
    printed = run([sys.executable, "-c", code], folder)
    if next_kind == "text":
        assert same(printed, promised), printed


@pytest.mark.parametrize("name", examples("console"))
def test_a_console_block_runs(name, folder):
    commands = [line[2:] for line in BLOCKS[name][1].splitlines() if line.startswith("$ ")]
    assert commands
    if commands[0].startswith("ferembed serve"):
        with server(commands[0], folder) as port:
            for command in commands[1:]:
                run(["bash", "-c", command.replace("8000", port)], folder)
        return
    for command in commands:
        run_command(command, folder)


def run_command(command: str, folder: Path) -> None:
    if command == "make test":
        assert "pytest" in run(["make", "--dry-run", "test"], ROOT)
    elif command == "make demo":
        ready = Path(sys.prefix, ".demo").exists()  # else it would install into this environment
        printed = run(
            ["make", "demo"] if ready else ["ferembed", "demo"], ROOT if ready else folder
        )
        assert "face 1 at (176, 113, 347, 332)" in printed
    elif command.startswith("ferembed benchmark"):  # 18 faces have no 30 neighbours
        assert "| network |" in run(["bash", "-c", command], folder, (0, 1))
        assert (folder / "out" / "grid.html").exists()
    else:
        run(["bash", "-c", command], folder)


@contextmanager
def server(command: str, folder: Path) -> Iterator[str]:
    """The service at a free port, as long as it is needed."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    process = subprocess.Popen(
        [*command.split(), "--port", port], cwd=folder, env=environment(), stderr=subprocess.PIPE
    )
    try:
        for _ in range(300):
            assert process.poll() is None, process.stderr and process.stderr.read()
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz")
                break
            except (urllib.error.URLError, ConnectionError):
                time.sleep(0.2)
        yield port
    finally:
        process.terminate()
        process.communicate(timeout=60)


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_lead_to_files_and_headings(path):
    for target in re.findall(r"\]\((?!https?:)([^)\s]+)\)|src=\"([^\"]+)\"", path.read_text()):
        file, _, heading = "".join(target).partition("#")
        there = path.parent / file if file else path
        assert there.exists(), target
        if heading:
            titles = re.findall(r"^#+ (.*)$", there.read_text(), re.MULTILINE)
            assert heading in {re.sub(r"[^\w -]", "", t).lower().replace(" ", "-") for t in titles}


def test_the_numbers_are_those_of_the_results():
    run([sys.executable, "-m", "benchmarks.readme", "--check"], ROOT)
