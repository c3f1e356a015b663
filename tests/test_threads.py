"""The number of threads follows the cores that the process may use, and the limit."""

import subprocess
import sys

import pytest

COUNTS = """
import os
from ferembed._threads import core_count, limit_threads, thread_count
print(core_count() == len(os.sched_getaffinity(0)), thread_count() == core_count())
os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
print(core_count(), thread_count())
limit_threads(3)
print(core_count(), thread_count())
"""


@pytest.mark.skipif(sys.platform != "linux", reason="platform: cores are assigned on Linux")
def test_threads_follow_the_assigned_cores_and_the_limit():
    ran = subprocess.run([sys.executable, "-c", COUNTS], capture_output=True, text=True, check=True)
    assert ran.stdout.split() == ["True", "True", "1", "1", "1", "3"]
