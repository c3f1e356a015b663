"""`ferembed compare`"""

from __future__ import annotations

import argparse

from ferembed.cli.options import given, whole_number
from ferembed.cli.output import ExitCode, emit

HELP = "test whether one result is better than another"
EXAMPLES = ("ferembed compare report-a report-b",)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    for letter in "ab":
        parser.add_argument(
            letter,
            metavar=letter.upper(),
            help="the folder or report.json of evaluate --output, or a cell of a grid",
        )
    parser.add_argument(
        "--deduplicated",
        action="store_true",
        help="exclude faces with duplicates in the training data (from evaluate --training)",
    )
    parser.add_argument(
        "--seed",
        type=whole_number,
        default=argparse.SUPPRESS,
        help="the same seed, the same intervals",
    )


def run(options: argparse.Namespace) -> int:
    from ferembed.evaluation import Predictions, compare

    comparison = compare(
        Predictions.read(options.a),
        Predictions.read(options.b),
        **given(options, "deduplicated", "seed"),
    )
    emit(comparison.to_dict(), comparison.table(), as_json=options.json)
    return ExitCode.DONE
