"""What the tests of the command line share."""

import os
import shutil

import PIL.Image
import pytest

from ferembed import Pipeline
from ferembed.cli import main
from tests.conftest import CACHE


@pytest.fixture(scope="session")
def model(tmp_path_factory, faces, labels):
    path = tmp_path_factory.mktemp("model") / "small"
    Pipeline("cnn-a", "softmax", weights="random", store="memory").fit(faces, labels).save(path)
    return str(path)


@pytest.fixture
def class_folders(tmp_path, faces, labels):
    """train/ and validation/ with a folder per class, and a text called .png among them."""
    for i, (face, label) in enumerate(zip(faces, labels, strict=True)):
        folder = tmp_path / "data" / ("train" if i < 18 else "validation") / label
        folder.mkdir(parents=True, exist_ok=True)
        PIL.Image.fromarray(face).save(folder / f"{i}.png")
    (tmp_path / "data" / "train" / "sad" / "letter.png").write_text("a letter")
    return str(tmp_path / "data")


@pytest.fixture
def run(capsys, tmp_path, monkeypatch):
    monkeypatch.setenv("FEREMBED_CACHE", str(tmp_path / "cache"))
    if (CACHE / "networks").exists():  # what other tests exported serves here, too
        networks = tmp_path / "cache" / "networks"
        shutil.copytree(CACHE / "networks", networks, copy_function=os.symlink)

    def run(*arguments):
        code = main(list(map(str, arguments)))
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return run
