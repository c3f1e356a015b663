"""`ferembed evaluate`"""

from __future__ import annotations

import argparse

from ferembed._progress import ProgressBar
from ferembed.cli.dataset import add_dataset, choose_split, crop_photos, dataset_settings
from ferembed.cli.options import add_engine, add_language, add_prior, prediction_settings
from ferembed.cli.output import emit, report_failures

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
    from ferembed.evaluation import evaluate, scored_on
    from ferembed.evaluation.html import prepare_folder, write_report
    from ferembed.faces import FaceRecipe
    from ferembed.labels import CONTEMPT
    from ferembed.pipeline import Pipeline
    from ferembed.translations import Translator

    if options.output:
        prepare_folder(options.output)  # fail before a long run, not after it
    pipeline = Pipeline.load(
        options.model,
        store=options.store,
        engine=options.engine,
        progress=ProgressBar(quiet=options.quiet),
        **prediction_settings(options),
    )
    settings = dataset_settings(options)
    if not hasattr(options, "expressions"):
        settings["expressions"] = 8 if CONTEMPT in pipeline.classes_.astype(str) else 7
    data = choose_split(datasets.open(options.data, **settings), options.split, "validation")
    training = None
    if options.training:
        training = choose_split(datasets.open(options.training, **settings), None, "train")
    if options.crop:
        recipe = FaceRecipe.resolve(pipeline.detector)
        data = crop_photos(data, recipe, quiet=options.quiet)
        training = training and crop_photos(training, recipe, quiet=options.quiet)
    if options.output or training:
        with ProgressBar(quiet=options.quiet) as progress:
            evaluation = evaluate(
                pipeline,
                data,
                training,
                model=options.model,
                near_duplicates=not options.exact_only,
                progress=progress,
            )
        facts, text, reasons = (
            evaluation.facts(),
            evaluation.summary(options.lang),
            evaluation.failures,
        )
    else:
        report, failures = pipeline.evaluate(data.images, data.labels)
        facts = {**report.to_dict(), "split": data.split_of(0)}
        split = scored_on(data.split_of(0), options.lang)
        text = f"{report.table(options.lang)}\n\n{split}"
        reasons = tuple(failure.reason for failure in failures)
    if options.output:
        facts["page"] = str(write_report(options.output, evaluation, options.lang))
        files = f"{facts['page']}, report.md, report.json"
        text += f"\n\n{Translator(options.lang)('written', files=files)}"
    code = report_failures(reasons)
    emit(facts, text, as_json=options.json)
    return code
