"""Pages: results as files that a person looks at, each whole in itself, in English or Spanish."""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any, TypeAlias

from ferembed import __version__
from ferembed.errors import DataError
from ferembed.evaluation.action_units import ACTION_UNITS, Pair
from ferembed.evaluation.comparison import REPORT
from ferembed.evaluation.evaluation import Evaluation, Mistake
from ferembed.evaluation.html import charts
from ferembed.evaluation.html.translations import Phrases
from ferembed.report import ClassScore, Mean, Report
from ferembed.storage.files import atomic_write

_MOST_LISTED = 10
_DASH = "–"


def write_report(
    folder: str | os.PathLike[str], evaluation: Evaluation, language: str = "en"
) -> Path:
    """Write report.json, report.md and report.html into the folder; the path of the HTML.

    The JSON is everything: `Evaluation.read` reads it, and writes the pages again in the other
    language.
    """
    say = Phrases(language)
    title = say("report", model=evaluation.model or "ferembed")
    sections = list(_report_sections(evaluation, say))
    files = {REPORT: evaluation.to_json(), **_pages(title, sections, say, "report")}
    return _written(Path(folder), files, "report")


def write_grid(
    folder: str | os.PathLike[str],
    title: str,
    cells: Sequence[Mapping[str, Any]],
    columns: Sequence[tuple[str, str]],
    *,
    evaluation: Evaluation | None = None,
    chosen: str | None = None,
    notes: Sequence[str] = (),
    language: str = "en",
) -> Path:
    """Write grid.md, grid.html and the chosen one's report.json; the path of the HTML.

    The page has the `notes` as paragraphs, the table of `cells` (a reader sorts it by a click on
    a heading), the trade-off plot, and the full report on `evaluation`, the one that was chosen.

    A cell is a mapping. `columns` says which of its entries are shown, as pairs of (key, heading):
    an int is shown with separators, a float as a percentage if its key has "accuracy" or
    "reference" in it and else with three digits that count, None and what is missing as a dash,
    anything else as its text. The cell whose "name" is `chosen` is marked. An entry under
    "error" marks a cell that failed: its text stands in the place of what is missing.

    The plot takes the entries "name", "accuracy", "predict_ms", "fit_seconds" and "bytes"; cells
    without an accuracy are not drawn. An optional entry "group" (such as the head) gives cells
    that share it one colour.
    """
    say = Phrases(language)
    sections = [
        _Section(say("grid"), [*notes, _grid_table(cells, columns, chosen, say)]),
        _Section(say("tradeoff"), _tradeoff(cells, say)),
    ]
    files = {}
    if evaluation is not None:
        files[REPORT] = evaluation.to_json()
        head = say("report", model=evaluation.model or chosen or "ferembed")
        first, *rest = _report_sections(evaluation, say)
        sections += [_Section(f"{head}: {first.title.lower()}", first.blocks), *rest]
    files |= _pages(title, sections, say, "grid")
    return _written(Path(folder), files, "grid")


def open_folder(folder: str | os.PathLike[str]) -> None:
    """Make the folder, if it is not there, and see that files can be written into it."""
    try:
        Path(folder).mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        reason = error.strerror or error
        raise DataError(
            f"Nothing can be written to {os.fspath(folder)}: {reason}. Choose another folder."
        ) from None


# --- what a page is made of -----------------------------------------------------------------------


@dataclass(frozen=True)
class _Table:
    head: Sequence[str]
    rows: Sequence[Sequence[str]]
    values: Sequence[Sequence[Any]] = ()  # what a reader sorts by, for a table that can be sorted
    marked: int | None = None
    hint: str = ""  # of what one can do in a browser


@dataclass(frozen=True)
class _Figure:
    title: str
    svg: str
    note: str = ""
    table: _Table | None = None  # the same in Markdown


@dataclass(frozen=True)
class _List:
    items: Sequence[str]


@dataclass(frozen=True)
class _Beside:
    """Blocks side by side where there is room."""

    blocks: Sequence[_Table | _Figure]


@dataclass(frozen=True)
class _Key:
    names: Sequence[str]


@dataclass(frozen=True)
class _Sheet:
    mistakes: Sequence[Mistake]
    say: Phrases


_Block: TypeAlias = "str | _Table | _Figure | _Beside | _List | _Key | _Sheet"


