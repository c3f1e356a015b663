"""Each example runs as a person would run it."""

import subprocess
import sys

import PIL.Image
import pytest

from tests.conftest import ROOT
from tests.helpers import clips


@pytest.fixture(scope="module")
def folder(tmp_path_factory, faces, labels, portrait):
    """A photo, a video and class folders of faces."""
    folder = tmp_path_factory.mktemp("examples")
    PIL.Image.open(portrait).save(folder / "photo.jpg")
    clips.write(folder / "clip.mp4", clips.walk(8))
    for i, (face, label) in enumerate(zip(faces, labels, strict=True)):
        home = folder / "faces" / ("train" if i < 18 else "validation") / label
        home.mkdir(parents=True, exist_ok=True)
        PIL.Image.fromarray(face).save(home / f"{i}.png")
    return folder


EXAMPLES = {
    "read_photo.py": (["photo.jpg"], " at ("),
    "train_head.py": (["faces", "model"], "6 faces: accuracy"),
    "search_head.py": (["faces"], "in cross-validation"),
    "optuna_search.py": (["faces"], "in cross-validation"),
    "own_backbone.py": (["faces"], "in cross-validation"),
    "video.py": (["clip.mp4"], "0.0 s, person 1: "),
    "cluster.py": (["faces", "vectors"], "rows=24, pictures=24, "),
}
QUICK = ("read_photo.py", "train_head.py")  # the others are slow tests


def test_every_example_is_run():
    assert {path.name for path in (ROOT / "examples").glob("*.py")} == EXAMPLES.keys()


@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=() if name in QUICK else pytest.mark.slow) for name in EXAMPLES],
)
def test_an_example_runs(name, folder):
    arguments, expected = EXAMPLES[name]
    result = subprocess.run(
        [sys.executable, ROOT / "examples" / name, *arguments],
        capture_output=True,
        text=True,
        cwd=folder,
    )
    assert result.returncode == 0, result.stderr
    assert expected in result.stdout


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(EXAMPLES.keys() - {"video.py"}))
def test_an_example_without_arguments_prints_its_usage(name, folder):
    result = subprocess.run(
        [sys.executable, ROOT / "examples" / name], capture_output=True, text=True, cwd=folder
    )
    assert result.returncode == 1
    assert f"python examples/{name} " in result.stderr
    assert "Traceback" not in result.stderr
