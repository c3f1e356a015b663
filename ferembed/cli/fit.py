"""`ferembed fit`"""

from __future__ import annotations

import argparse

from ferembed.cli.dataset import (
    add_crop,
    add_dataset,
    choose_split,
    crop_photos,
    dataset_settings,
)
from ferembed.cli.options import (
    add_embedding,
    add_settings,
    embedding_settings,
    positive_int,
)
from ferembed.cli.output import ExitCode, emit, report_failures
from ferembed.errors import FerembedError

HELP = "fit a head on labelled faces"
EXAMPLES = (
    "ferembed fit fer2013.zip --head svm --set head__C=10 --output mine",
    "ferembed fit vectors/ --head fourier-svm --output mine",
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_dataset(parser)
    parser.add_argument(
        "--output", required=True, help="a folder, or a file that ends in .ferembed"
    )
    parser.add_argument("--head", default="svm", help="see: ferembed models")
    parser.add_argument("--split", help="the split to train on: train, or all if there are none")
    add_settings(parser, "a parameter, such as head__C=10")
    add_crop(parser)
    add_embedding(parser)
    parser.add_argument(
        "--sample",
        type=positive_int,
        metavar="N",
        help="the number of vectors drawn at random from a folder of vectors (embed --scheduler)",
    )


def run(options: argparse.Namespace) -> int:
    from ferembed import datasets
    from ferembed.pipeline import Pipeline

    if datasets.is_vector_set(options.data):
        return _fit_vectors(options)
    data = datasets.open(options.data, **dataset_settings(options))
    training = choose_split(data, options.split, "train")
    pipeline = Pipeline(head=options.head, **embedding_settings(options))
    if options.crop:
        pipeline.set_params(detector=options.crop)
        training = crop_photos(training, options.crop, quiet=options.quiet)
    try:
        pipeline.set_params(**dict(options.set))
        pipeline.fit(
            training.images,
            training.labels if training.votes is None else training.votes,
            classes=None if training.votes is None else training.classes,
            skip_unreadable=True,
        )
    except ValueError as error:  # of parameters that do not fit; other types are bugs
        raise FerembedError(str(error)) from error
    pipeline.save(options.output)
    code = report_failures(failure.reason for failure in pipeline.failures_)
    counts = {
        "model": options.output,
        "faces": len(training) - len(pipeline.failures_),
        "computed": pipeline.computed_,
        "from_store": pipeline.from_store_,
        "duplicates": pipeline.duplicates_,
        "backbone": pipeline.backbone,
        "failed": len(pipeline.failures_),
    }
    text = (
        "{model}: fitted on {faces} faces ({computed} computed, {from_store} from the store, "
        "{duplicates} duplicates) with the backbone {backbone}"
    )
    emit(counts, text.format(**counts), as_json=options.json)
    return code


def _fit_vectors(options: argparse.Namespace) -> int:
    """Fit on a folder of vectors; how they were made is said there, and not by options."""
    from ferembed import datasets
    from ferembed.pipeline import Pipeline

    vectors = datasets.open_vectors(options.data)
    whole = set(vectors.splits.tolist()) == {"unsplit"}
    vectors = vectors.split(options.split or ("unsplit" if whole else "train"))
    if options.sample:
        vectors = vectors.sample(options.sample)
    pipeline = Pipeline.for_vectors(vectors, options.head, engine=options.engine)
    if options.crop:
        pipeline.set_params(detector=options.crop)
    try:
        pipeline.set_params(**dict(options.set)).fit(vectors)
    except (TypeError, ValueError) as error:  # scikit-learn's, of parameters that do not fit
        raise FerembedError(str(error)) from error
    pipeline.save(options.output)
    counts = {"model": options.output, "vectors": len(vectors)}
    emit(counts, "{model}: fitted on {vectors:,} vectors".format(**counts), as_json=options.json)
    return ExitCode.DONE
