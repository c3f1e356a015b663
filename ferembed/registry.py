"""Registry: objects by name, with plug-ins through entry points."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property
from typing import TYPE_CHECKING, Generic, TypeVar

from ferembed.errors import UnknownName

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

T = TypeVar("T")


class Registry(Generic[T]):
    """Objects by name, in the order they were added.

    >>> colours = Registry[int]("colour")
    >>> colours.add("red", 1)
    1
    >>> colours["rde"]
    Traceback (most recent call last):
    ferembed.errors.UnknownName: No colour is called 'rde'. Did you mean 'red'? Known: red.

    Another package adds to a registry through an entry point of the group `ferembed.<kind>`. The
    entry point names the object, which is loaded at first use. The entry points are read once.
    """

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self.group = f"ferembed.{kind.replace(' ', '_')}"
        self._things: dict[str, T] = {}

    @cached_property
    def _plugins(self) -> dict[str, EntryPoint]:
        from importlib.metadata import entry_points  # slow to import

        return {entry.name: entry for entry in entry_points(group=self.group)}

    def add(self, name: str, thing: T, *, replace: bool = False) -> T:
        if name in self._things and not replace:
            raise ValueError(f"There already is a {self.kind} called {name!r}.")
        self._things[name] = thing
        return thing

    def names(self) -> list[str]:
        return [*self._things, *sorted(self._plugins.keys() - self._things.keys())]

    def __repr__(self) -> str:
        return f"<{self.kind} registry: {', '.join(self.names())}>"

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and (name in self._things or name in self._plugins)

    def __iter__(self) -> Iterator[str]:
        return iter(self.names())

    def __getitem__(self, name: str) -> T:
        if name not in self._things:
            if name not in self._plugins:
                raise UnknownName(unknown_name_message(self.kind, name, self.names()))
            self._things[name] = self._plugins[name].load()
        return self._things[name]


def unknown_name_message(kind: str, name: object, known: list[str]) -> str:
    """The message for an unknown name, with the closest known one."""
    import difflib

    name = name[:100] if isinstance(name, str) else name
    lower = {one.rpartition("__")[2].lower(): one for one in known}  # C may be head__C
    lower |= {one.lower(): one for one in known}
    near = difflib.get_close_matches(str(name).lower(), lower, n=1, cutoff=0.5)
    hint = f" Did you mean {lower[near[0]]!r}?" if near else ""
    return f"No {kind} is called {name!r}.{hint} Known: {', '.join(known)}."
