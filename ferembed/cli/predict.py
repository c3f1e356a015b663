"""`ferembed predict`"""

from __future__ import annotations

import argparse
from dataclasses import asdict
from functools import partial

from ferembed._progress import ProgressBar
from ferembed.cli.loading import Model, garbage_collection_off
from ferembed.cli.options import add_model, add_tracking, given, refuse_together
from ferembed.cli.output import emit, exit_code, output_files, show, warn
from ferembed.cli.scheduled import add_scheduler, write_tables

HELP = "find the faces in photos or videos and say what they show"
EXAMPLES = (
    "ferembed predict *.jpg holidays/ --output faces.csv",
    "ferembed predict clip.mp4 --output faces.csv --annotate drawn --timeline clip.png",
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "photos", nargs="+", help="files, folders, globs or zips of photos, or videos"
    )
    add_model(parser)
    parser.add_argument(
        "--output",
        help="a .json or .csv file instead of the terminal; an interrupted run over photos resumes",
    )
    parser.add_argument("--annotate", metavar="FOLDER", help="write annotated copies there")
    add_tracking(parser)
    add_scheduler(parser)


def run(options: argparse.Namespace) -> int:
    model = Model.from_options(options)
    if options.scheduler:
        refuse_together(options, "scheduler", "annotate", "timeline")
        from ferembed import cluster

        return write_tables(options, partial(cluster.predict, options.photos, model.load()))
    with garbage_collection_off():
        from ferembed.media.batch import predict_files
    outputs = output_files(options)
    tracking = given(options, "detect_every", "smoothing")
    with ProgressBar(quiet=options.quiet) as progress:
        batch = predict_files(
            options.photos,
            model.load,
            outputs,
            progress=progress,
            warn=warn,
            show=show,
            **tracking,
        )
    if outputs.table and not batch.nothing:
        facts = {"output": outputs.table, **asdict(batch)}
        emit(facts, f"{outputs.table}: {batch}", as_json=options.json)
    return exit_code(failed=batch.failed, nothing=batch.nothing, interrupted=batch.interrupted)
