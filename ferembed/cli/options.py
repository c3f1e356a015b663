"""Options that several commands share, the types of their values, and what the library is given."""

from __future__ import annotations

import argparse
import json
from typing import Any

from ferembed._progress import ProgressBar
from ferembed.errors import FerembedError, LabelError
from ferembed.inference import ENGINES

_AS_JSON = {"True": "true", "False": "false", "None": "null"}  # as Python writes them


def key_value(text: str) -> tuple[str, Any]:
    """NAME=VALUE, whose value is JSON, or else text."""
    name, equals, value = text.partition("=")
    if not equals:
        raise argparse.ArgumentTypeError(f"{text!r} is not NAME=VALUE, such as head__C=10")
    try:
        return name, json.loads(_AS_JSON.get(value, value))
    except ValueError:
        return name, value


def renaming(text: str) -> tuple[str, str | None]:
    """NAME=MEANING; without a meaning, None."""
    name, equals, meaning = text.partition("=")
    if not equals:
        raise argparse.ArgumentTypeError(f"{text!r} is not NAME=MEANING")
    return name, meaning or None


def positive_int(text: str) -> int:
    if not text.isdigit() or not int(text):
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number above 0")
    return int(text)


def whole_number(text: str) -> int:
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 0")
    return int(text)


def non_negative(text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = -1
    if not 0 <= number < float("inf"):
        raise argparse.ArgumentTypeError(f"{text!r} is not a number from 0")
    return number


def share(text: str) -> float:
    if non_negative(text) > 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number from 0 to 1")
    return float(text)


def class_shares(text: str) -> Any:
    """A class prior: uniform, none, or happy=0.5,sad=0.5."""
    from ferembed.priors import parse_prior  # which imports NumPy

    try:
        return parse_prior(text)
    except LabelError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def proportions(text: str) -> dict[str, float]:
    """Shares of the splits, written as 60/20/20."""
    try:
        parts = [float(part) for part in text.split("/")]
    except ValueError:
        parts = []
    if len(parts) not in (2, 3):
        raise argparse.ArgumentTypeError(f"{text!r} is not like 90/10 or 60/20/20")
    return dict(zip(("train", "validation", "test"), parts, strict=False))


def camera_or_video(text: str) -> int | str:
    """The number of a camera, or the path of a video."""
    return int(text) if text.isdecimal() else text


def given(options: argparse.Namespace, *names: str) -> dict[str, Any]:
    """The options of these names that were given, as keyword arguments.

    An option without a default (argparse.SUPPRESS) that is not given is left to the library, where
    its default is defined.
    """
    return {name: getattr(options, name) for name in names if hasattr(options, name)}


def refuse_together(options: argparse.Namespace, name: str, *others: str) -> None:
    """Raise an error if one of the others was given, too."""
    for other in others:
        if getattr(options, other, None):
            raise FerembedError(f"--{other.replace('_', '-')} does not go with --{name}.")


def refuse_without(options: argparse.Namespace, name: str, *others: str) -> None:
    """Raise an error if one of the others was given, which go with an option that is missing."""
    for other in others:
        if getattr(options, other, None):
            raise FerembedError(f"--{other.replace('_', '-')} goes with --{name}.")


def add_language(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--lang", choices=("en", "es"), default="en", help="the language of the labels"
    )


def add_settings(parser: argparse.ArgumentParser, meaning: str) -> None:
    parser.add_argument(
        "--set", type=key_value, action="append", default=[], metavar="NAME=VALUE", help=meaning
    )


def add_store(parser: argparse.ArgumentParser, default: str = "disk") -> None:
    parser.add_argument(
        "--store",
        default=default,
        help=f"where vectors are kept: disk, none, or a file ({default})",
    )


def add_engine(parser: argparse.ArgumentParser, store: str = "disk") -> None:
    parser.add_argument(
        "--engine",
        default=argparse.SUPPRESS,
        choices=ENGINES,
        metavar="ENGINE",
        help=f"{', '.join(ENGINES)} (auto)",
    )
    add_store(parser, store)


_BACKBONE_OPTIONS = {
    "backbone": "see: ferembed models; several, each by its own --backbone, are joined",
    "layer": "the layer that is the embedding; one for all, or one for each backbone",
    "weights": "a file of weights, or 'random'; '' is what ships, where others differ",
}


def add_backbones(parser: argparse._ActionsContainer, *names: str) -> None:
    for name in names:
        parser.add_argument(f"--{name}", action="append", default=[], help=_BACKBONE_OPTIONS[name])


def backbone_settings(options: argparse.Namespace) -> dict[str, Any]:
    """Arguments of an Embedder that name its backbones: a list of one is one for all."""
    given = {name: getattr(options, name, []) for name in _BACKBONE_OPTIONS}
    lists = {name: [value or None for value in values] for name, values in given.items() if values}
    return {name: values if len(values) > 1 else values[0] for name, values in lists.items()}


def add_embedding(parser: argparse.ArgumentParser) -> None:
    add_backbones(parser, *_BACKBONE_OPTIONS)
    parser.add_argument("--normalize", action="store_true", help="vectors of unit length")
    parser.add_argument(
        "--mirror-average", action="store_true", help="the mean of a face and its mirror image"
    )
    add_engine(parser)


def embedding_settings(options: argparse.Namespace) -> dict[str, Any]:
    """Arguments of an Embedder or a Pipeline."""
    return {
        **backbone_settings(options),
        **given(options, "normalize", "mirror_average", "store", "engine"),
        "progress": ProgressBar(quiet=options.quiet),
    }


def add_expressions(parser: argparse.ArgumentParser, meaning: str) -> None:
    parser.add_argument(
        "--expressions", type=int, choices=(7, 8), default=argparse.SUPPRESS, help=meaning
    )


def add_prior(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--prior",
        type=class_shares,
        default=argparse.SUPPRESS,
        metavar="SHARES",
        help="the share of each class among these faces: uniform, happy=0.5,sad=0.5 (all "
        "classes), or none for the shares in training; without it as the model was saved",
    )
    parser.add_argument(
        "--prior-strength",
        type=share,
        default=argparse.SUPPRESS,
        metavar="S",
        help="how much of that is done, from 0 to 1",
    )


PREDICTION = ("prior", "prior_strength", "expressions")  # settings of a model's predictions


def add_model_name(parser: argparse._ActionsContainer) -> None:
    parser.add_argument("--model", default="default", help="a model that ships, or a path")


def add_model(parser: argparse.ArgumentParser) -> None:
    """The model that reads photos or videos, and how."""
    add_model_name(parser)
    parser.add_argument(
        "--detector",
        default=argparse.SUPPRESS,
        help="auto (yunet where it has been fetched, else mtcnn), mtcnn, haar, yunet, dlib, or "
        "none where the picture is the face",
    )
    parser.add_argument(
        "--min-face",
        type=non_negative,
        default=argparse.SUPPRESS,
        metavar="SIZE",
        help="leave out smaller faces: below 1 a share of the photo's shorter side (0.05), from 1 "
        "on pixels",
    )
    parser.add_argument(
        "--fallback-whole-image",
        dest="fallback_to_whole_image",
        action="store_true",
        default=argparse.SUPPRESS,
        help="if no face is detected, classify the whole image",
    )
    parser.add_argument(
        "--max-pixels",
        type=positive_int,
        default=argparse.SUPPRESS,
        help="refuse larger photos unread",
    )
    add_expressions(parser, "predict 7, or 8 with contempt; else what the model knows")
    add_prior(parser)
    add_engine(parser, "none")
    add_language(parser)


def add_tracking(parser: argparse.ArgumentParser) -> None:
    """Options for following people in a video."""
    parser.add_argument(
        "--timeline", metavar="PNG", help="draw what each person in a video shows when"
    )
    parser.add_argument(
        "--every",
        dest="detect_every",
        type=positive_int,
        default=argparse.SUPPRESS,
        metavar="N",
        help="detect faces in every Nth frame and extrapolate in between",
    )
    parser.add_argument(
        "--smoothing",
        type=non_negative,
        default=argparse.SUPPRESS,
        metavar="SECONDS",
        help="the time constant of a person's probabilities; 0 leaves them as they are",
    )
