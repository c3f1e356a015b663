"""`ferembed models`"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from ferembed.cli.output import ExitCode, emit
from ferembed.errors import FerembedError

HELP = "list models, backbones, heads, detectors and grids, and fetch weights"
EXAMPLES = ("ferembed models fetch yunet", "ferembed models fetch vggface2-resnet50")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("action", nargs="?", default="list", choices=tuple(_ACTIONS))
    parser.add_argument("name", nargs="?", help="the backbone, or the detector yunet, to fetch")
    parser.add_argument(
        "--from",
        dest="source",
        type=Path,
        metavar="FILE",
        help="copy the weights, instead of downloading",
    )


def run(options: argparse.Namespace) -> int:
    facts, text = _ACTIONS[options.action](options)
    emit(facts, text, as_json=options.json)
    return ExitCode.DONE


def _list(options: argparse.Namespace) -> tuple[dict[str, Any], str]:
    from ferembed.backbones.catalogue import catalogue, catalogue_text
    from ferembed.benchmark.grid import Grid
    from ferembed.faces import DETECTORS
    from ferembed.heads import HEADS
    from ferembed.persistence.bundle import shipped

    if options.name or options.source:
        raise FerembedError("A name and --from go with fetch: ferembed models fetch NAME.")
    heads = {name: HEADS[name].summary for name in HEADS}
    facts = {
        "models": shipped(),
        "backbones": catalogue(),
        "heads": heads,
        "detectors": list(DETECTORS),
        "grids": Grid.names(),
    }
    parts = [
        f"Models that ship: {', '.join(shipped())}",
        f"Backbones\n{catalogue_text()}",
        "\n  ".join(("Heads", *(f"{name:10} {summary}" for name, summary in heads.items()))),
        f"Detectors: {', '.join(DETECTORS)}",
        f"Grids: {', '.join(Grid.names())}",
    ]
    return facts, "\n\n".join(parts)


def _fetch(options: argparse.Namespace) -> tuple[dict[str, Any], str]:
    from ferembed._progress import ProgressBar
    from ferembed.fetching import fetch

    if not options.name:
        raise FerembedError(
            "Name what to fetch: ferembed models fetch NAME. For the names: ferembed models"
        )
    with ProgressBar("B", quiet=options.quiet) as progress:
        weights = fetch(options.name, options.source, progress)
    path = weights.path()
    facts = {
        "file": str(path),
        "bytes": path.stat().st_size,
        "sha256": weights.digest,
        "known": bool(weights.sha256),
        "licence": weights.licence,
        "trained_on": weights.trained_on,
    }
    text = "{file}: {bytes:,} bytes, sha256 {sha256}\nLicence: {licence}. Trained on: {trained_on}."
    if not weights.sha256:
        text += (
            "\nNo sha256 of it is published. Its arrays have the expected names and shapes; from "
            "now on the file must have the sha256 above."
        )
    return facts, text.format(**facts)


_ACTIONS = {"list": _list, "fetch": _fetch}
