"""Choice of the engine that runs a network: Keras, the reference, or OpenVINO, faster on a CPU.

Keras and OpenVINO agree within 1e-4. "openvino-bf16" is about twice as fast on a CPU with bfloat16;
its vectors have a cosine of at least 0.9999 to the exact ones. "openvino-int8" is even faster, on
CPUs without bfloat16, too, once the network has been calibrated on sample faces.
"""

from __future__ import annotations

import importlib.util
import os
from functools import cache

from ferembed.errors import MissingExtra, UnknownName
from ferembed.inference import ENGINES
from ferembed.inference.openvino import import_openvino
from ferembed.registry import unknown_name_message


def choose_engine(engine: str, converted: bool = True) -> str:
    """The engine to use: "auto" is OpenVINO in full precision where it is installed, else Keras.

    OpenVINO reads TensorFlow's graphs. With another Keras backend the network must be `converted`.
    """
    if engine not in ENGINES:
        raise UnknownName(unknown_name_message("engine", engine, list(ENGINES)))
    installed = importlib.util.find_spec("openvino") is not None
    if engine.startswith("openvino") and not installed:
        raise MissingExtra(
            f"The engine {engine!r} is not installed. Run: pip install 'ferembed[fast]'"
        )
    if engine == "openvino-bf16" and not _has_bfloat16():
        raise MissingExtra(
            "This CPU has no bfloat16, so the engine 'openvino-bf16' would be no faster. "
            "Use 'openvino'."
        )
    if engine == "auto":
        readable = converted or os.environ.get("KERAS_BACKEND", "tensorflow") == "tensorflow"
        return "openvino" if installed and readable else "keras"
    return engine


@cache
def _has_bfloat16() -> bool:
    capabilities = import_openvino().Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    return "BF16" in capabilities
