"""Registry: the one mechanism behind every plug point."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Generic, TypeVar

from ferembed.errors import UnknownName

T = TypeVar("T")


class Registry(Generic[T]):
    """Names to things, in the order they were added.

    >>> colours = Registry[int]("colour")
    >>> colours.add("red", 1)
    1
    >>> colours["rde"]
    Traceback (most recent call last):
    ferembed.errors.UnknownName: No colour is called 'rde'. Did you mean 'red'? Known: red.

    Another package adds to a registry through an entry point of the group
    `ferembed.<kind>`, whose object is the thing itself; it is loaded at first use.
    """

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self.group = f"ferembed.{kind.replace(' ', '_')}"
        self._things: dict[str, T] = {}

    def add(self, name: str, thing: T, *, replace: bool = False) -> T:
        if name in self._things and not replace:
            raise ValueError(f"There already is a {self.kind} called {name!r}.")
        self._things[name] = thing
        return thing

    def names(self) -> list[str]:
        from importlib.metadata import entry_points

        others = {entry.name for entry in entry_points(group=self.group)}
        return [*self._things, *sorted(others - self._things.keys())]

    def __repr__(self) -> str:
        return f"<{self.kind} registry: {', '.join(self.names())}>"

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and (name in self._things or name in self.names())

    def __iter__(self) -> Iterator[str]:
        return iter(self.names())

    def __getitem__(self, name: str) -> T:
        if name not in self._things:
            from importlib.metadata import entry_points

            for entry in entry_points(group=self.group, name=name):
                self._things[name] = entry.load()
                break
            else:
                raise UnknownName(unknown_name_message(self.kind, name, self.names()))
        return self._things[name]


def unknown_name_message(kind: str, name: object, known: list[str]) -> str:
    """The message for a name that is not known, with the nearest that is."""
    import difflib

    lower = {one.rpartition("__")[2].lower(): one for one in known}  # C may be head__C
    lower |= {one.lower(): one for one in known}
    near = difflib.get_close_matches(str(name).lower(), lower, n=1, cutoff=0.5)
    hint = f" Did you mean {lower[near[0]]!r}?" if near else ""
    return f"No {kind} is called {name!r}.{hint} Known: {', '.join(known)}."
