"""The seven expressions, in the order of FER2013, and their names in each language."""

from __future__ import annotations

from ferembed.errors import UnknownName
from ferembed.registry import unknown

EXPRESSIONS = ("angry", "disgust", "fear", "happy", "sad", "surprise", "neutral")

NAMES: dict[str, tuple[str, ...]] = {
    "en": ("Angry", "Disgust", "Fear", "Happy", "Sad", "Surprise", "Neutral"),
    "es": ("Enfado", "Asco", "Miedo", "Alegría", "Tristeza", "Sorpresa", "Neutral"),
}


def display_name(label: str, language: str = "en") -> str:
    """The name a reader sees; a label outside the seven is shown as it is.

    >>> display_name("happy", "es")
    'Alegría'
    """
    if language not in NAMES:
        raise UnknownName(unknown("language", language, list(NAMES)))
    return NAMES[language][EXPRESSIONS.index(label)] if label in EXPRESSIONS else label


def in_order(labels: list[str]) -> list[str]:
    """Labels as people read them: the seven in FER2013's order, then any others sorted.

    >>> in_order(["sad", "bored", "angry"])
    ['angry', 'sad', 'bored']
    """
    known = [label for label in EXPRESSIONS if label in labels]
    return known + sorted(set(labels) - set(EXPRESSIONS))