@dataclass(frozen=True)
class _Section:
    title: str
    blocks: Iterable[_Block]


# --- the report -----------------------------------------------------------------------------------


def _report_sections(evaluation: Evaluation, say: Phrases) -> Iterator[_Section]:
    report = evaluation.report()
    count = say.count(report.count)
    head = say("headline", count=count, split=evaluation.split)
    yield _Section(say("numbers"), [head, *_scores(evaluation, report, say)])
    yield _Section(say("figures"), _figures(report, say))
    yield _Section(say("mistakes"), _mistakes(evaluation, say))
    yield _Section(say("psychology"), _psychology(evaluation, say))
    yield _Section(say("costs"), [_costs(evaluation, say)])
    blocks: list[_Block] = [_List(evaluation.data)]
    if evaluation.failures:
        shown = list(evaluation.failures[:_MOST_LISTED])
        if more := len(evaluation.failures) - len(shown):
            shown.append(say("more", count=say.count(more)))
        blocks += [say("failures", count=say.count(len(evaluation.failures))), _List(shown)]
    yield _Section(say("data"), blocks)


def _scores(evaluation: Evaluation, report: Report, say: Phrases) -> Iterator[_Block]:
    copies = evaluation.copies
    count = say.count(report.count)
    summaries = [_summary(report, say("all faces"), say)]
    if copies is None:
        yield say("copies unknown")
    elif not copies.any():
        yield say("copies none", count=count)
    elif copies.all():
        yield say("copies all", count=count)
    else:
        yield say("copies", copies=say.count(int(copies.sum())), count=count)
        apart = evaluation.report(without_copies=True)
        summaries.append(_summary(apart, say("without copies"), say))
    rows = []
    for label, score in report.classes.items():
        counts = [say.count(n) for n in (score.support, report.predicted[label])]
        rows.append([say.label(label), *_three(score), *counts])
    rows += [
        [say(key), *_three(mean), "", ""]
        for key, mean in (("macro", report.macro), ("weighted", report.weighted))
    ]
    keys = "class", "precision", "recall", "f1", "support", "predicted"
    yield _Beside(
        [
            _Table(["", *(say(key) for key in _SUMMARY)], summaries),
            _Table([say(key) for key in keys], rows),
        ]
    )


def _three(score: ClassScore | Mean) -> list[str]:
    return [f"{value:.3f}" for value in (score.precision, score.recall, score.f1)]


_SUMMARY = "support", "accuracy", "macro f1", "weighted f1", "calibration error"


def _summary(report: Report, name: str, say: Phrases) -> list[str]:
    scores = [report.macro_f1, report.weighted.f1, report.calibration_error]
    return [
        name,
        say.count(report.count),
        say.percent(report.accuracy),
        *(f"{score:.3f}" for score in scores),
    ]


def _figures(report: Report, say: Phrases) -> Iterator[_Block]:
    names = [say.label(label) for label in report.labels]
    tips = [
        [
            f"{say('true')}: {one}; {say('answer')}: {other}: {say('faces', count=say.count(n))}, "
            f"{say.percent(share, 1)}"
            for other, n, share in zip(names, row, shares, strict=True)
        ]
        for one, row, shares in zip(names, report.confusion, report.normalised, strict=True)
    ]
    most = max(max(row) for row in report.confusion)
    strength = [[n / most for n in row] for row in report.confusion]
    counts = [[say.count(n) for n in row] for row in report.confusion]
    shares = [[f"{100 * share:.0f}" for share in row] for row in report.normalised]
    for key, values, texts in (
        ("confusion", strength, counts),
        ("normalised", report.normalised, shares),
    ):
        rows = [[name, *row] for name, row in zip(names, texts, strict=True)]
        yield _Figure(
            say(key),
            charts.heatmap(say(key), names, values, texts, tips, say("confusion axis")),
            say("confusion note"),
            _Table(["", *names], rows),
        )
    pairs = [
        (name, report.classes[label].support, report.predicted[label])
        for name, label in zip(names, report.labels, strict=True)
    ]
    yield _Figure(
        say("predicted title"),
        charts.bars(say("predicted title"), pairs, (say("true"), say("answer")), say.count),
        say("predicted note"),
    )
    bins = [(bin.confidence, bin.accuracy, bin.count) for bin in report.calibration]
    head = [say(key) for key in ("confidence", "accuracy", "answers")]
    told = [
        [say.percent(confidence, 1), say.percent(accuracy, 1), say.count(count)]
        for confidence, accuracy, count in bins
    ]
    yield _Figure(
        say("calibration"),
        charts.calibration(say("calibration"), bins, (head[0], head[1]), _tips(head, told)),
        say("calibration note"),
        _Table(head, told),
    )
    points = [(one.coverage, one.accuracy) for one in report.coverage]
    head = [say(key) for key in ("coverage axis", "accuracy", "least")]
    told = [
        [say.percent(one.coverage, 0), say.percent(one.accuracy, 1), say.percent(one.confidence, 1)]
        for one in report.coverage
    ]
    yield _Figure(
        say("coverage"),
        charts.curve(say("coverage"), points, (head[0], head[1]), _tips(head, told)),
        say("coverage note"),
        _Table(head, told),
    )


