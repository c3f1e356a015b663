"""The report page: scores, charts, mistakes, action units and costs of one evaluation."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from pathlib import Path

from ferembed.evaluation.action_units import ACTION_UNITS, Pair
from ferembed.evaluation.evaluation import Evaluation
from ferembed.evaluation.html import charts
from ferembed.evaluation.html.blocks import Block, Bullets, Figure, Group, Mistakes, Table, Text
from ferembed.evaluation.html.page import Page, Section
from ferembed.evaluation.predictions import REPORT
from ferembed.evaluation.setup import Setup
from ferembed.report import ClassScore, Mean, Report
from ferembed.translations import Translator

_MOST_LISTED = 10
_SUMMARY = "support", "accuracy", "macro f1", "weighted f1", "calibration error"


def write_report(
    folder: str | os.PathLike[str], evaluation: Evaluation, language: str = "en"
) -> Path:
    """Write report.json, report.md and report.html into the folder; the path of the HTML.

    The JSON is complete: `Evaluation.read` reads it, for example to write the pages again in the
    other language.
    """
    tr = Translator(language)
    title = tr("report", model=evaluation.model or "ferembed")
    page = Page(title, report_sections(evaluation, tr), tr)
    return page.write(Path(folder), "report", {REPORT: evaluation.to_json()})


def report_sections(evaluation: Evaluation, tr: Translator) -> list[Section]:
    """The sections of a report page."""
    report = evaluation.report()
    setup = evaluation.setup
    return [
        Section(tr("numbers"), _scores(evaluation, report, tr)),
        *([] if setup is None else [Section(tr("setup"), [_setup(setup, tr)])]),
        Section(tr("figures"), [Group("charts", _figures(report, tr))]),
        Section(tr("mistakes"), _mistakes(evaluation, tr)),
        Section(tr("psychology"), _psychology(evaluation, tr)),
        Section(tr("costs"), [_costs(evaluation, tr)]),
        Section(tr("data"), _data(evaluation, tr)),
    ]


# --- scores ---------------------------------------------------------------------------------------


def _scores(evaluation: Evaluation, report: Report, tr: Translator) -> list[Block]:
    duplicates = evaluation.duplicates
    count = tr.count(report.count)
    summaries = [_summary(report, tr("all faces"), tr)]
    if duplicates is None:
        note = tr("duplicates unknown")
    elif not duplicates.any():
        note = tr("duplicates none", count=count)
    elif duplicates.all():
        note = tr("duplicates all", count=count)
    else:
        note = tr("duplicates", duplicates=tr.count(int(duplicates.sum())), count=count)
        others = evaluation.report(deduplicated=True)
        summaries.append(_summary(others, tr("deduplicated"), tr))
    rows = []
    for label, score in report.classes.items():
        counts = [tr.count(n) for n in (score.support, report.predicted[label])]
        rows.append([tr.label(label), *_three(score), *counts])
    for key, mean in (("macro", report.macro), ("weighted", report.weighted)):
        rows.append([tr(key), *_three(mean), "", ""])
    keys = "class", "precision", "recall", "f1", "support", "predicted"
    return [
        Text(tr("headline", count=count, split=evaluation.split)),
        Text(note),
        Group(
            "beside",
            [
                Table.of_texts(["", *(tr(key) for key in _SUMMARY)], summaries),
                Table.of_texts([tr(key) for key in keys], rows),
            ],
        ),
    ]


def _setup(setup: Setup, tr: Translator) -> Table:
    given = ", ".join(f"{name}={value}" for name, value in setup.parameters.items())
    rows = {
        "backbone": setup.backbone,
        "head": setup.head,
        "parameters": given or tr("defaults"),
        "detector": setup.detector,
        "date": setup.date,
    }
    return Table.of_texts(["", ""], [[tr(key), text] for key, text in rows.items()], 2)


def _three(score: ClassScore | Mean) -> list[str]:
    return [f"{value:.3f}" for value in (score.precision, score.recall, score.f1)]


def _summary(report: Report, name: str, tr: Translator) -> list[str]:
    scores = [report.macro_f1, report.weighted.f1, report.calibration_error]
    return [
        name,
        tr.count(report.count),
        tr.percent(report.accuracy),
        *(f"{score:.3f}" for score in scores),
    ]


# --- charts ---------------------------------------------------------------------------------------


def _figures(report: Report, tr: Translator) -> list[Figure]:
    return [
        *_confusion(report, tr),
        _frequencies(report, tr),
        _calibration(report, tr),
        _coverage(report, tr),
    ]


def _confusion(report: Report, tr: Translator) -> list[Figure]:
    """The confusion matrix as counts and as shares."""
    names = [tr.label(label) for label in report.labels]
    tips = [
        [
            f"{tr('true')}: {one}; {tr('predicted')}: {other}: "
            f"{tr('faces', count=tr.count(n))}, {tr.percent(share, 1)}"
            for other, n, share in zip(names, row, shares, strict=True)
        ]
        for one, row, shares in zip(names, report.confusion, report.normalised, strict=True)
    ]
    most = max(max(row) for row in report.confusion)
    strength = [[n / most for n in row] for row in report.confusion]
    counts = [[tr.count(n) for n in row] for row in report.confusion]
    shares = [[f"{100 * share:.0f}" for share in row] for row in report.normalised]
    figures = []
    for key, values, texts in (
        ("confusion", strength, counts),
        ("normalised", report.normalised, shares),
    ):
        rows = [[name, *row] for name, row in zip(names, texts, strict=True)]
        figures.append(
            Figure(
                title=tr(key),
                svg=charts.heatmap(tr(key), names, values, texts, tips, tr("confusion axis")),
                note=tr("confusion note"),
                table=Table.of_texts(["", *names], rows),
            )
        )
    return figures


def _frequencies(report: Report, tr: Translator) -> Figure:
    title = tr("predicted title")
    pairs = [
        (tr.label(label), report.classes[label].support, report.predicted[label])
        for label in report.labels
    ]
    svg = charts.bars(title, pairs, (tr("true"), tr("predicted")), tr.count)
    return Figure(title=title, svg=svg, note=tr("predicted note"))


def _calibration(report: Report, tr: Translator) -> Figure:
    title = tr("calibration")
    bins = [(bin.confidence, bin.accuracy, bin.count) for bin in report.calibration]
    head = [tr(key) for key in ("confidence", "accuracy", "predictions")]
    rows = [
        [tr.percent(confidence, 1), tr.percent(accuracy, 1), tr.count(count)]
        for confidence, accuracy, count in bins
    ]
    return Figure(
        title=title,
        svg=charts.calibration(title, bins, (head[0], head[1]), _tips(head, rows)),
        note=tr("calibration note"),
        table=Table.of_texts(head, rows, 0),
    )


def _coverage(report: Report, tr: Translator) -> Figure:
    title = tr("coverage")
    points = [(one.coverage, one.accuracy) for one in report.coverage]
    head = [tr(key) for key in ("coverage axis", "accuracy", "least")]
    rows = [
        [tr.percent(one.coverage, 0), tr.percent(one.accuracy, 1), tr.percent(one.confidence, 1)]
        for one in report.coverage
    ]
    return Figure(
        title=title,
        svg=charts.curve(title, points, (head[0], head[1]), _tips(head, rows)),
        note=tr("coverage note"),
        table=Table.of_texts(head, rows, 0),
    )


def _tips(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Each row in words."""
    return ["; ".join(map(": ".join, zip(head, row, strict=True))) for row in rows]


