import pytest

from ferembed.errors import UnknownName
from ferembed.labels import EIGHT_EXPRESSIONS, EXPRESSIONS, display_name, reading_order
from ferembed.translations import LABELS


def test_the_order_is_that_of_fer2013():
    assert EXPRESSIONS == ("angry", "disgust", "fear", "happy", "sad", "surprise", "neutral")


def test_the_spanish_names():
    assert [display_name(label, "es") for label in EXPRESSIONS] == [
        "Enfado", "Asco", "Miedo", "Alegría", "Tristeza", "Sorpresa", "Neutral",
    ]  # fmt: skip
    assert display_name("contempt", "es") == "Desprecio"


def test_every_language_names_all_eight():
    for names in LABELS.values():
        assert tuple(names) == EIGHT_EXPRESSIONS
        assert len(set(names.values())) == 8


def test_a_foreign_label_is_shown_as_it_is_and_comes_last():
    assert display_name("bored") == "bored"
    assert reading_order(["bored", "contempt", "neutral", "amused", "fear"]) == [
        "fear",
        "neutral",
        "contempt",
        "amused",
        "bored",
    ]


def test_an_unknown_language_is_an_error():
    with pytest.raises(UnknownName, match="No language is called 'fr'. Known: en, es."):
        display_name("happy", "fr")
