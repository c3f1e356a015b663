"""The output of commands: facts as JSON or text, warnings and exit codes."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Iterable, Mapping
from enum import IntEnum
from typing import TYPE_CHECKING, Any

from ferembed._text import printable
from ferembed.errors import FerembedError

if TYPE_CHECKING:
    from ferembed.media.outputs import Outputs


class ExitCode(IntEnum):
    """The exit code of a command."""

    DONE = 0
    SOME_FAILED = 1  # some inputs could not be used; each is reported
    FAILED = 2  # nothing was done; argparse uses the same
    INTERRUPTED = 130  # by Ctrl-C; shells use the same


def emit(facts: Mapping[str, Any], text: str, *, as_json: bool) -> None:
    """Print the result of a command."""
    print(json.dumps(facts, ensure_ascii=False, indent=2) if as_json else printable(text))


def warn(message: object) -> None:
    """Print one line on standard error."""
    line = printable(f"ferembed: {message}")
    if "tqdm" in sys.modules:  # a bar may be on the line
        from tqdm import tqdm

        tqdm.write(line, file=sys.stderr)
    else:
        print(line, file=sys.stderr)


def show(text: str) -> None:
    """Print a part of the result on standard output, above a progress bar."""
    from tqdm import tqdm

    tqdm.write(text, file=sys.stdout)


def exit_code(*, failed: object, nothing: object = False, interrupted: bool = False) -> ExitCode:
    """The exit code where inputs failed, nothing was done, or the command was interrupted."""
    if interrupted:
        return ExitCode.INTERRUPTED
    if nothing:
        return ExitCode.FAILED
    return ExitCode.SOME_FAILED if failed else ExitCode.DONE


def report_failures(reasons: Iterable[object], what: str = "left out") -> ExitCode:
    """Print a line for every input that was left out, and return the exit code."""
    lines = [f"{what}: {reason}" for reason in reasons]
    for line in lines:
        warn(line)
    return exit_code(failed=lines)


def table_format(output: str | None, *, as_json: bool) -> str:
    """The format of a table of faces, "json", "csv" or "text": that of the file's ending."""
    suffix = os.path.splitext(output or "")[1].lower()
    if suffix not in ("", ".csv", ".json", ".txt"):
        raise FerembedError(f"{output} ends in {suffix}: give .json, .csv or .txt.")
    if as_json and suffix in (".csv", ".txt"):
        raise FerembedError(
            f"--json contradicts --output {output}: give it a name that ends in .json, or leave "
            "out --json."
        )
    if as_json or suffix == ".json":
        return "json"
    return "csv" if suffix == ".csv" else "text"


def output_files(options: argparse.Namespace) -> Outputs:
    """The files that --output, --annotate and --timeline name."""
    from ferembed.media.outputs import Outputs

    return Outputs(
        table=options.output,
        format=table_format(options.output, as_json=options.json),
        drawn=options.annotate,
        timeline=options.timeline,
        language=options.lang,
    )
