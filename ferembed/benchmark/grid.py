"""Grid: the pipelines to try, from a TOML file, checked before anything runs.

    title = "Neighbours"

    [[cells]]
    backbone = ["mini-vgg", "fer-mobilenet"]
    head = "knn"
    head__n_neighbors = [10, 30, 100]

Each table of cells is tried in every combination of its lists; a value alone is a list of one.
"""

from __future__ import annotations

import math
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from itertools import product
from pathlib import Path
from typing import Any

from ferembed.benchmark.cell import PARAMETER, Cell, hashable
from ferembed.errors import DataError, FerembedError, UnknownName
from ferembed.registry import unknown_name_message

_GRIDS = Path(__file__).parent / "grids"
_LONGEST = 1 << 18  # characters
_MOST_DOTS = 500  # in a line
_MOST_CELLS = 10_000  # of a table


@dataclass(frozen=True)
class Grid:
    """Cells to try, with a title and the results of others: (who, accuracy, on which data)."""

    title: str
    cells: tuple[Cell, ...]
    about: str = ""
    reported: tuple[tuple[str, float, str], ...] = ()

    @staticmethod
    def names() -> list[str]:
        """The names of the grids that ship."""
        return sorted(file.stem for file in _GRIDS.glob("*.toml"))

    @classmethod
    def named(cls, name: str | os.PathLike[str], **changes: Any) -> Grid:
        """A grid that ships, by its name, or the grid of a TOML file.

        `changes` override settings of each table of cells: backbone="cnn-a", head__C=[1, 10].
        """
        ready = cls.names()
        if str(name) in ready:
            text = (_GRIDS / f"{name}.toml").read_text("utf-8")
        else:
            path = Path(name)
            if path.suffix != ".toml":
                raise UnknownName(
                    unknown_name_message("grid", str(name), ready) + " Or give a TOML file."
                )
            try:
                text = path.read_text("utf-8")
            except (OSError, UnicodeDecodeError) as error:
                raise DataError(f"The grid {path} cannot be read: {error}.") from None
        return cls.parse(text, str(name), changes)

    @classmethod
    def parse(cls, text: str, name: str, changes: Mapping[str, Any] | None = None) -> Grid:
        """The grid of a TOML text; every cell is checked."""
        given = _toml(text, name)
        known = ["title", "about", "cells", "reported"]
        for key in given:
            if key not in known:
                raise UnknownName(unknown_name_message(f"entry of the grid {name}", key, known))
        tables = given.get("cells", [])
        if (
            not isinstance(tables, list)
            or not tables
            or not all(isinstance(t, dict) for t in tables)
        ):
            raise DataError(f"The grid {name} has no [[cells]]: there is nothing to try.")
        cells = [cell for table in tables for cell in _product({**table, **(changes or {})})]
        for cell in cells:
            try:
                cell.check()
            except FerembedError as error:
                raise type(error)(f"The grid {name} cannot run: {error}") from None
        try:
            reported = tuple(
                (str(one["by"]), float(one["accuracy"]), str(one.get("on", "")))
                for one in given.get("reported", [])
            )
        except (KeyError, TypeError, ValueError) as error:
            raise DataError(
                f"[[reported]] of the grid {name} needs by and accuracy: {error!r}."
            ) from None
        title, about = str(given.get("title", name)), str(given.get("about", ""))
        return cls(title, tuple(dict.fromkeys(cells)), about, reported)


def _toml(text: str, name: str) -> dict[str, Any]:
    """The entries of a TOML text, which may be no larger than any grid is."""
    if sys.version_info >= (3, 11):
        import tomllib
    else:
        import tomli as tomllib
    if len(text) > _LONGEST:
        raise DataError(f"The grid {name} has {len(text):,} characters; {_LONGEST:,} are allowed.")
    dots = max(line.count(".") for line in text.split("\n"))
    if dots > _MOST_DOTS:  # keys of many parts take memory with their square
        raise DataError(f"A line of the grid {name} has {dots:,} dots; {_MOST_DOTS} are allowed.")
    try:
        return dict(tomllib.loads(text))
    except (ValueError, RecursionError) as error:  # of numbers and lists that are too long or deep
        raise DataError(f"The grid {name} is not valid TOML: {error}.") from None


def _product(table: Mapping[str, Any]) -> list[Cell]:
    """The cells of one table: every combination of its lists."""
    own = [one.name for one in fields(Cell)[:-1]]
    for key in table:
        if key not in own and not key.startswith(PARAMETER):
            raise UnknownName(
                unknown_name_message("setting of a cell", key, [*own, "head__C and so on"])
            )
    choices = [value if isinstance(value, list) else [value] for value in table.values()]
    if empty := [key for key, of in zip(table, choices, strict=True) if not of]:
        raise DataError(
            f"{empty[0]} of a table of cells is an empty list: there is nothing to try."
        )
    if (count := math.prod(map(len, choices))) > _MOST_CELLS:
        raise DataError(
            f"A table of cells has {count:,} combinations; {_MOST_CELLS:,} are allowed. "
            "Shorten its lists."
        )
    cells = []
    for values in product(*choices):
        settings = dict(zip(table, values, strict=True))
        parameters = {
            key.removeprefix(PARAMETER): hashable(settings.pop(key))
            for key in list(settings)
            if key.startswith(PARAMETER)
        }
        for key in ("layer", "weights"):
            settings[key] = settings.get(key) or None
        cells.append(Cell(**settings, parameters=tuple(sorted(parameters.items()))))
    return cells


def varying_settings(cells: Sequence[Cell]) -> list[str]:
    """The settings in which cells differ, in the order of a cell."""
    every: dict[str, set[str]] = {}
    for cell in cells:
        for key, value in cell.facts().items():
            every.setdefault(key, set()).add(repr(value))
    count = len(cells)
    present = {key: sum(key in cell.facts() for cell in cells) for key in every}
    return [key for key, found in every.items() if len(found) > 1 or present[key] < count]
