"""`ferembed serve`"""

from __future__ import annotations

import argparse
from pathlib import Path

from ferembed.cli.output import ExitCode, warn
from ferembed.errors import MissingExtra

HELP = "serve predictions over HTTP, with a page for a browser that has a camera"
EXAMPLES = ("ferembed serve --model default --port 8000",)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    for name, kind, meaning in (
        ("model", str, "a model that ships, or a path; several, each by its own --model"),
        ("allow-host", str, "a further name by which clients may call this server"),
        ("allow-origin", str, "a web site whose pages may call it, such as https://example.org"),
        ("host", str, "the address to listen on (127.0.0.1)"),
        ("port", int, "the port to listen on (8000)"),
        ("workers", int, "processes, each with models and a queue of its own (1)"),
        ("api-key-file", Path, "a file with one key per line, of which clients must send one"),
        ("max-bytes", int, "the largest body of a request (32 million)"),
        ("max-pixels", int, "the largest picture (40 million)"),
        ("max-pictures", int, "the most pictures in a request (32)"),
        ("max-faces", int, "the most faces that are read in a picture (64)"),
        ("max-streams", int, "the most live streams at a time (8)"),
        ("queue", int, "the most pictures accepted at a time; beyond it is answered 429 (32)"),
        ("deadline", float, "seconds until a request is given up (30)"),
        ("batch-ms", float, "milliseconds for which faces wait to be read with others (3)"),
        ("batch-faces", int, "the most faces that are read together (32)"),
        ("engine", str, "as for predict (auto)"),
        ("store", str, "where vectors are kept: none, disk, or a file (none)"),
    ):
        several = "append" if name in ("model", "allow-host", "allow-origin") else "store"
        parser.add_argument(f"--{name}", type=kind, action=several, help=meaning)


def run(options: argparse.Namespace) -> int:
    from dataclasses import fields

    try:
        from ferembed.service import Settings, serve
    except ImportError as error:
        raise MissingExtra(
            f"The service needs {error.name}. Run: pip install 'ferembed[fast,serve]'"
        ) from error
    names = [field.name for field in fields(Settings)]
    try:
        serve(Settings.from_environment(**{name: getattr(options, name) for name in names}))
    except KeyboardInterrupt:
        warn("interrupted; the server has ended.")
        return ExitCode.INTERRUPTED
    return ExitCode.DONE
