"""Every Python and shell block of the README runs, and prints what the README says it prints."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import PIL.Image
import pytest

from tests.conftest import ROOT
from tests.helpers import clips

README = (ROOT / "README.md").read_text()
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
BLOCKS = [(match[1], match[2]) for match in BLOCK.finditer(README)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory, faces, labels, portrait):
    """What the README speaks of: portrait.jpg, clip.mp4 and faces/."""
    folder = tmp_path_factory.mktemp("readme")
    shutil.copy(portrait, folder / "portrait.jpg")
    clips.write(folder / "clip.mp4", clips.walk(8))
    for i, (face, label) in enumerate(zip(faces, labels, strict=True)):
        home = folder / "faces" / ("train" if i < 18 else "validation") / label
        home.mkdir(parents=True, exist_ok=True)
        PIL.Image.fromarray(face).save(home / f"{i}.png")
    return folder


def run(command: list[str], folder: Path, codes: tuple[int, ...] = (0,)) -> str:
    binaries = os.path.dirname(sys.executable)
    environment = {
        **os.environ,
        "PATH": binaries + os.pathsep + os.environ["PATH"],
        "VENV": os.path.dirname(binaries),
        "COLUMNS": "100",
    }
    result = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=600
    )
    assert result.returncode in codes, result.stdout + result.stderr
    return result.stdout


def same(printed: str, promised: str) -> bool:
    """Equal but for numbers, which may differ in their last digit from machine to machine."""
    number = re.compile(r"\d+(?:\.\d+)?")
    values = [[float(n) for n in number.findall(text)] for text in (printed, promised)]
    return number.sub("#", printed).split() == number.sub("#", promised).split() and all(
        abs(a - b) <= 0.5 + 0.02 * abs(b) for a, b in zip(*values, strict=True)
    )


def test_there_are_blocks_of_each_kind():
    kinds = [kind for kind, _ in BLOCKS]
    assert {"python", "console", "text"} <= set(kinds)
    first_screen = README.split("\n")[:60]
    assert any(line == "```python" for line in first_screen)


@pytest.mark.parametrize("index", [i for i, (k, _) in enumerate(BLOCKS) if k == "python"])
def test_a_python_block_runs_and_prints_what_is_promised(index, folder):
    printed = run([sys.executable, "-c", BLOCKS[index][1]], folder)
    if index + 1 < len(BLOCKS) and BLOCKS[index + 1][0] == "text":
        assert same(printed, BLOCKS[index + 1][1]), printed


COMMANDS = [
    line[2:]
    for kind, text in BLOCKS
    if kind == "console"
    for line in text.splitlines()
    if line.startswith("$ ")
]


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_runs(command, folder):
    if command == "make test":  # it is running; that the target exists is seen without running it
        assert "pytest" in run(["make", "--dry-run", "test"], ROOT)
    elif command == "make demo":
        ready = Path(sys.prefix, ".demo").exists()  # else it would install into this environment
        printed = run(
            ["make", "demo"] if ready else ["ferembed", "demo"], ROOT if ready else folder
        )
        assert "face 1 at (178, 110, 351, 330)" in printed
    elif command.startswith("ferembed benchmark"):  # 18 faces have no 30 neighbours
        assert "| network |" in run(["bash", "-c", command], folder, (0, 1))
        assert (folder / "out" / "grid.html").exists()
    elif not command.startswith(("git clone", "cd ", "pip install", "sudo ")):
        run(["bash", "-c", command], folder)


def test_the_numbers_are_those_of_the_results():
    run([sys.executable, str(ROOT / "benchmarks" / "readme.py"), "--check"], ROOT)
