"""The rows of the speed table: what each measures, by name."""

from __future__ import annotations

import operator
import statistics
from collections.abc import Callable, Sequence
from dataclasses import KW_ONLY, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from benchmarks.machine import rounds

SIGNS = {">=": operator.ge, "<=": operator.le}


@dataclass(frozen=True)
class Row:
    """A measurement. `seconds_theirs` is empty where there is nothing to compare with."""

    what: str
    against: str
    _: KW_ONLY
    seconds_ours: Sequence[float]
    seconds_theirs: Sequence[float] = ()
    goals: Sequence[str] = ()  # "ratio >= 2.5", "seconds <= 0.002" or of any fact
    facts: dict[str, Any] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        values = {**self.facts, "seconds": statistics.median(self.seconds_ours)}
        if self.seconds_theirs:
            pairs = zip(self.seconds_theirs, self.seconds_ours, strict=True)
            values["ratio"] = statistics.median(theirs / ours for theirs, ours in pairs)
        reached = {}
        for goal in self.goals:
            name, sign, number = goal.split()
            reached[goal] = bool(SIGNS[sign](values[name], float(number)))
        return {
            "what": self.what,
            "against": self.against,
            **values,
            "goals": reached,
            "seconds_ours": list(self.seconds_ours),
            "seconds_theirs": list(self.seconds_theirs),
        }


ROWS: dict[str, Callable[[Bench], Row]] = {}


def row(name: str) -> Callable[[Callable[[Bench], Row]], Callable[[Bench], Row]]:
    """Register a function that measures a row under a name."""

    def register(measure: Callable[[Bench], Row]) -> Callable[[Bench], Row]:
        ROWS[name] = measure
        return measure

    return register


@dataclass(frozen=True)
class Bench:
    """The parts that all rows share: the data, a scratch folder and the timer."""

    data: Path  # fer2013.zip
    scratch: Path  # empty at the start of a row, deleted after it
    rounds: Callable[..., list[list[float]]] = rounds

    @cached_property
    def faces(self) -> Any:
        """FER2013 as a `Dataset`, both splits."""
        from ferembed import datasets

        return datasets.open(str(self.data))
