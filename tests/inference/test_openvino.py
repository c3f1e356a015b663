"""The threads of OpenVINO."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from tests.conftest import run_python

THREADS = """
import os
import sys
import threading
from contextlib import suppress
import numpy as np
from ferembed import Embedder
from ferembed._threads import limit_threads
if sys.argv[1] != "0":
    limit_threads(int(sys.argv[1]))
embedder = Embedder("mini-vgg", store="none", engine="openvino")
faces = np.random.default_rng(0).integers(0, 255, (256, 48, 48), np.uint8)
embedder.embed(faces[:64])
seen, ended = set(), threading.Event()
def look():
    while not ended.wait(0.002):
        for one in os.listdir("/proc/self/task"):
            with suppress(ProcessLookupError):  # it has ended
                seen.add(tuple(sorted(os.sched_getaffinity(int(one)))))
looking = threading.Thread(target=look)
looking.start()
embedder.embed(faces)
ended.set()
looking.join()
print(seen)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="platform: affinity is read from /proc")
@pytest.mark.skipif((os.cpu_count() or 1) == 1, reason="platform: there is one core")
@pytest.mark.parametrize("limit", [0, 1])
def test_no_thread_is_held_to_one_core(limit: int) -> None:
    """Or two processes with a thread each would share a core, and leave the other idle."""
    command = [sys.executable, "-c", THREADS, str(limit)]
    ran = subprocess.run(command, capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == str({tuple(sorted(os.sched_getaffinity(0)))})


def test_the_converter_of_openvino_is_imported_when_it_is_used():
    code = (
        "import sys\n"
        "from ferembed.inference.openvino import import_openvino\n"
        "openvino = import_openvino()\n"
        "print('openvino.tools.ovc' in sys.modules, hasattr(openvino, 'no_such_name'))\n"
        "print(openvino.convert_model.__name__, 'openvino_telemetry' in sys.modules)\n"
    )
    assert run_python(code).stdout == "False False\nconvert_model False\n"
