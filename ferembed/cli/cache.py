"""`ferembed cache`"""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from ferembed.cli.options import add_store, non_negative
from ferembed.cli.output import ExitCode, emit
from ferembed.errors import FerembedError

if TYPE_CHECKING:
    from ferembed.storage.embeddings import DiskStore

HELP = "look after the vectors on disk"
EXAMPLES = ("ferembed cache prune --days 30",)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "action", nargs="?", default="show", choices=("show", "verify", "prune", "clear")
    )
    parser.add_argument("--recipe", help="prune the recipes whose fingerprint starts like this")
    parser.add_argument(
        "--days", type=non_negative, help="prune what was not used for so many days"
    )
    add_store(parser)


def run(options: argparse.Namespace) -> int:
    from ferembed.storage.embeddings import DiskStore, EmbeddingStore

    action, recipe, days = options.action, options.recipe, options.days
    chosen = recipe or days is not None
    if action != "prune" and chosen:
        raise FerembedError(f"--recipe and --days go with prune, not with {action}.")
    if action == "prune" and not chosen:
        raise FerembedError(
            "Say what to prune: --recipe PREFIX, or --days N for what N days did not use. "
            "To remove everything: ferembed cache clear."
        )
    store = EmbeddingStore.open(options.store)
    if not isinstance(store, DiskStore):
        raise FerembedError(f"--store is {options.store}; give 'disk' or the path of a file.")
    code = ExitCode.DONE
    if action == "show":
        facts, text = _show(store)
    elif action == "verify":
        sound, damaged = store.verify()
        facts = {"sound": sound, "damaged": damaged}
        text = f"{sound} vectors are sound; {damaged} were damaged and have been removed."
        code = ExitCode.SOME_FAILED if damaged else ExitCode.DONE
    else:
        facts, text = _prune(store, recipe, days)
    emit(facts, text, as_json=options.json)
    return code


def _show(store: DiskStore) -> tuple[dict[str, Any], str]:
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


def _prune(store: DiskStore, recipe: str | None, days: float | None) -> tuple[dict[str, Any], str]:
    import time

    before = store.size()
    removed = store.prune(recipe, None if days is None else time.time() - days * 86400)
    freed = max(0, before - store.size())
    facts = {"removed": removed, "freed_bytes": freed}
    return facts, f"{removed} vectors removed, {freed / 1e6:.1f} MB freed."
