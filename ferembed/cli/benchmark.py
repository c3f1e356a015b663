"""`ferembed benchmark`"""

from __future__ import annotations

import argparse

from ferembed._progress import ProgressBar
from ferembed.cli.dataset import add_dataset, dataset_settings
from ferembed.cli.options import add_engine, add_language, add_settings, given, whole_number
from ferembed.cli.output import emit, exit_code, report_failures
from ferembed.cli.scheduled import add_scheduler, scheduled

HELP = "try a grid of pipelines and choose the best"
EXAMPLES = (
    "ferembed benchmark quick faces/ --output out",
    "ferembed benchmark knn faces/ --set backbone=mini-vgg --folds 5 --output out",
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "grid",
        help="a TOML file, or a grid that ships, such as quick; see: ferembed models",
    )
    add_dataset(parser)
    parser.add_argument(
        "--output", required=True, help="a folder; called again, only what is new is fitted"
    )
    add_settings(
        parser, "override a setting in every cell, such as backbone=cnn-a or head__C=[1,10]"
    )
    parser.add_argument(
        "--folds",
        type=whole_number,
        default=argparse.SUPPRESS,
        help="choose by so many folds of the training split, not by the validation split",
    )
    parser.add_argument(
        "--refit", action="store_true", help="fit the chosen one on training and validation"
    )
    parser.add_argument(
        "--test", action="store_true", help="score the chosen one on the test split"
    )
    parser.add_argument(
        "--jobs",
        type=whole_number,
        default=argparse.SUPPRESS,
        help="cells at once (as many as fit)",
    )
    add_language(parser)
    add_engine(parser)
    add_scheduler(parser, partitions=False)


def run(options: argparse.Namespace) -> int:
    from dataclasses import asdict

    from ferembed import datasets
    from ferembed.benchmark import benchmark
    from ferembed.benchmark.grid import Grid

    grid = Grid.named(options.grid, **dict(options.set))
    data = datasets.open(options.data, **dataset_settings(options))
    settings = given(options, "folds", "refit", "test", "jobs", "store", "engine")
    with (
        scheduled(options, "score_cells") as score_cells,
        ProgressBar("step", quiet=options.quiet) as progress,
    ):
        outcome = benchmark(
            grid,
            data,
            options.output,
            language=options.lang,
            progress=progress,
            **settings,
            **score_cells,
        )
    report_failures(outcome.errors, "cell failed")
    facts = {**asdict(outcome), "page": str(outcome.page)}
    emit(facts, f"{outcome.table()}\n\n{outcome.page}", as_json=options.json)
    return exit_code(failed=outcome.failed, nothing=outcome.chosen is None)
