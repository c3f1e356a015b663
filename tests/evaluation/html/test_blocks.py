"""Texts of others are shown as they are."""

import os
from dataclasses import replace

from ferembed.evaluation.evaluation import Evaluation
from ferembed.evaluation.html import write_report
from tests.helpers.pages import Page, made


def test_names_are_shown_as_they_are_and_never_taken_for_markup(tmp_path):
    nasty = '<script>alert("1")</script>|`*.png'
    evaluation = made(model=nasty, failures=(nasty,), data=(nasty,))
    evaluation = replace(
        evaluation, mistakes=(replace(evaluation.mistakes[0], name=nasty, target="<b>"),)
    )
    page = Page(write_report(tmp_path, evaluation))
    assert "script" not in {tag for tag, _ in page.elements}
    assert nasty in page.text
    markdown = (tmp_path / "report.md").read_text()
    assert "<script>" not in markdown.replace("\\<", "")
    assert "\\|\\`\\*.png" in markdown


def test_a_file_name_that_is_no_utf8_does_not_stop_the_page(tmp_path):
    evaluation = made()
    odd = os.fsdecode(b"caf\xe9.png")
    evaluation = replace(evaluation, mistakes=(replace(evaluation.mistakes[0], name=odd),))
    assert "caf\\udce9.png" in Page(write_report(tmp_path, evaluation)).text
    assert Evaluation.read(tmp_path).mistakes[0].name == odd
