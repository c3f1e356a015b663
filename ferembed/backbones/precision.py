"""Records of the networks that ship in reduced precision, written by benchmarks.precision."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache

from ferembed.storage.folders import models_folder

RECORDS = "precision.json"  # beside the networks


@dataclass(frozen=True)
class Precision:
    """A network in reduced precision, compared with full precision on PublicTest."""

    onnx: str  # the sha256 of the network that was measured
    agreement: dict[str, float]  # the share of faces with the same label, for each engine
    points_lost: dict[str, float]  # accuracy in full precision minus the engine's, in points
    int8: dict[str, str]  # the files of the INT8 network and their sha256; {} if none ships


def recorded_precision(name: str, onnx: str) -> Precision | None:
    """The record of a network; None if none was measured with these weights."""
    found = _records().get(name)
    return found if found and found.onnx == onnx else None


@cache
def _records() -> dict[str, Precision]:
    path = models_folder() / "backbones" / RECORDS
    if not path.exists():
        return {}
    return {name: Precision(**facts) for name, facts in json.loads(path.read_text()).items()}
