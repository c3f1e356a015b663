"""`ferembed data audit`"""

from __future__ import annotations

import argparse

from ferembed.cli.dataset import add_dataset, dataset_settings
from ferembed.cli.options import add_embedding, embedding_settings
from ferembed.cli.output import ExitCode, emit
from ferembed.cli.scheduled import add_scheduler, connected

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
    from contextlib import ExitStack
    from functools import partial
    from pathlib import Path

    import numpy as np

    from ferembed import datasets
    from ferembed._progress import ProgressBar
    from ferembed.datasets.audit import audit
    from ferembed.datasets.looks import Look, look_at
    from ferembed.embedder import Embedder
    from ferembed.faces import DETECTORS
    from ferembed.storage.files import atomic_write, check_outputs

    check_outputs([options.data], options.output, options.sheet)
    find_faces = DETECTORS[options.faces]() if options.faces else None
    with ExitStack() as stack:
        progress = stack.enter_context(ProgressBar(quiet=options.quiet))
        look: Look = look_at
        if options.scheduler:
            from ferembed import cluster

            client = stack.enter_context(connected(options))
            look = partial(cluster.look, client=client)
        data = datasets.open(options.data, progress=progress, **dataset_settings(options))
        vectors = None
        if options.labels:
            embedded = Embedder(**embedding_settings(options)).embed(data.images)
            vectors = np.full((len(data), embedded.vectors.shape[1]), np.nan, np.float32)
            vectors[embedded.positions] = embedded.vectors
        found = audit(
            data,
            near_duplicates=not options.exact_only,
            find_faces=find_faces,
            vectors=vectors,
            progress=progress,
            look=look,
        )
    if options.output:
        with atomic_write(Path(options.output)) as unfinished:  # names of files need not be UTF-8
            unfinished.write_text(found.to_json(), "utf-8", errors="backslashreplace")
    if options.sheet:
        found.contact_sheet(options.sheet)
    emit(found.summary(), found.table(), as_json=options.json)
    return ExitCode.DONE
