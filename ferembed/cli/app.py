"""The command line: one module per command, and what becomes of errors and signals."""

from __future__ import annotations

import argparse
import gc
import os
import signal
import sys
import threading
import warnings
from collections.abc import Iterable, Sequence
from types import FrameType, ModuleType
from typing import Any, NoReturn, TextIO

from ferembed import __version__
from ferembed._interrupts import ENDING
from ferembed.cli import (
    benchmark,
    cache,
    compare,
    data,
    demo,
    embed,
    evaluate,
    fit,
    models,
    predict,
    quantize,
    serve,
    train,
    watch,
)
from ferembed.cli.output import ExitCode, warn
from ferembed.cli.streams import IgnoreBrokenPipe, discard, prepare_streams
from ferembed.errors import FerembedError, StoreWarning
from ferembed.registry import unknown_name_message

# Each has HELP, EXAMPLES, add_arguments(parser) and run(options), or COMMANDS of its own.
COMMANDS = (
    demo,
    predict,
    watch,
    embed,
    quantize,
    fit,
    train,
    benchmark,
    evaluate,
    compare,
    data,
    models,
    serve,
    cache,
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command and return its exit code: an ExitCode, or 0 without one."""
    prepare_streams()
    arguments = sys.argv[1:] if arguments is None else arguments
    if message := _unknown_command(arguments, COMMANDS):
        warn(message)
        return ExitCode.FAILED
    parser = _parser()
    options = parser.parse_args(arguments)
    if not hasattr(options, "run"):
        parser.print_help()
        return ExitCode.FAILED
    try:
        with warnings.catch_warnings():
            warnings.showwarning = _show_warning
            code: int = options.run(options)
        sys.stdout.flush()
        return code
    except FerembedError as error:
        warn(error)
    except BrokenPipeError:  # the reader, such as head, has seen enough
        discard(sys.stdout)
        return ExitCode.DONE
    except MemoryError:
        warn("not enough memory for that.")
    except OSError as error:
        warn(f"{error.filename or 'writing'}: {error.strerror or error}")
    except KeyboardInterrupt:
        warn("interrupted; finished work has been saved.")
        return ExitCode.INTERRUPTED
    return ExitCode.FAILED


def _show_warning(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: TextIO | None = None,
    line: str | None = None,
) -> None:
    if issubclass(category, StoreWarning):
        warn(message)
    else:
        warn(warnings.formatwarning(message, category, filename, lineno).rstrip())


def _unknown_command(arguments: Sequence[str], modules: Iterable[ModuleType]) -> str | None:
    """The message for a command that does not exist, with the nearest that does."""
    if not arguments or arguments[0].startswith("-"):
        return None
    commands = {_name(module): module for module in modules}
    if arguments[0] not in commands:
        return unknown_name_message("command", arguments[0], list(commands))
    inner = getattr(commands[arguments[0]], "COMMANDS", ())
    return _unknown_command(arguments[1:], inner) if inner else None


def run() -> NoReturn:
    """The command `ferembed`: a process that ends when `main` is done."""
    received: list[int] = []

    def interrupt(number: int, frame: FrameType | None) -> NoReturn:
        received.append(number)
        raise KeyboardInterrupt  # as after Ctrl-C, finished work is saved

    def send_again(lost: sys.UnraisableHookArgs) -> None:
        """Repeat a signal that came in a callback, where Python ignores exceptions."""
        if not isinstance(lost.exc_value, KeyboardInterrupt):
            sys.__unraisablehook__(lost)
            return
        number = received[-1] if received else signal.SIGINT
        again = threading.Timer(0.05, os.kill, (os.getpid(), number))
        again.daemon = True
        again.start()

    sys.unraisablehook = send_again
    for number in ENDING:
        if signal.getsignal(number) == signal.SIG_DFL:  # not ignored, as by nohup
            signal.signal(number, interrupt)
    if sys.stderr is not None:
        sys.stderr = IgnoreBrokenPipe(sys.stderr)
    code = main()
    if received:
        code = 128 + received[0]
    gc.freeze()  # or Python looks for garbage in all that was imported before it exits: 0.1 s
    sys.exit(code)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="ferembed",
        description="Read facial expressions in photos and videos, and train on your own.",
        epilog="examples:\n"
        "  ferembed demo\n"
        "  ferembed predict party.jpg\n"
        "  ferembed predict holidays/ --output faces.csv --annotate drawn/\n"
        "  ferembed watch --annotate me.mp4 --timeline me.png\n"
        "  ferembed fit fer2013.zip --head svm --output mine\n"
        "  ferembed evaluate mine fer2013.zip --split validation",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"ferembed {__version__}")
    _add_commands(parser.add_subparsers(title="commands", metavar="COMMAND"), COMMANDS)
    return parser


def _name(module: ModuleType) -> str:
    return module.__name__.rpartition(".")[2]


def _add_commands(commands: Any, modules: Iterable[ModuleType]) -> None:
    for module in modules:
        parser: argparse.ArgumentParser = commands.add_parser(
            _name(module),
            help=module.HELP,
            description=module.HELP[0].upper() + module.HELP[1:] + ".",
            epilog="\n  ".join(("example:", *module.EXAMPLES)),
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        if hasattr(module, "COMMANDS"):
            group = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
            _add_commands(group, module.COMMANDS)
            continue
        parser.add_argument("--json", action="store_true", help="print JSON")
        parser.add_argument("--quiet", action="store_true", help="print no progress")
        parser.set_defaults(run=module.run)
        module.add_arguments(parser)
