"""`ferembed quantize`"""

from __future__ import annotations

import argparse

from ferembed._progress import ProgressBar
from ferembed.cli.options import (
    add_backbones,
    add_model_name,
    backbone_settings,
    refuse_without,
)
from ferembed.cli.output import emit, report_failures

HELP = "calibrate INT8 versions of the networks on sample faces"
EXAMPLES = ("ferembed quantize faces/ --model default",)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("data", nargs="+", help="faces: files, folders, globs, or one data set")
    networks = parser.add_mutually_exclusive_group()
    add_model_name(networks)
    add_backbones(networks, "backbone")
    add_backbones(parser, "weights")


def run(options: argparse.Namespace) -> int:
    from ferembed.embedder import Embedder
    from ferembed.media.find import find_images
    from ferembed.pipeline import Pipeline

    if options.backbone:
        embedder = Embedder(**backbone_settings(options))
    else:
        refuse_without(options, "backbone", "weights")
        embedder = Pipeline.load(options.model).embedder
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
