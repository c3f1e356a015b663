"""`ferembed evaluate`"""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from ferembed._progress import ProgressBar
from ferembed.cli.dataset import add_dataset, crop_photos, dataset_settings
from ferembed.cli.options import PREDICTION, add_engine, add_language, add_prior, given
from ferembed.cli.output import emit, report_failures, warn

if TYPE_CHECKING:
    from ferembed.datasets import Dataset

HELP = "score a model on labelled faces"
EXAMPLES = (
    "ferembed evaluate default fer2013.zip --split validation",
    "ferembed evaluate default fer2013.zip --training fer2013.zip --output report",
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", help="a model that ships, or a path")
    add_dataset(parser)
    add_prior(parser)
    add_engine(parser)
    parser.add_argument(
        "--crop", action="store_true", help="inputs are photos: find the faces as the model does"
    )
    parser.add_argument(
        "--split", help="the split to score on: validation, or all if there are none"
    )
    parser.add_argument(
        "--output", metavar="FOLDER", help="write report.html, report.md and report.json there"
    )
    parser.add_argument(
        "--training",
        metavar="DATA",
        help="what the model was trained on (of splits train): scores without duplicates, and "
        "the faces nearest to each mistake",
    )
    parser.add_argument("--exact-only", action="store_true", help="look for exact duplicates only")
    add_language(parser)


def run(options: argparse.Namespace) -> int:
    from ferembed import datasets
    from ferembed.evaluation import evaluate
    from ferembed.evaluation.html import prepare_folder, write_report
    from ferembed.faces import FaceRecipe
    from ferembed.labels import expressions_among
    from ferembed.pipeline import Pipeline
    from ferembed.translations import Translator

    if options.output:
        prepare_folder(options.output)  # fail before a long run, not after it
    settings = given(options, "store", "engine", *PREDICTION)
    pipeline = Pipeline.load(options.model, progress=ProgressBar(quiet=options.quiet), **settings)
    opened = {"expressions": expressions_among(pipeline.classes_), **dataset_settings(options)}

    def faces(path: str, split: str | None, usual: str) -> Dataset:
        data = datasets.split_or_all(datasets.open(path, **opened), split, usual, warn)
        if not options.crop:
            return data
        return crop_photos(data, FaceRecipe.resolve(pipeline.detector), quiet=options.quiet)

    data = faces(options.data, options.split, "validation")
    training = faces(options.training, None, "train") if options.training else None
    evaluation = evaluate(
        pipeline,
        data,
        training,
        model=options.model,
        near_duplicates=not options.exact_only,
    )
    facts, text = evaluation.facts(), evaluation.summary(options.lang)
    if options.output:
        facts["page"] = str(write_report(options.output, evaluation, options.lang))
        files = f"{facts['page']}, report.md, report.json"
        text += f"\n\n{Translator(options.lang)('written', files=files)}"
    code = report_failures(evaluation.failures)
    emit(facts, text, as_json=options.json)
    return code
