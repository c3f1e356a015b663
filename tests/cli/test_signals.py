"""Signals at every command: one line, the exit code, and no unfinished files."""

import os
import shutil
import signal
import subprocess
import sys

import PIL.Image
import pytest

from ferembed.cli import main
from tests.conftest import CACHE

# A process that sends itself a signal when it opens a file with such a name, or when it listens.
SIGNALLED = """
import os, sys
name, number = sys.argv.pop(1), int(sys.argv.pop(1))
def hook(event, arguments):
    global number
    opens = event in ("open", "sqlite3.connect") and name in os.path.basename(str(arguments[0]))
    if number and (opens or event == name):
        signal, number = number, 0
        os.kill(os.getpid(), signal)
from ferembed.cli import run
sys.addaudithook(hook)
run()
"""
NETWORK = ("--backbone", "cnn-a", "--weights", "random")
COMMANDS = {
    "demo": (("demo", "--output", "out"), "grace_hopper.jpg"),
    "predict": (("predict", "photos", "--model", "model", "--output", "x.csv"), "1.jpg"),
    "predict a video": (("predict", "clip.mp4", "--model", "model", "--output", "x.csv"), ".part"),
    "watch": (("watch", "clip.mp4", "--model", "model", "--output", "x.csv"), ".part"),
    "embed": (("embed", "faces", *NETWORK, "--output", "x.npz"), "7.png"),
    "quantize": (("quantize", "faces", *NETWORK), "7.png"),
    "fit": (("fit", "faces", *NETWORK, "--head", "softmax", "--output", "new"), "7.png"),
    "train": (("train", "faces", "--backbone", "cnn-a", "--output", "run"), "7.png"),
    "benchmark": (("benchmark", "grid.toml", "faces", "--output", "out"), "7.png"),
    "evaluate": (("evaluate", "model", "faces", "--output", "new"), "19.png"),
    "compare": (("compare", "report", "report"), "report.json"),
    "data describe": (("data", "describe", "faces", "--picture", "x.png"), "7.png"),
    "data audit": (("data", "audit", "faces", "--output", "x.json"), "7.png"),
    "data build": (("data", "build", "faces", "--clean", "--output", "new"), "7.png"),
    "models": (("models",), "catalogue"),
    "cache": (("cache", "verify", "--store", "x.sqlite"), "x.sqlite"),
    "serve": (("serve", "--model", "model", "--port", "0"), "socket.bind"),
}
GRID = '[[cells]]\nbackbone = "cnn-a"\nweights = "random"\nhead = "softmax"\n'


@pytest.fixture(scope="module")
def inputs(tmp_path_factory, model, portrait, clip, faces, labels):
    """A folder with all that the commands read."""
    folder = tmp_path_factory.mktemp("inputs")
    (folder / "photos").mkdir()
    for number in range(3):
        os.link(shutil.copy(portrait, folder), folder / "photos" / f"{number}.jpg")
    for number, (face, label) in enumerate(zip(faces, labels, strict=True)):
        place = folder / "faces" / ("train" if number < 18 else "validation") / label
        place.mkdir(parents=True, exist_ok=True)
        PIL.Image.fromarray(face).save(place / f"{number}.png")
    os.symlink(model, folder / "model")
    os.symlink(clip, folder / "clip.mp4")
    (folder / "grid.toml").write_text(GRID)
    score = ["evaluate", model, str(folder / "faces"), "--store", str(folder / "x.sqlite")]
    assert main([*score, "--output", str(folder / "report")]) == 0
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("name", COMMANDS)
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_every_command_with_one_line(inputs, tmp_path, name, number):
    code, error = signalled(inputs, tmp_path, name, number)
    assert code == (0 if (name, number) == ("watch", signal.SIGINT) else 128 + number), error
    lines = [line for line in error.splitlines() if not line.startswith("ferembed: listening")]
    assert len(lines) == 1, error
    assert "interrupted" in lines[0]
    left = [path for path in tmp_path.rglob("*") if path.name.startswith(".ferembed-")]
    assert left == []


# A process that gets a signal in a callback of the garbage collector when it listens.
IN_A_CALLBACK = """
import os, sys, weakref
number = int(sys.argv.pop(1))
class Thing: pass
thing = [Thing()]
def callback(_):
    os.kill(os.getpid(), number)
    for _ in range(1000): pass
reference = weakref.ref(thing[0], callback)
sys.addaudithook(lambda event, _: thing.clear() if event == "socket.bind" else None)
from ferembed.cli import run
run()
"""


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_in_a_callback_ends_the_server_too(number):
    command = [sys.executable, "-c", IN_A_CALLBACK, str(int(number)), "serve", "--port", "0"]
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=120, preexec_fn=obey_signals
    )
    assert done.returncode == 128 + number
    assert "interrupted; the server has ended" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in COMMANDS if name not in ("train", "serve")])
def test_a_sigpipe_ends_no_command(inputs, tmp_path, name):
    code, error = signalled(inputs, tmp_path, name, signal.SIGPIPE)
    assert (code, error) == (0, "")


def obey_signals():
    """Those that the tests may have been started to ignore, as in the background or by nohup."""
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)


def signalled(inputs, folder, name, number):
    """The exit code and the error stream of a command that gets a signal while it works."""
    for entry in inputs.iterdir():
        (folder / entry.name).symlink_to(entry)
    arguments, event = COMMANDS[name]
    (folder / "cache").mkdir()
    if (CACHE / "networks").exists():  # what other tests exported serves here, too
        (folder / "cache" / "networks").symlink_to(CACHE / "networks")
    command = [sys.executable, "-c", SIGNALLED, event, str(int(number)), *arguments, "--quiet"]
    done = subprocess.run(
        command,
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=120,
        env={**os.environ, "FEREMBED_CACHE": str(folder / "cache")},
        preexec_fn=obey_signals,
    )
    assert "Traceback" not in done.stderr, done.stderr
    return done.returncode, done.stderr
