"""`ferembed watch`"""

from __future__ import annotations

import argparse

from ferembed._progress import ProgressBar
from ferembed.cli.loading import Model
from ferembed.cli.options import (
    add_model,
    add_tracking,
    camera_or_video,
    given,
    non_negative,
    positive_int,
)
from ferembed.cli.output import exit_code, output_files, show, warn

HELP = "follow the faces before a camera, or in a video as it runs"
EXAMPLES = ("ferembed watch 0 --annotate me.mp4 --timeline me.png",)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "source",
        nargs="?",
        type=camera_or_video,
        default=0,
        help="the number of a camera (0), or a video",
    )
    add_model(parser)
    parser.add_argument("--output", help="a .json or .csv file instead of the terminal")
    parser.add_argument("--annotate", metavar="MP4", help="write the frames, drawn on")
    add_tracking(parser)
    parser.add_argument("--no-window", dest="window", action="store_false", help="show nothing")
    parser.add_argument(
        "--frames", type=positive_int, metavar="N", help="stop after so many frames"
    )
    parser.add_argument("--seconds", type=non_negative, help="stop after so many seconds")


def run(options: argparse.Namespace) -> int:
    from ferembed.media.videos import watch_live

    settings = given(options, "window", "detect_every", "smoothing", "frames", "seconds")
    with ProgressBar(quiet=options.quiet) as progress:
        batch = watch_live(
            options.source,
            Model.from_options(options).load,
            output_files(options),
            progress=progress,
            warn=warn,
            show=show,
            **settings,
        )
    # To interrupt it is how one ends it.
    return exit_code(failed=batch.failed, nothing=batch.nothing)
