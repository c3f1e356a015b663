"""`ferembed watch`"""

from __future__ import annotations

import argparse

from ferembed.cli.loading import load_model
from ferembed.cli.options import (
    add_model,
    add_tracking,
    model_settings,
    non_negative,
    positive_int,
)
from ferembed.cli.output import ExitCode, table_format

HELP = "follow the faces before a camera, or in a video as it runs"
EXAMPLES = ("ferembed watch 0 --annotate me.mp4 --timeline me.png",)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "source", nargs="?", default="0", help="the number of a camera (0), or a video"
    )
    add_model(parser)
    parser.add_argument("--output", help="a .json or .csv file instead of the terminal")
    parser.add_argument("--annotate", metavar="MP4", help="write the frames, drawn on")
    add_tracking(parser)
    parser.add_argument("--no-window", action="store_true", help="show nothing")
    parser.add_argument(
        "--frames", type=positive_int, metavar="N", help="stop after so many frames"
    )
    parser.add_argument("--seconds", type=non_negative, help="stop after so many seconds")


def run(options: argparse.Namespace) -> int:
    from ferembed._progress import ProgressBar
    from ferembed.cli.recordings import report_recordings, shown_language
    from ferembed.media.film import has_display
    from ferembed.media.recording import record
    from ferembed.media.table import Table
    from ferembed.storage.files import check_outputs

    source, output = options.source, options.output
    check_outputs([source], output, options.annotate, options.timeline)
    written = output or options.annotate or options.timeline
    format = table_format(output, as_json=options.json)
    pipeline = load_model(**model_settings(options))
    with (
        Table.for_pipeline(pipeline, output, format, options.lang) as table,
        ProgressBar("frame", quiet=options.quiet) as progress,
    ):
        recording = record(
            pipeline,
            int(source) if source.isdecimal() else source,
            table,
            film=options.annotate,
            timeline=options.timeline,
            window=not options.no_window and (has_display() or not written),
            language=options.lang,
            detect_every=options.every,
            smoothing=options.smoothing,
            realtime=True,
            frames=options.frames,
            seconds=options.seconds,
            progress=progress,
        )
        code = report_recordings([recording], shown_language(output, format, options.lang))
    return ExitCode.DONE if code == ExitCode.INTERRUPTED else code  # that is how one ends it
