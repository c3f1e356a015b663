"""`ferembed data build`"""

from __future__ import annotations

import argparse

from ferembed.cli.dataset import add_crop, add_dataset, dataset_settings
from ferembed.cli.options import given, positive_int, proportions, whole_number
from ferembed.cli.output import ExitCode, emit

HELP = "merge, clean, split and balance data sets into a new one"
EXAMPLES = ("ferembed data build a.zip b/ --clean --split 60/20/20 --output mine",)

_SETTINGS = (
    "crop",
    "clean",
    "proportions",
    "resplit",
    "per_class",
    "mirror",
    "size",
    "seed",
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_dataset(parser, nargs="+")
    parser.add_argument("--output", "-o", required=True, help="a folder, or a file ending in .csv")
    add_crop(parser, "crop")
    parser.add_argument("--clean", action="store_true", help="drop the faults that the audit finds")
    parser.add_argument(
        "--split",
        dest="proportions",
        type=proportions,
        help="train/validation/test, such as 60/20/20 or 90/10",
    )
    parser.add_argument(
        "--resplit", action="store_true", help="ignore existing splits and split again"
    )
    parser.add_argument(
        "--balance",
        dest="per_class",
        type=positive_int,
        metavar="N",
        help="training pictures of each class",
    )
    parser.add_argument("--mirror", action="store_true", help="add mirror images in training")
    parser.add_argument(
        "--size",
        type=positive_int,
        default=argparse.SUPPRESS,
        help="the side of pictures in a .csv (48)",
    )
    parser.add_argument(
        "--seed",
        type=whole_number,
        default=argparse.SUPPRESS,
        help="the same seed, the same data set",
    )


def run(options: argparse.Namespace) -> int:
    from ferembed import datasets
    from ferembed._progress import ProgressBar
    from ferembed.datasets.cleaning import build
    from ferembed.storage.files import check_output_outside

    check_output_outside(options.data, options.output)
    settings = dataset_settings(options)
    with ProgressBar(quiet=options.quiet) as progress:
        data = build(
            [datasets.open(path, progress=progress, **settings) for path in options.data],
            options.output,
            progress=progress,
            **given(options, *_SETTINGS),
        )
    facts = {"output": options.output, "counts": data.counts(), "steps": list(data.provenance)}
    emit(facts, f"{options.output}: {data}", as_json=options.json)
    return ExitCode.DONE
