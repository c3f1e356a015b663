"""`ferembed fit`"""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from ferembed.cli.dataset import add_crop, add_dataset, crop_photos, dataset_settings
from ferembed.cli.options import (
    add_embedding,
    add_settings,
    embedding_settings,
    given,
    positive_int,
)
from ferembed.cli.output import emit, report_failures, warn
from ferembed.errors import FerembedError

if TYPE_CHECKING:
    from ferembed.datasets import Dataset, VectorSet
    from ferembed.pipeline import Pipeline

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
    parser.add_argument(
        "--head", default=argparse.SUPPRESS, help="svm, or another; see: ferembed models"
    )
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

    of_vectors = datasets.is_vector_set(options.data)
    pipeline, data = (_of_vectors if of_vectors else _of_pictures)(options)
    pipeline.set_params(**given(options, "head", "detector"))
    try:
        pipeline.set_params(**dict(options.set)).fit(data, skip_unreadable=True)
    except ValueError as error:  # of parameters that do not fit; other types are bugs
        raise FerembedError(str(error)) from error
    pipeline.save(options.output)
    code = report_failures(failure.reason for failure in pipeline.failures_)
    facts = {
        "model": options.output,
        "faces": len(data) - len(pipeline.failures_),
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
    emit(facts, text.format(**facts), as_json=options.json)
    return code


def _of_pictures(options: argparse.Namespace) -> tuple[Pipeline, Dataset]:
    from ferembed import datasets
    from ferembed.pipeline import Pipeline

    data = datasets.open(options.data, **dataset_settings(options))
    training = datasets.split_or_all(data, options.split, "train", warn)
    pipeline = Pipeline(**embedding_settings(options))
    if hasattr(options, "detector"):
        training = crop_photos(training, options.detector, quiet=options.quiet)
    return pipeline, training


def _of_vectors(options: argparse.Namespace) -> tuple[Pipeline, VectorSet]:
    """The pipeline that made a folder of vectors, and the vectors; no option changes how."""
    from ferembed import datasets
    from ferembed.pipeline import Pipeline

    vectors = datasets.split_or_all(datasets.open_vectors(options.data), options.split, "train")
    vectors = vectors.sample(options.sample or len(vectors))
    return Pipeline.for_vectors(vectors, **given(options, "engine")), vectors
