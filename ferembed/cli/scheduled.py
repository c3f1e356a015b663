"""Commands over many processes or machines: the option --scheduler, and what is printed of them."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

from ferembed._progress import ProgressBar
from ferembed.cli.options import given, positive_int
from ferembed.cli.output import ExitCode, emit, report_failures, warn
from ferembed.errors import FerembedError

if TYPE_CHECKING:
    from ferembed.cluster import Done


def add_scheduler(parser: argparse.ArgumentParser, *, partitions: bool = True) -> None:
    parser.add_argument(
        "--scheduler",
        metavar="ADDRESS",
        help="do the work on a Dask cluster: tcp://HOST:8786, or local:N for N processes here"
        + ("; --output is then a folder, for Parquet files" if partitions else ""),
    )
    if partitions:
        parser.add_argument(
            "--partition",
            dest="size",
            type=positive_int,
            default=argparse.SUPPRESS,
            metavar="N",
            help="pictures in a task of the cluster, and in a Parquet file (1000)",
        )


@contextmanager
def connected(options: argparse.Namespace) -> Iterator[Any]:
    """The client; the address of Dask's dashboard is printed."""
    from ferembed.cluster import connect

    with connect(options.scheduler) as client:
        if not options.quiet and client.dashboard_link:
            warn(f"dashboard: {client.dashboard_link}")
        yield client


@contextmanager
def scheduled(options: argparse.Namespace, task: str) -> Iterator[dict[str, Any]]:
    """The argument `task`: the function of `cluster` of that name; none without --scheduler."""
    if not options.scheduler:
        yield {}
        return
    from ferembed import cluster

    with connected(options) as client:
        yield {task: partial(getattr(cluster, task), client=client)}


def write_tables(options: argparse.Namespace, write: Callable[..., Done]) -> ExitCode:
    """Run `write` with a client, an output folder and keywords, and print what was done."""
    if not options.output:
        raise FerembedError("With --scheduler give a folder or a URL: --output FOLDER.")
    with connected(options) as client, ProgressBar(quiet=options.quiet) as progress:
        done = write(client, options.output, progress=progress, **given(options, "size"))
    failed = report_failures(reason for _, reason in done.failures)
    lost = report_failures((f"{name}: {reason}" for name, reason in done.lost), "not done")
    facts = {
        "output": done.folder,
        "rows": done.rows,
        "pictures": done.pictures,
        "partitions_computed": done.computed,
        "partitions_found": done.found,
        "failed": len(done.failures),
        "not_done": len(done.lost),
    }
    text = (
        "{output}: {rows:,} rows of {pictures:,} pictures; {partitions_computed:,} partitions "
        "computed, {partitions_found:,} found, {failed:,} pictures failed, {not_done:,} not done"
    )
    emit(facts, text.format(**facts), as_json=options.json)
    return max(failed, lost)
