"""Choice of the engine that runs a network: Keras, the reference, or OpenVINO, faster on a CPU.

Keras and OpenVINO agree within 1e-4. "openvino-bf16" is about twice as fast on a CPU with bfloat16;
its vectors have a cosine of at least 0.9999 to the exact ones. "openvino-int8" is even faster, on
CPUs without bfloat16, too, once the network has been calibrated on sample faces.
"""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Mapping
from functools import cache

from ferembed.errors import MissingExtra, UnknownName
from ferembed.inference import ENGINES
from ferembed.inference.openvino import import_openvino
from ferembed.registry import unknown_name_message

KEPT_LABELS = 0.999  # of PublicTest: "auto" takes a reduced precision that agrees on as many


def choose_engine(
    engine: str, converted: bool = True, agreement: Mapping[str, float] | None = None
) -> str:
    """The engine to use: "keras", "openvino", "openvino-bf16" or "openvino-int8".

    "exact" is OpenVINO in full precision where it is installed, else Keras. "auto" takes a reduced
    precision instead where this CPU gains from it and the `agreement`, the recorded share of faces
    with the same label, is at least `KEPT_LABELS`.

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
    if engine not in ("auto", "exact"):
        return engine
    if not installed or not (
        converted or os.environ.get("KERAS_BACKEND", "tensorflow") == "tensorflow"
    ):
        return "keras"
    kept = {name for name, share in (agreement or {}).items() if share >= KEPT_LABELS}
    if engine == "auto" and "openvino-int8" in kept:
        return "openvino-int8"
    if engine == "auto" and "openvino-bf16" in kept and _has_bfloat16():
        return "openvino-bf16"
    return "openvino"


@cache
def _has_bfloat16() -> bool:
    capabilities = import_openvino().Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    return "BF16" in capabilities
