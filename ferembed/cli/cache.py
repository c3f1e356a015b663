"""`ferembed cache`"""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from ferembed.cli.options import add_store, non_negative
from ferembed.cli.output import emit, exit_code
from ferembed.errors import FerembedError

if TYPE_CHECKING:
    from ferembed.storage.embeddings import DiskStore

HELP = "look after the vectors on disk"
EXAMPLES = ("ferembed cache prune --days 30",)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("action", nargs="?", default="show", choices=tuple(_ACTIONS))
    parser.add_argument("--recipe", help="prune the recipes whose fingerprint starts like this")
    parser.add_argument(
        "--days", type=non_negative, help="prune what was not used for so many days"
    )
    add_store(parser)


def run(options: argparse.Namespace) -> int:
    from ferembed.storage.embeddings import DiskStore

    if options.action != "prune" and (options.recipe or options.days is not None):
        raise FerembedError(f"--recipe and --days go with prune, not with {options.action}.")
    facts, text = _ACTIONS[options.action](DiskStore.open(options.store), options)
    emit(facts, text, as_json=options.json)
    return exit_code(failed=facts.get("damaged"))


def _show(store: DiskStore, options: argparse.Namespace) -> tuple[dict[str, Any], str]:
    import json
    from dataclasses import asdict

    from ferembed.storage.embeddings import use_table

    recipes, size = store.recipes(), store.size()
    facts = {
        "path": str(store.path),
        "bytes": size,
        "recipes": [{**asdict(use), "facts": json.loads(use.facts)} for use in recipes],
    }
    return facts, f"{store.path}: {size / 1e6:.1f} MB\n{use_table(recipes)}"


def _verify(store: DiskStore, options: argparse.Namespace) -> tuple[dict[str, Any], str]:
    sound, damaged = store.verify()
    text = f"{sound} vectors are valid; {damaged} were damaged and have been removed."
    return {"sound": sound, "damaged": damaged}, text


def _prune(store: DiskStore, options: argparse.Namespace) -> tuple[dict[str, Any], str]:
    if options.recipe is None and options.days is None:
        raise FerembedError(
            "Name what to remove: --recipe PREFIX, or --days N for vectors unused for N days. "
            "To remove all: ferembed cache clear."
        )
    return _clear(store, options)


def _clear(store: DiskStore, options: argparse.Namespace) -> tuple[dict[str, Any], str]:
    """Remove all vectors, or those that --recipe and --days name."""
    before = store.size()
    removed = store.prune(options.recipe, unused_days=options.days)
    freed = max(0, before - store.size())
    facts = {"removed": removed, "freed_bytes": freed}
    return facts, f"{removed} vectors removed, {freed / 1e6:.1f} MB freed."


_ACTIONS = {"show": _show, "verify": _verify, "prune": _prune, "clear": _clear}
