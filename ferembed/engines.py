"""What runs a network: Keras, the reference, or OpenVINO, fast on a CPU.

The two give the same numbers within 1e-4. The choice is made here and nowhere else.
"""

from __future__ import annotations

import importlib.util
import os
import threading
from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from ferembed.errors import MissingExtra, UnknownName
from ferembed.registry import unknown

ENGINES = ("auto", "keras", "openvino")
Floats: TypeAlias = NDArray[np.float32]


def choose_engine(engine: str, converted: bool = True) -> str:
    """ "keras" or "openvino"; "auto" takes the fast one where it is installed.

    It reads TensorFlow's graphs: with Keras on another backend a network must be `converted`.
    """
    if engine not in ENGINES:
        raise UnknownName(unknown("engine", engine, list(ENGINES)))
    installed = importlib.util.find_spec("openvino") is not None
    if engine == "openvino" and not installed:
        raise MissingExtra(
            "The engine 'openvino' is not installed. Run: pip install 'ferembed[fast]'"
        )
    if engine == "auto":
        readable = converted or os.environ.get("KERAS_BACKEND", "tensorflow") == "tensorflow"
        return "openvino" if installed and readable else "keras"
    return engine


def compiled(network: Any, cores: int = 0) -> Callable[[Floats], list[Floats]]:
    """What an openvino.Model of one input answers, output by output; threads may call at once.

    It runs on all cores, or on so many: a small network waits for others longer than it works.
    """
    import openvino

    settings = {"INFERENCE_PRECISION_HINT": "f32", "PERFORMANCE_HINT": "LATENCY"}
    if cores:
        settings["INFERENCE_NUM_THREADS"] = str(cores)
    runnable = openvino.Core().compile_model(network, "CPU", settings)
    local = threading.local()

    def forward(batch: Floats) -> list[Floats]:
        # A request serves one caller at a time.
        if not hasattr(local, "request"):
            local.request = runnable.create_infer_request()
        answers = local.request.infer([batch], share_inputs=True)
        return [np.array(answer) for answer in answers.values()]

    return forward
