"""`ferembed data audit`"""

from __future__ import annotations

import argparse

from ferembed._progress import ProgressBar
from ferembed.cli.dataset import add_dataset, dataset_settings
from ferembed.cli.options import add_embedding, embedding_settings
from ferembed.cli.output import ExitCode, emit
from ferembed.cli.scheduled import add_scheduler, scheduled

HELP = "find duplicates, leaks, contradictions and damage"
EXAMPLES = ("ferembed data audit fer2013.zip --sheet faults.png --output faults.json",)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_dataset(parser)
    parser.add_argument("--output", metavar="JSON", help="the findings, as `clean` applies them")
    parser.add_argument("--sheet", metavar="PNG", help="a contact sheet of the findings")
    parser.add_argument("--faces", metavar="DETECTOR", help="look for pictures without a face, too")
    parser.add_argument("--exact-only", action="store_true", help="look for exact duplicates only")
    parser.add_argument(
        "--labels",
        action="store_true",
        help="list the labels that cross-validated predictions contradict, too; the pictures are "
        "faces, whose vectors --backbone makes",
    )
    add_embedding(parser)
    add_scheduler(parser, partitions=False)


def run(options: argparse.Namespace) -> int:
    from ferembed import datasets
    from ferembed.datasets.audit import audit
    from ferembed.embedder import Embedder
    from ferembed.storage.files import check_outputs

    check_outputs([options.data], options.output, options.sheet)
    with (
        scheduled(options, "gather_facts") as elsewhere,
        ProgressBar(quiet=options.quiet) as progress,
    ):
        data = datasets.open(options.data, progress=progress, **dataset_settings(options))
        vectors = None
        if options.labels:
            embedded = Embedder(**embedding_settings(options)).embed(data.images)
            vectors = embedded.rows(len(data))
        found = audit(
            data,
            near_duplicates=not options.exact_only,
            find_faces=options.faces,
            vectors=vectors,
            progress=progress,
            **elsewhere,
        )
    if options.output:
        found.write(options.output)
    if options.sheet:
        found.contact_sheet(options.sheet)
    emit(found.summary(), found.table(), as_json=options.json)
    return ExitCode.DONE
