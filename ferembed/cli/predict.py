"""`ferembed predict`"""

from __future__ import annotations

import argparse

from ferembed.cli.loading import garbage_collection_off, load_model
from ferembed.cli.options import add_model, add_tracking, model_settings
from ferembed.cli.output import ExitCode, emit, table_format, warn
from ferembed.cli.scheduled import add_scheduler
from ferembed.errors import FerembedError

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
    parser.add_argument("--annotate", metavar="FOLDER", help="write drawn copies there")
    add_tracking(parser)
    add_scheduler(parser)


def run(options: argparse.Namespace) -> int:
    if options.scheduler:
        return _run_on_cluster(options)
    with garbage_collection_off():
        from dataclasses import asdict

        from ferembed._progress import ProgressBar
        from ferembed.media.batch import predict_photos
        from ferembed.media.find import find_videos
        from ferembed.storage.files import check_outputs

        videos, photos, skipped = find_videos(options.photos, options.annotate)
        if options.timeline and not videos:
            raise FerembedError("--timeline is drawn of videos, and none is named.")
        if skipped:
            warn(
                f"skipped {len(skipped)} videos (first: {skipped[0]}); pass a video by name to "
                "process it."
            )
        check_outputs([*videos, *photos], options.output, options.timeline)
        format = table_format(options.output, as_json=options.json)
        pipeline = load_model(**model_settings(options))
    if videos:
        from ferembed.cli.recordings import record_videos

        return record_videos(
            pipeline,
            videos,
            options.output,
            format,
            films=options.annotate,
            timelines=options.timeline,
            language=options.lang,
            detect_every=options.every,
            smoothing=options.smoothing,
            quiet=options.quiet,
        )
    with ProgressBar("photo", quiet=options.quiet) as progress:
        batch = predict_photos(
            pipeline,
            photos,
            options.output,
            format,
            annotated_folder=options.annotate,
            language=options.lang,
            progress=progress,
            warn=warn,
        )
    if options.output:
        facts = {"output": options.output, **asdict(batch)}
        text = f"{options.output}: {batch.faces:,} faces in {batch.photos - batch.failed:,} photos"
        emit(facts, text, as_json=options.json)
    return ExitCode.SOME_FAILED if batch.failed else ExitCode.DONE


def _run_on_cluster(options: argparse.Namespace) -> int:
    from ferembed import cluster
    from ferembed.cli.scheduled import write_tables

    if options.annotate or options.timeline:
        raise FerembedError("--annotate and --timeline do not go with --scheduler.")
    pipeline = load_model(**model_settings(options))
    return write_tables(
        options,
        lambda client, output, size, progress: cluster.predict(
            options.photos, pipeline, client, output, size=size, progress=progress
        ),
    )
