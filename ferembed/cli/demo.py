"""`ferembed demo`"""

from __future__ import annotations

import argparse

from ferembed.cli.options import add_language
from ferembed.cli.output import exit_code

HELP = "read a photo and draw the predictions on it"
EXAMPLES = ("ferembed demo --output out",)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--output", default="demo", help="the folder for the PNG and the JSON file")
    add_language(parser)


def run(options: argparse.Namespace) -> int:
    from ferembed.media.demo import demo
    from ferembed.media.writers import writing

    done = demo(options.output, options.lang)
    with writing(None, "json" if options.json else "text", options.lang) as write:
        write(done.result)
    if not options.json:
        print(f"Written: {done.drawn} and {done.table}")
    return exit_code(failed=not done.result.predictions)
