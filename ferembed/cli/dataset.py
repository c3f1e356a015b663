"""Data sets on the command line: their options, and a line for what is left out of one."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from ferembed.cli.options import add_expressions, renaming
from ferembed.cli.output import warn

if TYPE_CHECKING:
    from ferembed.datasets import Dataset
    from ferembed.faces import FaceRecipe


def add_dataset(parser: argparse.ArgumentParser, **argument: Any) -> None:
    parser.add_argument("data", help="class folders, a zip of them, or a CSV", **argument)
    parser.add_argument(
        "--label",
        type=renaming,
        action="append",
        default=[],
        metavar="NAME=EXPRESSION",
        help="what another label means, such as boredom=neutral; NAME= leaves it out",
    )
    parser.add_argument("--classes", nargs="+", metavar="CLASS", help="keep only these")
    parser.add_argument(
        "--drop-unknown", action="store_true", help="leave out labels that are not known"
    )
    parser.add_argument("--skip-bad", action="store_true", help="count and skip bad entries")
    parser.add_argument("--table", metavar="CSV", help="which of several CSVs holds the labels")
    parser.add_argument(
        "--column",
        type=renaming,
        action="append",
        default=[],
        metavar="MEANING=NAME",
        help="what a CSV calls its columns: image=file, label=class",
    )
    parser.add_argument(
        "--votes",
        metavar="MODE",
        help="take the labels from FER+ votes: majority, probability or multi-target, other rules "
        "after commas (single=keep,unknown=ignore,not_face=ignore)",
    )
    parser.add_argument(
        "--votes-file", metavar="CSV", help="where they are, if not in ferplus.csv in or beside"
    )
    add_expressions(parser, "the expressions of the data: 7, or 8 with contempt")


def dataset_settings(options: argparse.Namespace) -> dict[str, Any]:
    """Arguments of `datasets.open`, without the path."""
    return {
        "labels": dict(options.label),
        "classes": options.classes,
        "on_unknown": "drop" if options.drop_unknown else "error",
        "on_bad": "skip" if options.skip_bad else "error",
        "table": options.table,
        "columns": dict(options.column),
        "votes": options.votes,
        "votes_file": options.votes_file,
        "expressions": getattr(options, "expressions", 7),
    }


def add_crop(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--crop",
        nargs="?",
        const="mtcnn",
        metavar="DETECTOR",
        help="inputs are photos: detect and crop the most confident face of each (default "
        "detector: mtcnn)",
    )


def crop_photos(data: Dataset, recipe: FaceRecipe | str, *, quiet: bool) -> Dataset:
    """The faces of a data set of photos; photos without one are counted on standard error."""
    from ferembed import datasets
    from ferembed._progress import ProgressBar

    with ProgressBar(quiet=quiet) as progress:
        cropped = datasets.crop(data, recipe, progress)
    for reason, found in cropped.provenance[-1]["skipped"].items():
        warn(f"left out {found['count']:,}: {reason}, first {found['first']}")
    return cropped


def choose_split(data: Dataset, wanted: str | None, usual: str) -> Dataset:
    """The wanted split, else the usual one, else all of a data set without splits."""
    unsplit = data.mask("unsplit")
    if not wanted and unsplit.any() and not unsplit.all():
        warn(
            f"left out: {unsplit.sum():,} pictures that are in no split; --split unsplit takes "
            "those."
        )
    return data.split(wanted or ("unsplit" if unsplit.all() else usual))
