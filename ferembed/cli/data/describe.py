"""`ferembed data describe`"""

from __future__ import annotations

import argparse
import json

from ferembed.cli.dataset import add_dataset, dataset_settings
from ferembed.cli.output import ExitCode, emit

HELP = "count classes, splits and sizes"
EXAMPLES = ("ferembed data describe fer2013.zip --picture counts.png",)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_dataset(parser)
    parser.add_argument("--picture", metavar="PNG", help="draw the counts as bars")


def run(options: argparse.Namespace) -> int:
    from ferembed import datasets
    from ferembed._progress import ProgressBar
    from ferembed.storage.files import check_outputs

    check_outputs([options.data], options.picture)
    with ProgressBar(quiet=options.quiet) as progress:
        data = datasets.open(options.data, progress=progress, **dataset_settings(options))
        description = datasets.describe(data, progress)
    if options.picture:
        description.picture(options.picture)
    emit(json.loads(description.to_json()), description.table(), as_json=options.json)
    return ExitCode.DONE
