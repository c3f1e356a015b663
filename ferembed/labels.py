"""The expressions, in the order of FER2013 and FER+, and their names in each language."""

from __future__ import annotations

from collections.abc import Iterable

from ferembed.errors import LabelError
from ferembed.translations import Translator

EXPRESSIONS = ("angry", "disgust", "fear", "happy", "sad", "surprise", "neutral")
"""The seven expressions of FER2013."""

CONTEMPT = "contempt"
EIGHT_EXPRESSIONS = (*EXPRESSIONS, CONTEMPT)
"""The seven expressions and contempt, as in FER+ and AffectNet."""


def display_name(label: str, language: str = "en") -> str:
    """The name of a label in a language; labels outside the eight are unchanged.

    >>> display_name("happy", "es")
    'Alegría'
    """
    return Translator(language).label(label)


def reading_order(labels: list[str]) -> list[str]:
    """Labels in reading order: the eight as in FER2013 and FER+, then others, sorted.

    >>> reading_order(["sad", "bored", "angry"])
    ['angry', 'sad', 'bored']
    """
    known = [label for label in EIGHT_EXPRESSIONS if label in labels]
    return known + sorted(set(labels) - set(EIGHT_EXPRESSIONS))


def expression_set(count: int) -> tuple[str, ...]:
    """The seven expressions, or the eight with contempt."""
    if count not in (7, 8):
        raise LabelError(f"expressions is {count!r}. It is 7, or 8 with contempt.")
    return EIGHT_EXPRESSIONS[:count]


def expressions_among(classes: Iterable[str]) -> int:
    """8 if contempt is among the classes, else 7.

    >>> expressions_among(["happy", "contempt"])
    8
    """
    return 8 if CONTEMPT in map(str, classes) else 7