# --- mistakes, action units, costs, data ----------------------------------------------------------


def _mistakes(evaluation: Evaluation, tr: Translator) -> list[Block]:
    mistakes = evaluation.mistakes
    if not mistakes:
        return [Text(tr("mistakes none"))]
    notes = [tr("mistakes note")]
    if any(mistake.neighbours for mistake in mistakes):
        notes.append(tr("mistakes near"))
    pictures = [mistake.picture for mistake in mistakes]
    pictures += [one.picture for mistake in mistakes for one in mistake.neighbours]
    if lost := pictures.count(None):
        notes.append(tr("mistakes lost", count=lost))
    return [*map(Text, notes), Mistakes(mistakes, tr)]


def _psychology(evaluation: Evaluation, tr: Translator) -> list[Block]:
    view = evaluation.confusability
    notes = [tr("psychology note")]
    if view.correlation is None:
        notes.append(tr("correlation none"))
    else:
        found = ("correlation", view.correlation), ("correlation neutral", view.with_neutral)
        sentences = [
            tr(key, n=one.n, rho=f"{one.rho:.2f}", p=f"{one.p:.3f}") for key, one in found if one
        ]
        notes.append(" ".join([*sentences, tr("p")]))
    if any("neutral" in pair.labels for pair in view.pairs):
        notes.append(tr("neutral"))
    blocks: list[Block] = [Text(note) for note in notes]
    if view.unexplained:
        blocks.append(Text(tr("unexplained")))
        blocks.append(Bullets([_pair_text(pair, tr) for pair in view.unexplained]))
    elif view.pairs:
        blocks.append(Text(tr("unexplained none")))
    if view.left_out:
        labels = ", ".join(map(tr.label, view.left_out))
        blocks.append(Text(tr("psychology out", labels=labels)))
    units = [[tr.label(label), _units(sorted(of), tr)] for label, of in ACTION_UNITS.items()]
    table = Table.of_texts([tr("class"), tr("units")], units, 2)
    pairs = _pairs(view.pairs, view.unexplained, tr) if view.pairs else []
    return [*blocks, Group("beside", [*pairs, table])]


