"""The bar that shows how far a long task has come."""

import fcntl
import os
import pty
import select
import struct
import termios

import pytest

from ferembed._progress import progress_bar, report_progress
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


def test_a_bar_counts_each_of_several_passes(terminal, monkeypatch):
    master, stream = terminal
    monkeypatch.setattr("sys.stderr", stream)
    with progress_bar("photo") as progress:
        for total in (3, 5):
            for done in range(1, total + 1):
                progress(done, total)
    shown = ""
    while "5/5" not in shown and select.select([master], [], [], 10)[0]:
        shown += os.read(master, 100_000).decode()
    assert "5/5" in shown
    assert "photo" in shown


def test_nothing_is_shown_if_quiet_or_without_a_terminal(terminal, monkeypatch, capsys):
    master, stream = terminal
    with monkeypatch.context() as patch:
        patch.setattr("sys.stderr", stream)
        with progress_bar(quiet=True) as progress:
            progress(1, 2)
    os.set_blocking(master, False)
    with pytest.raises(BlockingIOError):
        os.read(master, 10)
    with progress_bar() as progress:
        progress(1, 2)
    assert capsys.readouterr().err == ""


def test_a_task_of_one_step_does_not_wait_for_the_bar_to_be_imported():
    code = (
        "import sys\n"
        "from ferembed._progress import progress_bar\n"
        "with progress_bar():\n"
        "    pass\n"
        "print('tqdm' in sys.modules)"
    )
    assert run_python(code).stdout == "False\n"
