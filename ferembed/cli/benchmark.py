"""`ferembed benchmark`"""

from __future__ import annotations

import argparse

from ferembed._progress import ProgressBar
from ferembed.cli.dataset import add_dataset, dataset_settings
from ferembed.cli.options import add_engine, add_language, add_settings, whole_number
from ferembed.cli.output import ExitCode, emit, warn
from ferembed.cli.scheduled import add_scheduler, connected

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
        type=int,
        default=0,
        help="choose by so many folds of the training split, not by the validation split",
    )
    parser.add_argument(
        "--refit", action="store_true", help="fit the chosen one on training and validation"
    )
    parser.add_argument(
        "--test", action="store_true", help="score the chosen one on the test split"
    )
    parser.add_argument(
        "--jobs", type=whole_number, default=0, help="cells at once (as many as fit)"
    )
    add_language(parser)
    add_engine(parser)
    add_scheduler(parser, partitions=False)


def run(options: argparse.Namespace) -> int:
    from contextlib import ExitStack
    from dataclasses import asdict
    from functools import partial

    from ferembed import datasets
    from ferembed.benchmark import benchmark
    from ferembed.benchmark.grid import Grid

    grid = Grid.named(options.grid, **dict(options.set))
    with ExitStack() as stack:
        score_cells = None
        if options.scheduler:
            from ferembed import cluster

            client = stack.enter_context(connected(options))
            score_cells = partial(cluster.score_cells, client=client)
        outcome = benchmark(
            grid,
            datasets.open(options.data, **dataset_settings(options)),
            options.output,
            folds=options.folds,
            refit=options.refit,
            test=options.test,
            jobs=options.jobs,
            store=options.store,
            engine=options.engine,
            language=options.lang,
            progress=stack.enter_context(ProgressBar("step", quiet=options.quiet)),
            score_cells=score_cells,
        )
    for row in outcome.rows:
        if row["error"]:
            warn(f"{row['name']}: {row['error']}")
    facts = {**asdict(outcome), "page": str(outcome.page)}
    emit(facts, f"{outcome.table()}\n\n{outcome.page}", as_json=options.json)
    if outcome.chosen is None:
        return ExitCode.FAILED
    return ExitCode.SOME_FAILED if outcome.failed else ExitCode.DONE
