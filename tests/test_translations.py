from pathlib import Path
from string import Formatter

import pytest

import ferembed
from ferembed.errors import UnknownName
from ferembed.translations import TEXTS, Translator


def test_both_languages_have_the_same_texts_with_the_same_fields():
    english, spanish = TEXTS["en"], TEXTS["es"]
    assert english.keys() == spanish.keys()
    for key in english:
        fields = [
            sorted(name for _, name, _, _ in Formatter().parse(text) if name)
            for text in (english[key], spanish[key])
        ]
        assert fields[0] == fields[1], key


def test_every_text_is_used():
    package = Path(ferembed.__file__).parent
    files = [
        *package.glob("evaluation/html/*.py"),
        *package.glob("evaluation/html/templates/*.html"),
        *package.glob("media/timeline*.py"),
        package / "cli" / "evaluate.py",
        package / "evaluation" / "evaluation.py",
        package / "report.py",
    ]
    source = "".join(file.read_text("utf-8") for file in files).replace("'", '"')
    assert [key for key in TEXTS["en"] if f'"{key}"' not in source] == []


def test_an_unknown_language_is_an_error():
    with pytest.raises(UnknownName, match="No language is called 'fr'"):
        Translator("fr")