def _tips(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Each row in words."""
    return ["; ".join(map(": ".join, zip(head, row, strict=True))) for row in rows]


def _mistakes(evaluation: Evaluation, say: Phrases) -> Iterator[_Block]:
    mistakes = evaluation.mistakes
    if not mistakes:
        yield say("mistakes none")
        return
    yield say("mistakes note")
    if any(mistake.neighbours for mistake in mistakes):
        yield say("mistakes near")
    pictures = [mistake.picture for mistake in mistakes]
    pictures += [one.picture for mistake in mistakes for one in mistake.neighbours]
    lost = pictures.count(None)
    if lost:
        yield say("mistakes lost", count=lost)
    yield _Sheet(mistakes, say)


def _psychology(evaluation: Evaluation, say: Phrases) -> Iterator[_Block]:
    view = evaluation.confusability
    yield say("psychology note")
    if view.correlation is None:
        yield say("correlation none")
    else:
        yield (
            " ".join(
                say(key, n=one.n, rho=f"{one.rho:.2f}", p=f"{one.p:.3f}")
                for key, one in (
                    ("correlation", view.correlation),
                    ("correlation neutral", view.with_neutral),
                )
                if one
            )
            + f" {say('p')}"
        )
    if any("neutral" in pair.labels for pair in view.pairs):
        yield say("neutral")
    if view.unexplained:
        yield say("unexplained")
        yield _List([_told(pair, say) for pair in view.unexplained])
    elif view.pairs:
        yield say("unexplained none")
    if view.left_out:
        yield say("psychology out", labels=", ".join(map(say.label, view.left_out)))
    beside: list[_Table | _Figure] = []
    if view.pairs:
        dots = [
            charts.Dot(
                pair.overlap,
                pair.confusion,
                _name(pair, say),
                _told(pair, say),
                2 if pair in view.unexplained else 0,
            )
            for pair in view.pairs
        ]
        axes = say("expected"), say("measured")
        note = say("units note") if view.unexplained else ""
        title = say("units title")
        beside.append(_Figure(title, charts.scatter(title, dots, axes), note))
        ordered = sorted(view.pairs, key=lambda pair: -pair.confusion)
        head = [say(key) for key in ("pair", "shared", "expected", "measured", "taken")]
        beside.append(_Table(head, [_row(pair, say) for pair in ordered]))
    units = [
        [say.label(label), _units(sorted(units), say)] for label, units in ACTION_UNITS.items()
    ]
    yield _Beside([*beside, _Table([say("class"), say("units")], units)])


def _row(pair: Pair, say: Phrases) -> list[str]:
    return [
        _name(pair, say),
        _units(pair.units, say),
        f"{pair.overlap:.3f}",
        say.percent(pair.confusion, 1),
        say.count(pair.count),
    ]


def _name(pair: Pair, say: Phrases) -> str:
    return " – ".join(map(say.label, pair.labels))


def _units(units: Iterable[int], say: Phrases) -> str:
    return " + ".join(map(str, units)) or say("none")


def _told(pair: Pair, say: Phrases) -> str:
    return (
        f"{_name(pair, say)}: {say('measured')} {say.percent(pair.confusion, 1)} "
        f"({say('faces', count=say.count(pair.count))}), {say('expected')} {pair.overlap:.2f}, "
        f"{say('shared')}: {_units(pair.units, say)}"
    )


def _costs(evaluation: Evaluation, say: Phrases) -> _Table:
    costs = evaluation.costs
    rows = []
    for key, value, unit in (
        ("embed", costs.embed_seconds, "s"),
        ("fit", costs.fit_seconds, "s"),
        ("predict", costs.predict_ms, "ms"),
        ("bytes", None if costs.bytes is None else costs.bytes / 1e6, "MB"),
    ):
        why = say("in store" if key == "embed" else "not measured")
        rows.append([say(key), why if value is None else f"{value:.3g}\u00a0{unit}"])
    return _Table(["", ""], rows)


# --- the grid -------------------------------------------------------------------------------------


def _grid_table(
    cells: Sequence[Mapping[str, Any]],
    columns: Sequence[tuple[str, str]],
    chosen: str | None,
    say: Phrases,
) -> _Table:
    rows, values, marked = [], [], None
    for number, cell in enumerate(cells):
        row = [_shown(key, cell.get(key), say) for key, _ in columns]
        if cell.get("error"):
            missing = next((i for i, (key, _) in enumerate(columns) if cell.get(key) is None), -1)
            row[missing] = say("error", error=cell["error"])
        if chosen is not None and cell.get("name") == chosen:
            marked = number
            row[0] += f" ({say('chosen')})"
        rows.append(row)
        values.append([cell.get(key) for key, _ in columns])
    heads = [heading for _, heading in columns]
    return _Table(heads, rows, values, marked, say("grid sort"))


def _shown(key: str, value: Any, say: Phrases) -> str:
    if value is None:
        return _DASH
    if isinstance(value, float):
        as_share = "accuracy" in key or "reference" in key
        return say.percent(value) if as_share else f"{value:.3g}"
    if isinstance(value, int) and not isinstance(value, bool):
        return say.count(value)
    return str(value)


def _tradeoff(cells: Sequence[Mapping[str, Any]], say: Phrases) -> Iterator[_Block]:
    drawn = [cell for cell in cells if _is_drawn(cell.get("accuracy"), -1)]
    groups = list(dict.fromkeys(str(cell["group"]) for cell in drawn if cell.get("group")))
    yield say("plot frontier")
    if groups:
        yield _Key(groups)
    for key, phrase, scale in (
        ("predict_ms", "time predict", 1.0),
        ("fit_seconds", "time fit", 1.0),
        ("bytes", "size", 1e-6),
    ):
        kept = [cell for cell in drawn if _is_drawn(cell.get(key), 0)]
        if not kept:
            yield _Figure(say(phrase), "", say("plot none"))
            continue
        places = [(cell[key] * scale, float(cell["accuracy"])) for cell in kept]
        best = _frontier(places)
        dots = [
            charts.Dot(
                x,
                y,
                str(cell.get("name", "")) if i in best else "",
                f"{cell.get('name', '')}: {say.percent(y)}, {x:.3g} {say(phrase)}",
                groups.index(str(cell["group"])) if cell.get("group") else 0,
            )
            for i, (cell, (x, y)) in enumerate(zip(kept, places, strict=True))
        ]
        axes = say(phrase), say("accuracy")
        svg = charts.scatter(say(phrase), dots, axes, logarithmic=True, line=best)
        left_out = len(drawn) - len(kept)
        note = say("plot left out", count=left_out) if left_out else ""
        yield _Figure(say(phrase)[0].upper() + say(phrase)[1:], svg, note)


def _is_drawn(value: Any, above: float) -> bool:
    return isinstance(value, (int, float)) and above < value < float("inf")


def _frontier(places: Sequence[tuple[float, float]]) -> list[int]:
    """Those that none betters in both: less to pay and more accurate, the cheapest first."""
    best: list[int] = []
    for i in sorted(range(len(places)), key=lambda i: (places[i][0], -places[i][1])):
        if not best or places[i][1] > places[best[-1]][1]:
            best.append(i)
    return best


# --- HTML -----------------------------------------------------------------------------------------

_PAGE = """<!doctype html>
<html lang="{language}">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>{title}</title>
<style>{style}</style>
</head>
<body>
<main>
<h1>{title}</h1>
{body}
<footer>{footer}</footer>
</main>{script}
</body>
</html>
"""
_STYLE = """
:root { --ink: #1c2430; --pale: #5b6675; --paper: #ffffff; --card: #f6f7f9; --rule: #d5dae1;
  --truth: #bcc4cf; --accent: #1d5fc2; --s1: #c2571a; --s2: #b0307c; --s3: #0c7d63; --s4: #6a4fc4;
  --s5: #7a6a00; }
@media screen and (prefers-color-scheme: dark) {
  :root { --ink: #e8ebf0; --pale: #a3adbb; --paper: #12161d; --card: #1b212b; --rule: #39424f;
    --truth: #566272; --accent: #7fb2ff; --s1: #ff9f63; --s2: #ff8fcb; --s3: #4fd3b0; --s4: #b9a5ff;
    --s5: #e2cf5b; }
}
* { box-sizing: border-box; }
body { margin: 0; background: var(--paper); color: var(--ink);
  font: 16px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, sans-serif; }
main { max-width: 1320px; margin: 0 auto; padding: 24px 20px 48px; }
h1 { font-size: 1.7rem; line-height: 1.25; margin: 0 0 .5rem; overflow-wrap: anywhere; }
h2 { font-size: 1.2rem; margin: 2.4rem 0 .6rem; overflow-wrap: anywhere; }
h3 { font-size: .95rem; margin: 0 0 .6rem; }
p, ul { max-width: 48rem; margin: .5rem 0; overflow-wrap: anywhere; }
ul { padding-left: 1.2rem; }
.wide { overflow-x: auto; margin: .8rem 0; max-width: 100%; }
.beside { display: flex; flex-wrap: wrap; gap: 0 40px; align-items: flex-start; }
.beside > figure { flex: 1 1 min(100%, 380px); margin: .8rem 0; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; font-size: .92rem; }
th, td { padding: .3rem .7rem; text-align: left; border-bottom: 1px solid var(--rule);
  vertical-align: top; }
th { font-weight: 600; color: var(--pale); }
.n { text-align: right; white-space: nowrap; }
tr.marked td { background: var(--card); font-weight: 600; }
.sortable td:first-child { min-width: 8rem; }
.failed { min-width: 12rem; color: var(--pale); }
.hint { color: var(--pale); font-size: .85rem; }
th button { all: unset; cursor: pointer; color: inherit; }
th button:focus-visible { outline: 2px solid var(--accent); }
th[aria-sort=ascending] button::after { content: " ▲"; }
th[aria-sort=descending] button::after { content: " ▼"; }
.charts { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(100%, 380px), 1fr));
  gap: 16px; margin: .8rem 0; align-items: start; }
figure { margin: 0; padding: 14px; background: var(--card); border-radius: 10px; max-width: 560px; }
figcaption { color: var(--pale); font-size: .85rem; margin-top: .5rem; }
.legend { color: var(--pale); font-size: .9rem; }
.key { display: inline-block; margin-right: 1rem; }
.key svg { display: inline-block; width: 10px; margin-right: 5px; }
.sheet { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(100%, 300px), 1fr));
  gap: 12px; margin: .8rem 0; }
