"""File names that are not UTF-8, and locales. Each command runs in a new process."""

import csv
import json
import os
import shutil
import subprocess
import sys

import numpy as np
import PIL.Image
import pytest

from ferembed import datasets

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="other systems refuse such names")
UTF_8 = {"LC_ALL": "C.UTF-8"}
C = {"LC_ALL": "C"}
ASCII = {**C, "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"}  # as C was before Python 3.7
LATIN_1 = {"PYTHONIOENCODING": "latin-1"}
NETWORK = ("--backbone", "cnn-a", "--weights", "random")
GRID = """title = "Größe"
[[cells]]
head = "knn"
head__n_neighbors = [1, 3]
backbone = "cnn-a"
weights = "random"
"""


def odd(name):
    """The name with an é of Latin-1, which no UTF-8 has."""
    return os.fsdecode(name.encode("latin-1"))


@pytest.fixture
def folder(tmp_path, faces, labels, model):
    """Faces in class folders, and a model, with names in Latin-1."""
    folder = tmp_path / odd("étage")
    shutil.copytree(model, folder / odd("modél"))
    (folder / odd("gréd.toml")).write_text(GRID, "utf-8")
    for number, (face, label) in enumerate(zip(faces, labels, strict=True)):
        place = folder / "faces" / ("train" if number < 15 else "validation") / label
        place.mkdir(parents=True, exist_ok=True)
        PIL.Image.fromarray(face).save(place / odd(f"café {number}.png"))
    return folder


@pytest.fixture
def run(folder):
    def run(*arguments, **environment):
        return subprocess.run(
            [sys.executable, "-m", "ferembed.cli", *arguments],
            cwd=folder,
            env={**os.environ, "FEREMBED_CACHE": str(folder.parent / "cache"), **environment},
            capture_output=True,
            timeout=300,
        )

    return run


@pytest.mark.parametrize("locale", [C, ASCII, LATIN_1])
def test_names_that_are_not_utf_8_are_described_and_built(run, folder, locale):
    described = run("data", "describe", "faces", **locale)
    assert (described.returncode, described.stderr) == (0, b"")
    built = run("data", "build", "faces", "--output", odd("buílt"), "--quiet", **locale)
    assert built.returncode == 0, built.stderr
    assert len(datasets.open(folder / odd("buílt"))) == 24


@pytest.mark.slow
@pytest.mark.parametrize("locale", [UTF_8, C, ASCII, LATIN_1])
def test_every_command_reads_names_that_are_not_utf_8(run, folder, locale):
    commands = (
        ("data", "audit", "faces", "--output", odd("audét.json")),
        ("data", "build", "faces", "--output", odd("buélt.csv")),
        ("embed", "faces", *NETWORK, "--store", odd("sté.sqlite"), "--output", odd("véctors.npz")),
        ("fit", "faces", *NETWORK, "--head", "softmax", "--output", odd("fitté")),
        ("predict", "faces", "--model", odd("modél"), "--output", odd("tablé.csv")),
        ("predict", "faces", "--model", odd("modél"), "--output", odd("tablé.json")),
        ("predict", "faces", "--model", odd("modél"), "--json"),
        ("evaluate", odd("modél"), "faces", "--split", "validation", "--output", odd("réport")),
        ("benchmark", odd("gréd.toml"), "faces", "--output", odd("oét"), "--jobs", "1"),
    )
    said = {}
    for command in commands:
        result = said[command] = run(*command, **locale)
        assert result.returncode == 0, (command, result.stderr[-500:])
        assert b"Traceback" not in result.stderr
    assert len(datasets.open(folder / odd("buélt.csv"))) == 24
    with np.load(folder / odd("véctors.npz")) as found:
        assert [value.shape[0] for value in found.values()].count(24) >= 1
    with (folder / odd("tablé.csv")).open(encoding="utf-8", newline="") as file:
        rows = {row["photo"] for row in csv.DictReader(file)}
    assert len(rows) == 24
    assert all(r"caf\udce9 " in row for row in rows)
    table = json.loads((folder / odd("tablé.json")).read_text("utf-8"))
    printed = json.loads(said[commands[6]].stdout.decode("latin-1"))
    assert {os.fsencode(one["photo"]) for one in table} == {
        os.fsencode(one["photo"]) for one in printed
    }
    assert "Größe" in (folder / odd("oét") / "grid.md").read_text("utf-8")


@pytest.mark.parametrize("locale", [C, ASCII])
def test_a_name_that_does_not_exist_is_told(run, locale):
    missing = run("predict", odd("faces/é.png"), "--model", odd("modél"), **locale)
    assert missing.returncode != 0
    assert b"Traceback" not in missing.stderr
    assert rb"faces/\udce9.png" in missing.stderr


@pytest.mark.slow
def test_a_cache_that_tensorflow_cannot_name_is_told(run, folder):
    result = run("embed", "faces", *NETWORK, "--output", "x.npz", FEREMBED_CACHE=odd("cáche"))
    assert result.returncode == 2
    assert b"TensorFlow needs a name in UTF-8. Choose another folder with $FER" in result.stderr
