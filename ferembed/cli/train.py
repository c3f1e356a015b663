"""`ferembed train`"""

from __future__ import annotations

import argparse

from ferembed._progress import ProgressBar
from ferembed.cli.dataset import add_dataset, dataset_settings
from ferembed.cli.options import add_settings
from ferembed.cli.output import emit, report_failures, warn

HELP = "train a backbone's network on labelled faces"
EXAMPLES = (
    "ferembed train fer2013.zip --backbone bn-cnn --output run",
    "ferembed train faces/ --weights pretrained --set rate=0.01 --set epochs=10 --output run",
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_dataset(parser)
    parser.add_argument(
        "--output", required=True, help="a folder; an unfinished run in it is resumed"
    )
    parser.add_argument("--backbone", required=True, help="its network; see: ferembed models")
    parser.add_argument(
        "--weights", help="start from 'pretrained', or from an .npz; else from random ones"
    )
    parser.add_argument("--split", default="train", help="the split to train on")
    parser.add_argument("--validation", default="validation", help="the split to validate on")
    parser.add_argument(
        "--find-fastest",
        dest="fastest",
        action="store_true",
        help="first measure which precision and batch size train fastest on this machine",
    )
    add_settings(parser, "a setting of the recipe, such as epochs=20, rate=0.05 or keep=best")


def run(options: argparse.Namespace) -> int:
    from pathlib import Path

    from ferembed import datasets
    from ferembed.training import recipe_for, train_backbone

    folder = Path(options.output)
    recipe = recipe_for(options.backbone, **dict(options.set))
    with ProgressBar("step", quiet=options.quiet) as progress:
        result = train_backbone(
            datasets.open(options.data, **dataset_settings(options)),
            options.backbone,
            folder,
            recipe,
            weights=options.weights,
            training=options.split,
            validation=options.validation,
            fastest=options.fastest,
            **({} if options.quiet else {"tell": warn}),
            progress=progress,
            on_epoch=lambda row: progress.note(
                "epoch {epoch}, validation {validation_accuracy:.1%}".format(**row)
            ),
        )
    result.pipeline.save(folder / "model")
    failures = result.pipeline.failures_
    code = report_failures(failure.reason for failure in failures)
    facts = {
        "model": str(folder / "model"),
        "weights": str(result.weights),
        "epochs": len(result.history),
        "minutes": result.seconds / 60,
        "validation_accuracy": result.validation_accuracy,
        "best_validation_accuracy": result.best_validation_accuracy,
        "curves": str(result.curves),
        "failed": len(failures),
    }
    text = (
        "{model}: {epochs} epochs in {minutes:.0f} minutes, validation accuracy "
        "{validation_accuracy:.1%} in the last and {best_validation_accuracy:.1%} in the best\n"
        "Curves: {curves}. Fit other heads on it: ferembed fit DATA --weights {weights} "
        f"--backbone {options.backbone} --output MODEL"
    )
    emit(facts, text.format(**facts), as_json=options.json)
    return code
