"""Names of expressions and splits in other data sets and languages."""

from __future__ import annotations

import pytest

from ferembed.datasets.vocabulary import expression, split_name


@pytest.mark.parametrize(
    ("name", "meaning"),
    [
        ("anger", "angry"),
        ("ENFADO", "angry"),
        ("Happiness", "happy"),
        ("alegría", "happy"),
        ("alegri\u0301a", "happy"),
        ("miedo", "fear"),
        ("Überraschung", "surprise"),
        ("dégoût", "disgust"),
        ("tristeza", "sad"),
        (" Neutral ", "neutral"),
        ("AF", "fear"),
        ("contempt", "contempt"),
        ("0", None),
    ],
)
def test_names_of_other_sets_and_languages_mean_one_of_the_seven(
    name: str, meaning: str | None
) -> None:
    assert expression(name) == meaning


def test_no_alias_means_two_expressions() -> None:
    from ferembed.datasets import vocabulary

    words = [word for text in vocabulary._EXPRESSIONS.values() for word in text.split()]
    assert len(words) == len(set(words))
    assert [vocabulary.normalize_name(word) for word in words] == words


@pytest.mark.parametrize(
    ("name", "split"),
    [
        ("PublicTest", "validation"),
        ("PrivateTest", "test"),
        ("val", "validation"),
        ("FER2013Train", "train"),
        ("images", None),
    ],
)
def test_names_of_splits(name: str, split: str | None) -> None:
    assert split_name(name) == split
