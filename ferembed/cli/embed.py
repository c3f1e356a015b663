"""`ferembed embed`"""

from __future__ import annotations

import argparse

from ferembed.cli.options import add_embedding, embedding_settings
from ferembed.cli.output import emit, report_failures
from ferembed.cli.scheduled import add_scheduler
from ferembed.errors import FerembedError

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
    from ferembed.media.find import find_images
    from ferembed.storage.files import check_outputs

    embedder = Embedder(**embedding_settings(options))
    if options.scheduler:
        from ferembed import cluster
        from ferembed.cli.scheduled import write_tables

        return write_tables(
            options,
            lambda client, output, size, progress: cluster.embed(
                options.data, embedder, client, output, size=size, progress=progress
            ),
        )
    if options.output and not options.output.lower().endswith(".npz"):
        raise FerembedError(f"{options.output} would be an .npz. Give it a name that ends so.")
    images = find_images(options.data)
    if options.output:
        files = [image for image in images if isinstance(image, str)]
        check_outputs([*options.data, *files], options.output)
        embedded = embedder.embed(images)
        embedded.save(options.output, images)
    else:
        embedded = embedder.warm_store(images)
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
