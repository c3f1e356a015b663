"""Records: the JSON files of a run, one for each cell."""

from __future__ import annotations

import json
import os
import platform
from importlib.metadata import version
from pathlib import Path
from typing import Any, TypeAlias

from ferembed.storage.files import atomic_write

FORMAT = 3
Record: TypeAlias = dict[str, Any]


def decisive(facts: Record) -> Record:
    """The facts of a cell that its scores depend on."""
    return {key: facts[key] for key in ("format", "cell", "vectors", "folds", "data")}


def read_record(file: Path) -> Record:
    """The record in a file; {} if the file is missing or incomplete."""
    try:
        found = json.loads(file.read_text("utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def write_record(file: Path, facts: Any) -> None:
    with atomic_write(file) as unfinished:
        text = json.dumps(facts, indent=1, ensure_ascii=False) + "\n"
        # File names may contain bytes that are not UTF-8.
        unfinished.write_text(text, "utf-8", errors="backslashreplace")


def machine_description() -> str:
    """The processor, Python and the packages that scores and times depend on."""
    packages = ("ferembed", "scikit-learn", "numpy")
    made_with = ", ".join(f"{name} {version(name)}" for name in packages)
    return (
        f"{os.cpu_count()} cores of {platform.machine()}, Python {platform.python_version()}, "
        f"{made_with}"
    )
