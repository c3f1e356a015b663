"""What ships is in the wheel: it is built, installed alone, and predicts from there."""

import shutil
import subprocess
import sys
import sysconfig
import venv
import zipfile

import pytest

from ferembed.labels import EXPRESSIONS
from tests.conftest import ROOT


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    folder = tmp_path_factory.mktemp("wheel")
    tracked = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT, capture_output=True, text=True, check=True,
    ).stdout.split("\n")  # fmt: skip
    for name in filter(None, tracked):
        if (ROOT / name).exists():
            (folder / "source" / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(ROOT / name, folder / "source" / name)
    subprocess.run(
        [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation",
         "--no-index", "--wheel-dir", str(folder), str(folder / "source")],
        check=True, capture_output=True, text=True,
    )  # fmt: skip
    (built,) = folder.glob("*.whl")
    return built


@pytest.mark.slow
def test_models_types_and_modules_are_in_the_wheel(wheel):
    names = set(zipfile.ZipFile(wheel).namelist())
    modules = {str(p.relative_to(ROOT)) for p in (ROOT / "ferembed").rglob("*.py")}
    models = {
        f"ferembed/{path.relative_to(ROOT)}"
        for path in (ROOT / "models").rglob("*")
        if path.is_file()
    }
    assert modules | models | {"ferembed/py.typed"} <= names
    assert not any(name.startswith(("tests/", "benchmarks/", "models/")) for name in names)


@pytest.mark.slow
def test_an_installed_wheel_predicts(wheel, portrait, tmp_path):
    home = tmp_path / "env"
    venv.create(home, with_pip=False)
    python = home / "bin" / "python"
    target = subprocess.run(
        [python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"],
        capture_output=True, text=True, check=True,
    ).stdout.strip()  # fmt: skip
    subprocess.run(
        [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index",
         "--target", target, str(wheel)],
        check=True,
    )  # fmt: skip
    # The dependencies of this environment, but not its ferembed: a path line runs no .pth files.
    with open(f"{target}/dependencies.pth", "w") as file:
        file.write(f"{sysconfig.get_path('purelib')}\n{sysconfig.get_path('platlib')}\n")
    code = (
        "import ferembed, sys; from ferembed import Pipeline;"
        "assert ferembed.__file__.startswith(sys.prefix), ferembed.__file__;"
        "(prediction,) = Pipeline.load('default', store='none').analyze(sys.argv[1]);"
        "print(prediction.label, len(prediction.probabilities))"
    )
    result = subprocess.run(
        [python, "-I", "-c", code, str(portrait)],
        capture_output=True, text=True, cwd=tmp_path,
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    label, count = result.stdout.split()
    assert label in EXPRESSIONS
    assert count == "7"
    command = [python, "-I", "-m", "ferembed.cli", "predict", str(portrait)]
    printed = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
    assert printed.returncode == 0, printed.stderr
    assert "face 1" in printed.stdout