.mistake { display: grid; grid-template-columns: 84px 1fr; gap: 4px 12px; background: var(--card);
  border-radius: 10px; padding: 12px; font-size: .88rem; line-height: 1.35; }
.mistake > .face { width: 84px; height: 84px; grid-row: span 1; }
.face { display: block; object-fit: contain; border-radius: 5px; background: var(--rule);
  color: var(--pale); font-size: .65rem; text-align: center; overflow: hidden; }
.mistake small { color: var(--pale); overflow-wrap: anywhere; }
.near { grid-column: 1 / -1; display: grid; grid-template-columns: repeat(5, 1fr); gap: 6px;
  font-size: .68rem; line-height: 1.25; text-align: center; margin-top: 6px; }
.near .face { width: 100%; aspect-ratio: 1; height: auto; }
.near-title { grid-column: 1 / -1; color: var(--pale); font-size: .75rem; margin: 6px 0 -4px; }
.near b { font-weight: 500; overflow-wrap: anywhere; }
footer { margin-top: 3rem; color: var(--pale); font-size: .85rem; }
@media (max-width: 520px) {
  main { padding: 16px 14px 40px; }
  table { font-size: .82rem; }
  th, td { padding: .25rem .4rem; }
}
@media print {
  @page { margin: 14mm; }
  body { font-size: 11pt; }
  main { max-width: none; padding: 0; }
  figure, .mistake, tr { break-inside: avoid; }
  h2 { break-after: avoid; }
  .charts { grid-template-columns: 1fr 1fr; }
  .sheet { grid-template-columns: 1fr 1fr 1fr; }
  .near { font-size: .55rem; }
  .wide { overflow: visible; }
  svg, .face, .mistake, figure { print-color-adjust: exact; -webkit-print-color-adjust: exact; }
}
"""
_SORT = """
<script>
for (const table of document.querySelectorAll("table.sortable")) {
  const heads = [...table.tHead.rows[0].cells];
  heads.forEach((head, column) => head.querySelector("button").addEventListener("click", () => {
    const up = head.getAttribute("aria-sort") === "descending" ||
      (!head.hasAttribute("aria-sort") && !head.classList.contains("n"));
    heads.forEach(other => other.removeAttribute("aria-sort"));
    head.setAttribute("aria-sort", up ? "ascending" : "descending");
    const value = row => row.cells[column].dataset.v;
    const order = (a, b) => {
      if (a === "" || b === "") return (a === "") - (b === "");
      const apart = isNaN(a) || isNaN(b) ? a.localeCompare(b) : a - b;
      return up ? apart : -apart;
    };
    const body = table.tBodies[0];
    body.append(...[...body.rows].sort((a, b) => order(value(a), value(b))));
  }));
}
</script>"""
_NUMBER = re.compile(r"[-+–]?\d[\d.,\s\u202f\u00a0]*(%|s|ms|MB)?|–|")


def _pages(title: str, sections: Sequence[_Section], say: Phrases, name: str) -> dict[str, str]:
    """The same page as HTML and as Markdown."""
    sections = [_Section(one.title, list(one.blocks)) for one in sections]
    footer = say("footer", version=__version__)
    body = "\n".join(
        f"<section>\n<h2>{escape(one.title)}</h2>\n"
        + "\n".join(map(_html, _grouped(one.blocks)))
        + "\n</section>"
        for one in sections
    )
    sorts = any(isinstance(b, _Table) and b.values for one in sections for b in one.blocks)
    html = _PAGE.format(
        language=say.language,
        title=escape(title),
        style=_STYLE + charts.STYLE,
        body=body,
        footer=escape(footer),
        script=_SORT if sorts else "",
    )
    parts = [f"# {_plain(title)}"]
    for one in sections:
        parts += [f"## {_plain(one.title)}", *filter(None, map(_markdown, one.blocks))]
    return {f"{name}.md": "\n\n".join([*parts, _plain(footer)]) + "\n", f"{name}.html": html}


def _written(folder: Path, files: Mapping[str, str], page: str) -> Path:
    open_folder(folder)
    for name, text in files.items():
        with atomic_write(folder / name) as unfinished:
            # names of files may have bytes that are no UTF-8
            unfinished.write_bytes(text.encode("utf-8", "backslashreplace"))
    return folder / f"{page}.html"


def _grouped(blocks: Iterable[_Block]) -> Iterator[_Block | list[_Figure]]:
    """The blocks, with figures that follow each other in one list."""
    row: list[_Figure] = []
    for block in blocks:
        if isinstance(block, _Figure):
            row.append(block)
            continue
        if row:
            yield row
            row = []
        yield block
    if row:
        yield row


def _html(block: _Block | list[_Figure]) -> str:
    if isinstance(block, str):
        return f"<p>{escape(block)}</p>"
    if isinstance(block, list):
        return f'<div class="charts">{"".join(map(_html_figure, block))}</div>'
    if isinstance(block, _Figure):
        return _html_figure(block)
    if isinstance(block, _Beside):
        return f'<div class="beside">{"".join(map(_html, block.blocks))}</div>'
    if isinstance(block, _List):
        return f"<ul>{''.join(f'<li>{escape(item)}</li>' for item in block.items)}</ul>"
    if isinstance(block, _Key):
        return charts.legend(block.names)
    if isinstance(block, _Sheet):
        return _html_sheet(block)
    return _html_table(block)


def _html_figure(figure: _Figure) -> str:
    note = f"<figcaption>{escape(figure.note)}</figcaption>" if figure.note else ""
    return f"<figure><h3>{escape(figure.title)}</h3>{figure.svg}{note}</figure>"


def _html_table(table: _Table) -> str:
    kinds = [
        ' class="n"' if _is_numeric(table, column) else "" for column in range(len(table.head))
    ]
    heads = [escape(head) for head in table.head]
    if table.values:
        heads = [f"<button>{head}</button>" for head in heads]
    parts = [
        '<div class="wide"><table class="sortable">'
        if table.values
        else '<div class="wide"><table>'
    ]
    if any(table.head):
        cells = (f"<th{kind}>{head}</th>" for kind, head in zip(kinds, heads, strict=True))
        parts.append(f"<thead><tr>{''.join(cells)}</tr></thead>")
    parts.append("<tbody>")
    for i, row in enumerate(table.rows):
        mark = ' class="marked"' if i == table.marked else ""
        parts.append(f"<tr{mark}>")
        for j, text in enumerate(row):
            kind, value = kinds[j], ""
            if table.values:
                raw = table.values[i][j]
                value = f' data-v="{escape("" if raw is None else str(raw))}"'
                kind = ' class="failed"' if raw is None and text != _DASH else kind
            parts.append(f"<td{kind}{value}>{escape(text)}</td>")
        parts.append("</tr>")
    hint = f"<p class='hint'>{escape(table.hint)}</p>" if table.hint else ""
    return "".join([*parts, "</tbody></table></div>", hint])


def _is_numeric(table: _Table, column: int) -> bool:
    if table.values:
        found = [row[column] for row in table.values if row[column] is not None]
        return bool(found) and all(isinstance(value, (int, float)) for value in found)
    texts = [row[column] for row in table.rows]
    return any(texts) and all(_NUMBER.fullmatch(text) for text in texts)


def _html_sheet(sheet: _Sheet) -> str:
    say = sheet.say
    parts = []
    for mistake in sheet.mistakes:
        told = say(
            "answered",
            answer=say.label(mistake.answer),
            confidence=say.percent(mistake.confidence, 0),
        )
        parts.append(
            f'<div class="mistake">{_face(mistake.picture, mistake.name, say)}'
            f"<div><b>{escape(say('true'))}: {escape(say.label(mistake.truth))}</b><br>"
            f"{escape(told)}<br><small>{escape(mistake.name)}</small></div>"
        )
        if mistake.neighbours:
            near = "".join(
                f"<div>{_face(one.picture, one.name, say)}<b>{escape(say.label(one.label))}</b><br>"
                f"{one.distance:.2f}</div>"
                for one in mistake.neighbours
            )
            title = escape(say("nearest"))
            parts.append(f'<div class="near-title">{title}</div><div class="near">{near}</div>')
        parts.append("</div>")
    return f'<div class="sheet">{"".join(parts)}</div>'


def _face(picture: str | None, name: str, say: Phrases) -> str:
    title = escape(name)
    if picture is None:
        return f'<span class="face" title="{title}">{escape(say("no picture"))}</span>'
    return f'<img class="face" src="{escape(picture)}" alt="{title}" title="{title}">'


# --- Markdown -------------------------------------------------------------------------------------


def _markdown(block: _Block) -> str:
    """Of figures the table; some have none, as it stands elsewhere in the page."""
    if isinstance(block, str):
        return _plain(block)
    if isinstance(block, _List):
        return "\n".join(f"- {_plain(item)}" for item in block.items)
    if isinstance(block, _Table):
        rows = [block.head, ["---"] * len(block.head), *block.rows]
        return "\n".join("| " + " | ".join(map(_plain, row)) + " |" for row in rows)
    if isinstance(block, _Figure) and block.table:
        parts = [f"### {_plain(block.title)}", _plain(block.note), _markdown(block.table)]
        return "\n\n".join(parts)
    if isinstance(block, _Beside):
        return "\n\n".join(filter(None, map(_markdown, block.blocks)))
    if isinstance(block, _Sheet):
        say = block.say
        return "\n".join(
            "- "
            + _plain(
                f"{one.name}: {say('true')} {say.label(one.truth)}, "
                + say(
                    "answered",
                    answer=say.label(one.answer),
                    confidence=say.percent(one.confidence, 0),
                )
                + (f"; {say('nearest')}: " if one.neighbours else "")
                + ", ".join(f"{say.label(n.label)} ({n.distance:.2f})" for n in one.neighbours)
            )
            for one in block.mistakes
        )
    return ""


def _plain(text: str) -> str:
    """Text on one line that Markdown takes as it is."""
    return re.sub(r"([\\`*_<>|\[\]])", r"\\\1", " ".join(text.split()))
