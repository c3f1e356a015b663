"""`ferembed quantize`"""

from __future__ import annotations

import argparse

from ferembed._progress import ProgressBar
from ferembed.cli.options import add_backbones, backbone_settings
from ferembed.cli.output import emit, report_failures
from ferembed.errors import FerembedError

HELP = "calibrate INT8 versions of the networks on sample faces"
EXAMPLES = ("ferembed quantize faces/ --model default",)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("data", nargs="+", help="faces: files, folders, globs, or one data set")
    parser.add_argument("--model", help="whose networks, without --backbone: default, or a path")
    add_backbones(parser, "backbone", "weights")


def run(options: argparse.Namespace) -> int:
    from ferembed.embedder import Embedder
    from ferembed.media.find import find_images
    from ferembed.pipeline import Pipeline

    if options.weights and not options.backbone:
        raise FerembedError("--weights goes with --backbone.")
    if options.backbone and options.model:
        raise FerembedError("Give --model or --backbone, not both.")
    if options.backbone:
        embedder = Embedder(**backbone_settings(options))
    else:
        embedder = Pipeline.load(options.model or "default").embedder
    embedder.set_params(progress=ProgressBar(quiet=options.quiet))
    failures = embedder.quantize(find_images(options.data))
    names = [request.name for request in embedder.requests]
    code = report_failures(failure.reason for failure in failures)
    emit(
        {"backbones": names, "failed": len(failures)},
        f"{' and '.join(names)}: ready for --engine openvino-int8.",
        as_json=options.json,
    )
    return code
