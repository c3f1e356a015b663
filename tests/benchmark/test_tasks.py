"""Tasks: what becomes of workers."""

import subprocess
import sys
import time
from pathlib import Path

import pytest

WORKER = """
import os, sys, time
from joblib import Parallel, delayed
from ferembed.benchmark.tasks import _score

class Task:
    def score(self):
        print(os.getpid(), flush=True)
        time.sleep(120)

Parallel(2)(delayed(_score)(number, Task(), os.getpid()) for number in range(2))
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="needs /proc")
def test_workers_end_soon_after_a_run_that_is_killed():
    with subprocess.Popen(
        [sys.executable, "-c", WORKER], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as run:
        workers = [int(run.stdout.readline()) for _ in range(2)]
        run.kill()
    until = time.monotonic() + 20
    while (alive := [one for one in workers if is_running(one)]) and time.monotonic() < until:
        time.sleep(0.2)
    assert not alive


def is_running(process):
    try:
        return "\nState:\tZ" not in Path(f"/proc/{process}/status").read_text()
    except OSError:
        return False
