import re

import numpy as np
import pytest

from ferembed.errors import UnknownName
from ferembed.evaluation.evaluation import Evaluation
from ferembed.evaluation.html import write_report
from ferembed.labels import EXPRESSIONS
from tests.helpers.pages import Page, made


@pytest.mark.parametrize("language", ["en", "es"])
def test_a_report_is_one_page_that_needs_nothing_else(tmp_path, language):
    path = write_report(tmp_path, made(), language)
    assert path == tmp_path / "report.html"
    page = Page(path)
    assert page.elements[0] == ("html", {"lang": language})
    assert page.links
    assert all(link.startswith("data:image/jpeg;base64,") for link in page.links)
    assert not {"link", "script", "iframe"} & {tag for tag, _ in page.elements}
    assert "url(" not in page.source
    assert page.source.count("://") == page.source.count('xmlns="http://www.w3.org/2000/svg"')
    assert len(page.drawings) == 6
    assert all(drawing.get("aria-label") for drawing in page.drawings)


def test_a_report_shows_the_scores_with_and_without_duplicates(tmp_path):
    evaluation = made()
    page = Page(write_report(tmp_path, evaluation))
    report, alone = evaluation.report(), evaluation.report(deduplicated=True)
    assert "20 of 200 faces have a duplicate or near-duplicate in the training data." in page.text
    for one in (report, alone):
        assert f"{one.accuracy:.2%}" in page.text
        assert f"{one.weighted.f1:.3f}" in page.text
    assert f"{report.macro.precision:.3f}" in page.text
    assert "4.25\u00a0ms" in page.text
    assert "2.19\u00a0MB" in page.text
    assert "not measured: the vectors were in the store" in page.text


@pytest.mark.parametrize(
    ("duplicates", "said"),
    [
        (None, "The training data was not searched for duplicates"),
        (np.zeros(200, np.bool_), "None of the 200 faces has a duplicate"),
        (np.ones(200, np.bool_), "All 200 faces have a duplicate or near-duplicate"),
    ],
)
def test_a_report_shows_whether_duplicates_were_searched(tmp_path, duplicates, said):
    page = Page(write_report(tmp_path, made(duplicates=duplicates)))
    assert said in page.text
    assert "without duplicates" not in page.text


def test_the_drawn_confusion_is_the_counted_one(tmp_path):
    evaluation = made()
    report = evaluation.report()
    counts, shares = Page(write_report(tmp_path, evaluation)).drawings[:2]
    space = "{http://www.w3.org/2000/svg}"
    for drawing, rows, scale in (
        (counts, report.confusion, 1),
        (shares, report.normalised, 100),
    ):
        texts = [t.text for t in drawing.iter(f"{space}text") if t.get("pointer-events")]
        assert texts == [f"{scale * value:.0f}" for row in rows for value in row]
    tip = next(rect.find(f"{space}title").text for rect in counts.iter(f"{space}rect"))
    count = report.confusion[0][0]
    assert tip.startswith(f"true: Angry; predicted: Angry: {count} faces, ")


def test_spanish_pages_are_spanish(tmp_path):
    page = Page(write_report(tmp_path, made(count=2000, data=()), "es"))
    for words in (
        "Informe de mine",
        "Los errores con más confianza",
        "Alegría",
        "2\u202f000 caras",
    ):
        assert words in page.text
    for word in ("faces", "Happy", "predict", "accuracy", "The "):
        assert word not in page.text
    assert re.search(r"\d\d\.\d\d\u00a0%", page.text)
    markdown = (tmp_path / "report.md").read_text("utf-8")
    assert "## Resultados" in markdown
    assert "| Alegría |" in markdown


def test_an_unknown_language_is_refused_before_anything_is_written(tmp_path):
    with pytest.raises(UnknownName, match="No language is called 'fr'"):
        write_report(tmp_path / "out", made(), "fr")
    assert not (tmp_path / "out").exists()


def test_mistakes_stand_beside_their_neighbours_and_lost_pictures_are_counted(tmp_path):
    page = Page(write_report(tmp_path, made()))
    assert "2 of these pictures can no longer be read." in page.text
    assert len(page.links) == 4
    assert page.text.count("cannot be read") == 2
    for words in ("true: Happy", "predicted Sad, 97%", "test/one.png", "nearest training faces"):
        assert words in page.text
    none = Page(write_report(tmp_path, made(mistakes=())))
    assert "All predictions are right." in none.text


def test_the_psychologists_view_has_every_pair_and_the_correlation(tmp_path):
    evaluation = made()
    view = evaluation.confusability
    page = Page(write_report(tmp_path, evaluation))
    assert f"a rank correlation of {view.correlation.rho:.2f} (Spearman; p = " in page.text
    assert "Over the 15 pairs" in page.text
    assert f"over 21 pairs, it is {view.with_neutral.rho:.2f}" in page.text
    assert "1 + 2 + 5 + 26" in page.text
    assert "Neutral has no action units" in page.text
    for pair in view.unexplained:
        assert f"confusion {pair.confusion:.1%} ({pair.count} faces)" in page.text
    without = Page(write_report(tmp_path, made(["angry", "happy", "bored"])))
    assert "the correlation is undefined" in without.text
    assert "Excluded, because they have no faces here or no known units: bored" in without.text


def test_failures_are_counted_and_the_first_are_named(tmp_path):
    reasons = tuple(f"{i}.png is empty (0 bytes)." for i in range(12))
    page = Page(write_report(tmp_path, made(failures=reasons)))
    assert "12 faces could not be read and were skipped:" in page.text
    assert "9.png is empty" in page.text
    assert "10.png" not in page.text
    assert "and 2 more" in page.text


@pytest.mark.parametrize(
    ("labels", "count"),
    [
        (["happy"], 1),
        (["happy"], 5),
        (EXPRESSIONS, 1),
        (["a", "b"], 3),
        (list("abcdefghijkl"), 60),
        (["a label that is rather long", "b"], 9),
    ],
)
def test_few_faces_one_class_or_many_are_drawn_too(tmp_path, labels, count):
    page = Page(write_report(tmp_path, made(labels, count)))
    for drawing in page.drawings:
        left, top, width, height = map(float, drawing.get("viewBox").split())
        assert (left, top) == (0, 0)
        for shape in drawing.iter():
            for key, most in (("x", width), ("y", height), ("cx", width), ("cy", height)):
                assert 0 <= float(shape.get(key, 0)) <= most, (shape.tag, shape.attrib)
    assert "nan" not in page.source


def test_a_report_can_be_read_and_written_in_the_other_language(tmp_path):
    write_report(tmp_path / "en", made())
    again = write_report(tmp_path / "es", Evaluation.read(tmp_path / "en"), "es")
    assert "Informe de mine" in Page(again).text
    first, second = (tmp_path / name / "report.json" for name in ("en", "es"))
    assert first.read_text() == second.read_text()