def _pairs(pairs: Sequence[Pair], unexplained: Sequence[Pair], tr: Translator) -> list[Block]:
    """Overlap and confusion of each pair as a plot and as a table."""
    dots = [
        charts.Dot(
            pair.overlap,
            pair.confusion,
            _name(pair, tr),
            _pair_text(pair, tr),
            2 if pair in unexplained else 0,
        )
        for pair in pairs
    ]
    title = tr("units title")
    svg = charts.scatter(title, dots, (tr("expected"), tr("measured")))
    rows = [
        [
            _name(pair, tr),
            _units(pair.units, tr),
            f"{pair.overlap:.3f}",
            tr.percent(pair.confusion, 1),
            tr.count(pair.count),
        ]
        for pair in sorted(pairs, key=lambda pair: -pair.confusion)
    ]
    head = [tr(key) for key in ("pair", "shared", "expected", "measured", "taken")]
    note = tr("units note") if unexplained else ""
    return [Figure(title=title, svg=svg, note=note), Table.of_texts(head, rows, 2)]


def _name(pair: Pair, tr: Translator) -> str:
    return " – ".join(map(tr.label, pair.labels))


def _units(units: Iterable[int], tr: Translator) -> str:
    return " + ".join(map(str, units)) or tr("none")


def _pair_text(pair: Pair, tr: Translator) -> str:
    return (
        f"{_name(pair, tr)}: {tr('measured')} {tr.percent(pair.confusion, 1)} "
        f"({tr('faces', count=tr.count(pair.count))}), {tr('expected')} {pair.overlap:.2f}, "
        f"{tr('shared')}: {_units(pair.units, tr)}"
    )


def _costs(evaluation: Evaluation, tr: Translator) -> Table:
    costs = evaluation.costs
    rows = []
    for key, value, unit in (
        ("embed", costs.embed_seconds, "s"),
        ("fit", costs.fit_seconds, "s"),
        ("predict", costs.predict_ms, "ms"),
        ("bytes", None if costs.bytes is None else costs.bytes / 1e6, "MB"),
    ):
        why = tr("in store" if key == "embed" else "not measured")
        rows.append([tr(key), why if value is None else f"{value:.3g}\u00a0{unit}"])
    return Table.of_texts(["", ""], rows, 2)


def _data(evaluation: Evaluation, tr: Translator) -> list[Block]:
    blocks: list[Block] = [Bullets(evaluation.data)]
    if evaluation.failures:
        shown = list(evaluation.failures[:_MOST_LISTED])
        if more := len(evaluation.failures) - len(shown):
            shown.append(tr("more", count=tr.count(more)))
        count = tr.count(len(evaluation.failures))
        blocks += [Text(tr("failures", count=count)), Bullets(shown)]
    return blocks
