"""`ferembed demo`"""

from __future__ import annotations

import argparse

from ferembed.cli.options import add_language

HELP = "read a photo and draw the predictions on it"
EXAMPLES = ("ferembed demo --output out",)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--output", default="demo", help="the folder for the PNG and the JSON file")
    add_language(parser)


def run(options: argparse.Namespace) -> int:
    from ferembed.media.demo import demo

    return demo(options.output, options.lang, "json" if options.json else "text")
