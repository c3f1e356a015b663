"""Data sets on the command line: their options, and the faces in those of photos."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from ferembed._progress import ProgressBar
from ferembed.cli.options import add_expressions, given, renaming
from ferembed.cli.output import report_failures

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
        "--drop-unknown",
        dest="on_unknown",
        action="store_const",
        const="drop",
        default=argparse.SUPPRESS,
        help="leave out labels that are not known",
    )
    parser.add_argument(
        "--skip-bad",
        dest="on_bad",
        action="store_const",
        const="skip",
        default=argparse.SUPPRESS,
        help="count and skip bad entries",
    )
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
    names = "classes", "on_unknown", "on_bad", "table", "votes", "votes_file", "expressions"
    return {
        "labels": dict(options.label),
        "columns": dict(options.column),
        **given(options, *names),
    }


def add_crop(parser: argparse.ArgumentParser, dest: str = "detector") -> None:
    parser.add_argument(
        "--crop",
        dest=dest,
        nargs="?",
        const="mtcnn",
        default=argparse.SUPPRESS,
        metavar="DETECTOR",
        help="inputs are photos: detect and crop the most confident face of each (default "
        "detector: mtcnn)",
    )


def crop_photos(data: Dataset, recipe: FaceRecipe | str, *, quiet: bool) -> Dataset:
    """The faces of a data set of photos; photos without one are counted on standard error."""
    from ferembed import datasets

    with ProgressBar(quiet=quiet) as progress:
        cropped = datasets.crop(data, recipe, progress)
    report_failures(cropped.skipped())
    return cropped
