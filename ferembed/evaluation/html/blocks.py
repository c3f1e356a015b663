"""Blocks of a page: text, lists, tables, figures. Each writes itself as HTML and as Markdown."""

from __future__ import annotations

import html
import re
from abc import ABC, abstractmethod
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any, Literal

from ferembed.evaluation.html import charts
from ferembed.report import markdown_table

if TYPE_CHECKING:
    import jinja2

    from ferembed.evaluation.mistakes import Mistake
    from ferembed.translations import Translator


@cache
def templates() -> jinja2.Environment:
    """The templates of pages; they escape every value."""
    import jinja2

    return jinja2.Environment(
        loader=jinja2.PackageLoader("ferembed.evaluation.html"),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )


class Block(ABC):
    """A part of a section."""

    macro: str  # of templates/blocks.html

    def html(self) -> str:
        """The block as HTML, safe to put into a template."""
        macros = templates().get_template("blocks.html").module
        return getattr(macros, self.macro)(self)  # type: ignore[no-any-return]

    @abstractmethod
    def markdown(self) -> str:
        """The block as Markdown; empty where there is nothing to say in words."""


@dataclass(frozen=True)
class Text(Block):
    """A paragraph."""

    text: str
    macro = "text"

    def markdown(self) -> str:
        return escaped(self.text)


@dataclass(frozen=True)
class Bullets(Block):
    """A list of items."""

    items: Sequence[str]
    macro = "bullets"

    def markdown(self) -> str:
        return "\n".join(f"- {escaped(item)}" for item in self.items)


@dataclass(frozen=True)
class Cell:
    """A cell of a table; in a table that can be sorted, `value` is what it is sorted by."""

    text: str
    value: Any = None
    failed: bool = False


@dataclass(frozen=True, kw_only=True)
class Table(Block):
    """Rows of cells under headings. With a `sort_hint` a click on a heading sorts the rows."""

    head: Sequence[str]
    rows: Sequence[Sequence[Cell]]
    numeric: Collection[int] = ()  # columns that are aligned to the right
    marked: int | None = None  # the row that stands out
    sort_hint: str = ""
    macro = "table"

    @classmethod
    def of_texts(
        cls, head: Sequence[str], rows: Sequence[Sequence[str]], text_columns: int = 1
    ) -> Table:
        """A table that cannot be sorted: after so many columns of text all others are numeric."""
        cells = [[Cell(text) for text in row] for row in rows]
        return cls(head=head, rows=cells, numeric=range(text_columns, len(head)))

    @property
    def has_head(self) -> bool:
        return any(self.head)

    def markdown(self) -> str:
        rows = [[escaped(cell.text) for cell in row] for row in self.rows]
        return markdown_table([escaped(heading) for heading in self.head], rows)


@dataclass(frozen=True, kw_only=True)
class Figure(Block):
    """A chart, and its numbers as the table that Markdown shows; some are in a table elsewhere."""

    title: str
    svg: str
    note: str = ""
    table: Table | None = None
    macro = "figure"

    def markdown(self) -> str:
        if self.table is None:
            return ""
        parts = [f"### {escaped(self.title)}", escaped(self.note), self.table.markdown()]
        return "\n\n".join(filter(None, parts))


@dataclass(frozen=True)
class Group(Block):
    """Blocks side by side where there is room: a grid of charts, or blocks of their own width."""

    kind: Literal["charts", "beside"]
    blocks: Sequence[Block]
    macro = "group"

    def markdown(self) -> str:
        return "\n\n".join(filter(None, (block.markdown() for block in self.blocks)))


@dataclass(frozen=True)
class Legend(Block):
    """The colours of the series of scatter plots."""

    names: Sequence[str]
    macro = "legend"
    series = charts.SERIES

    def markdown(self) -> str:
        return ""


@dataclass(frozen=True)
class Mistakes(Block):
    """Faces that were predicted wrongly, each with the nearest training faces."""

    mistakes: Sequence[Mistake]
    tr: Translator
    macro = "mistakes"

    def prediction(self, mistake: Mistake) -> str:
        """The prediction and its confidence in words."""
        tr = self.tr
        label, confidence = tr.label(mistake.predicted), tr.percent(mistake.confidence, 0)
        return tr("prediction", label=label, confidence=confidence)

    def markdown(self) -> str:
        lines = []
        for one in self.mistakes:
            tr = self.tr
            line = f"{one.name}: {tr('true')} {tr.label(one.target)}, {self.prediction(one)}"
            if one.neighbours:
                near = (f"{tr.label(n.label)} ({n.distance:.2f})" for n in one.neighbours)
                line += f"; {tr('nearest')}: {', '.join(near)}"
            lines.append(f"- {escaped(line)}")
        return "\n".join(lines)


def escaped(text: str) -> str:
    """Text on one line without meaning to Markdown or HTML.

    Not every program that shows Markdown takes a backslash before a bracket of HTML.

    >>> escaped("a_b <script>")
    'a\\\\_b &lt;script&gt;'
    """
    plain = html.escape(" ".join(text.split()), quote=False)
    return re.sub(r"([\\`*_|\[\]])", r"\\\1", plain)
