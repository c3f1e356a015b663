"""The bar that shows how far a long task has come."""

import fcntl
import os
import pickle
import pty
import select
import struct
import termios
from contextlib import suppress

import pytest
from sklearn.base import clone

from ferembed import Embedder, Pipeline
from ferembed._progress import ProgressBar, report_progress
from tests.conftest import run_python


def test_every_200th_item_and_the_last_are_reported():
    seen = []
    for index in range(450):
        report_progress(lambda done, total: seen.append((done, total)), index, 450)
    assert seen == [(1, 450), (201, 450), (401, 450), (450, 450)]
    report_progress(None, 0, 1)


@pytest.fixture
def terminal():
    """The two ends of a terminal: what it shows, and the stream that writes to it."""
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    with open(slave, "w") as stream:
        yield master, stream
    os.close(master)


def shown(master: int, until: str) -> str:
    """What the terminal shows, as soon as it shows `until`."""
    text = ""
    while until not in text and select.select([master], [], [], 10)[0]:
        text += os.read(master, 100_000).decode()
    return text


def test_each_of_several_tasks_gets_a_bar(terminal, monkeypatch):
    master, stream = terminal
    monkeypatch.setattr("sys.stderr", stream)
    progress = ProgressBar("photo")
    for total in (3, 5):
        for done in range(1, total + 1):
            progress(done, total)
    text = shown(master, "5/5")
    assert "photo" in text
    assert "3/3" in text
    assert "5/5" in text


def test_a_task_of_unknown_length_ends_with_its_total(terminal, monkeypatch):
    master, stream = terminal
    monkeypatch.setattr("sys.stderr", stream)
    progress = ProgressBar()
    progress(200, None)
    progress(230, 230)
    assert "230/230" in shown(master, "230/230")


def test_with_closes_the_bar_of_a_task_that_fails(terminal, monkeypatch):
    master, stream = terminal
    monkeypatch.setattr("sys.stderr", stream)
    with suppress(KeyError), ProgressBar() as progress:
        progress(1, 3)
        progress.note("epoch 1")
        raise KeyError
    text = shown(master, "\n")
    assert "epoch 1" in text
    assert text.endswith("\n")


def test_a_bar_goes_along_with_a_copy_of_an_estimator(terminal, monkeypatch):
    _, stream = terminal
    monkeypatch.setattr("sys.stderr", stream)
    with ProgressBar("face") as progress:
        progress(1, 3)
        pipeline = Pipeline("cnn-a", progress=progress)
        for copied in (clone(pipeline), pickle.loads(pickle.dumps(pipeline))):
            assert copied.progress == progress
            assert copied.progress is not progress


def test_embedding_reports_all_images_also_of_an_iterator(faces):
    seen = []
    embedder = Embedder(
        "cnn-a", weights="random", store="none", progress=lambda *counts: seen.append(counts)
    )
    embedder.transform(faces)
    embedder.embed(face for face in faces)
    assert seen == [(24, 24), (24, None), (24, 24)]


def test_nothing_is_shown_if_quiet_or_without_a_terminal(terminal, monkeypatch, capsys):
    master, stream = terminal
    with monkeypatch.context() as patch:
        patch.setattr("sys.stderr", stream)
        with ProgressBar(quiet=True) as progress:
            progress(1, 2)
    os.set_blocking(master, False)
    with pytest.raises(BlockingIOError):
        os.read(master, 10)
    with ProgressBar() as progress:
        progress(1, 2)
    assert capsys.readouterr().err == ""


def test_a_task_of_one_step_does_not_wait_for_the_bar_to_be_imported():
    code = (
        "import sys\n"
        "from ferembed._progress import ProgressBar\n"
        "with ProgressBar():\n"
        "    pass\n"
        "print('tqdm' in sys.modules)"
    )
    assert run_python(code).stdout == "False\n"
