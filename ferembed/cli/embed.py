"""`ferembed embed`"""

from __future__ import annotations

import argparse
from functools import partial

from ferembed.cli.options import add_embedding, embedding_settings
from ferembed.cli.output import emit, report_failures
from ferembed.cli.scheduled import add_scheduler, write_tables

HELP = "compute the vectors of faces and keep them"
EXAMPLES = (
    "ferembed embed faces/",
    "ferembed embed faces/ --scheduler local:4 --output vectors",
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("data", nargs="+", help="faces: files, folders, globs, or one data set")
    parser.add_argument("--output", help="write them to this .npz, too")
    add_embedding(parser)
    add_scheduler(parser)


def run(options: argparse.Namespace) -> int:
    from ferembed.embedder import Embedder
    from ferembed.media.batch import embed_files

    embedder = Embedder(**embedding_settings(options))
    if options.scheduler:
        from ferembed import cluster

        return write_tables(options, partial(cluster.embed, options.data, embedder))
    embedded = embed_files(embedder, options.data, options.output)
    code = report_failures(failure.reason for failure in embedded.failures)
    counts = {
        "computed": embedded.computed,
        "from_store": embedded.hits,
        "duplicates": embedded.duplicates,
        "damaged": embedded.damaged,
        "failed": len(embedded.failures),
    }
    text = (
        "{computed} computed, {from_store} from store, {duplicates} duplicates, {damaged} damaged, "
        "{failed} failed"
    )
    emit(counts, text.format(**counts), as_json=options.json)
    return code
