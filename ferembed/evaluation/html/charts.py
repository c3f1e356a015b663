"""Charts: pictures for a page as inline SVG, in the colours of templates/page.css.

Each is about 400 units wide, so that it can be read on a phone. Each mark has a tooltip.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import KW_ONLY, dataclass
from html import escape

from markupsafe import Markup

SERIES = 6
"""Colours of a scatter plot; further series start again with the first."""

_WIDTH = 400
_STRONG = 0.55  # from this share on the text of a cell is white


def heatmap(
    title: str,
    labels: Sequence[str],
    shares: Sequence[Sequence[float]],
    texts: Sequence[Sequence[str]],
    tips: Sequence[Sequence[str]],
    axis: str = "",
) -> Markup:
    """A matrix: a row and a column for each label, each cell as dark as its share."""
    left = _margin(labels)
    turned = len(labels) > 7 or max(map(len, labels)) > 9  # the names above the columns
    top, right = (84, 36) if turned else (34, 0)
    cell = min(90.0, max(34.0, (_WIDTH - left - right) / len(labels)))
    wide, high = left + cell * len(labels) + right, top + cell * len(labels)
    parts = [_text(wide, 10, axis, "pale end")] if axis else []
    for i, label in enumerate(labels):
        middle, y = left + cell * (i + 0.5), top + cell * i
        if turned:
            turn = f'transform="rotate(-55 {middle:.1f} {top - 6})"'
            parts.append(_text(middle, top - 6, _short(label, 14), "", turn, size=10))
        else:
            parts.append(_text(middle, top - 6, label, "middle", size=10))
        parts.append(_text(left - 6, y + cell / 2 + 4, _short(label, 18), "end"))
        for j, share in enumerate(shares[i]):
            x = left + cell * j
            parts.append(
                f'<rect class="heat" x="{x:.1f}" y="{y:.1f}" width="{cell:.1f}" '
                f'height="{cell:.1f}" fill-opacity="{0.04 + 0.96 * share:.3f}">'
                f"<title>{escape(tips[i][j])}</title></rect>"
            )
            kind = "middle over" if share > _STRONG else "middle"
            inert = 'pointer-events="none"'
            parts.append(_text(x + cell / 2, y + cell / 2 + 4, texts[i][j], kind, inert))
    return _svg(title, wide, high, parts)


def bars(
    title: str,
    rows: Sequence[tuple[str, int, int]],
    names: tuple[str, str],
    shown: Callable[[int], str] = str,
) -> Markup:
    """Two bars for each label, a pale one above a coloured one."""
    left, right, row = _margin([label for label, _, _ in rows]), 46, 34
    most = max(1, *(max(one, other) for _, one, other in rows))
    parts = []
    for i, (label, *values) in enumerate(rows):
        y = 26 + row * i
        parts.append(_text(left - 6, y + 16, _short(label, 18), "end"))
        for j, (value, kind) in enumerate(zip(values, ("truth", "bar"), strict=True)):
            length = (_WIDTH - left - right) * value / most
            parts.append(
                f'<rect class="{kind}" x="{left}" y="{y + 13 * j}" width="{length:.1f}" '
                f'height="12" rx="2"><title>{escape(f"{label}, {names[j]}: {shown(value)}")}'
                "</title></rect>"
            )
            parts.append(_text(left + length + 4, y + 13 * j + 10, shown(value), "pale"))
    return _svg(title, _WIDTH, 30 + row * len(rows), [*_legend(names, left), *parts])


def calibration(
    title: str, bins: Sequence[tuple[float, float, int]], axes: tuple[str, str], tips: Sequence[str]
) -> Markup:
    """Accuracy by confidence, the ideal as a dashed line, and counts of predictions as bars."""
    box = _Box(56, 12, 324, 226)
    parts = [*box.frame(_SHARES, _SHARES, axes)]
    most = max(count for _, _, count in bins)
    for confidence, _, count in bins:
        high = 50 * count / most
        parts.append(
            f'<rect class="truth" x="{box.x(confidence) - 7:.1f}" y="{box.y(0) - high:.1f}" '
            f'width="14" height="{high:.1f}"/>'
        )
    parts.append(_path("ideal", [(box.x(0), box.y(0)), (box.x(1), box.y(1))]))
    points = [(box.x(confidence), box.y(accuracy)) for confidence, accuracy, _ in bins]
    return _svg(title, _WIDTH, 284, [*parts, _path("line", points), *_marks(points, tips)])


def curve(
    title: str, points: Sequence[tuple[float, float]], axes: tuple[str, str], tips: Sequence[str]
) -> Markup:
    """A line over shares from 0 to 1; the y axis starts near the lowest value."""
    lowest, _, _ = _ticks([*(y for _, y in points), 1.0])
    lowest = min(lowest, 0.9)
    _, _, ticks = _ticks([lowest, 1.0])
    box = _Box(56, 12, 324, 226, low_y=lowest)
    places = [(box.x(x), box.y(y)) for x, y in points]
    frame = box.frame(_SHARES, _as_shares(ticks), axes)
    return _svg(title, _WIDTH, 284, [*frame, _path("line", places), *_marks(places, tips)])


@dataclass(frozen=True)
class Dot:
    """A mark of a scatter plot; its name is written beside it where there is room."""

    x: float
    y: float
    name: str
    tip: str
    series: int = 0


def scatter(
    title: str,
    dots: Sequence[Dot],
    axes: tuple[str, str],
    *,
    logarithmic: bool = False,
    line: Sequence[int] = (),
) -> Markup:
    """Dots over two axes, the y axis in percent; `line` joins some of them."""
    xs = [math.log10(dot.x) if logarithmic else dot.x for dot in dots]
    low_x, high_x, ticks_x = _log_ticks(xs) if logarithmic else _ticks(xs)
    low_y, high_y, steps = _ticks([dot.y for dot in dots])
    box = _Box(56, 12, 324, 226, low_x=low_x, high_x=high_x, low_y=low_y, high_y=high_y)
    places = [(box.x(x), box.y(dot.y)) for x, dot in zip(xs, dots, strict=True)]
    parts = [*box.frame(ticks_x, _as_shares(steps), axes)]
    if line:
        parts.append(_path("frontier", [places[i] for i in line]))
    kinds = [f"s{dot.series % SERIES}" for dot in dots]
    parts += _marks(places, [dot.tip for dot in dots], kinds)
    named = [(dot.name, *place) for dot, place in zip(dots, places, strict=True) if dot.name]
    return _svg(title, _WIDTH, 284, [*parts, *_names(named, places)])


_SHARES = [(i / 5, f"{20 * i}%") for i in range(6)]


@dataclass(frozen=True)
class _Box:
    """The mapping of a chart's values to places in the picture."""

    left: float
    top: float
    width: float
    height: float
    _: KW_ONLY
    low_x: float = 0.0
    high_x: float = 1.0
    low_y: float = 0.0
    high_y: float = 1.0

    def x(self, value: float) -> float:
        return self.left + self.width * (value - self.low_x) / (self.high_x - self.low_x)

    def y(self, value: float) -> float:
        share = (value - self.low_y) / (self.high_y - self.low_y)
        return self.top + self.height * (1 - share)

    def frame(
        self,
        ticks_x: Iterable[tuple[float, str]],
        ticks_y: Iterable[tuple[float, str]],
        axes: tuple[str, str],
    ) -> list[str]:
        bottom, right = self.top + self.height, self.left + self.width
        parts = []
        for value, text in ticks_x:
            parts.append(_path("grid", [(self.x(value), self.top), (self.x(value), bottom)]))
            parts.append(_text(self.x(value), bottom + 15, text, "pale middle"))
        for value, text in ticks_y:
            parts.append(_path("grid", [(self.left, self.y(value)), (right, self.y(value))]))
            parts.append(_text(self.left - 6, self.y(value) + 4, text, "pale end"))
        parts.append(_text(self.left + self.width / 2, bottom + 34, axes[0], "middle"))
        middle = self.top + self.height / 2
        turn = f'transform="rotate(-90 10 {middle:.1f})"'
        return [*parts, _text(10, middle, axes[1], "middle", turn)]


def _ticks(values: Sequence[float]) -> tuple[float, float, list[tuple[float, str]]]:
    """The ends of an axis at round values, and the ticks between them."""
    low, high = min(values), max(values)
    span = max(high - low, 0.01)
    unit = 10.0 ** math.floor(math.log10(span / 4))
    step = next(unit * factor for factor in (1, 2, 5, 10) if span / (unit * factor) <= 5)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    last = max(last, first + 1)
    digits = max(0, -math.floor(math.log10(step) + 1e-9))
    ticks = [(i * step, f"{i * step:.{digits}f}") for i in range(first, last + 1)]
    return first * step, last * step, ticks


def _as_shares(ticks: Sequence[tuple[float, str]]) -> list[tuple[float, str]]:
    """The same ticks as percentages."""
    step = 100 * (ticks[1][0] - ticks[0][0])
    digits = max(0, math.ceil(-math.log10(step) - 1e-9))
    return [(value, f"{value:.{digits}%}") for value, _ in ticks]


def _log_ticks(values: Sequence[float]) -> tuple[float, float, list[tuple[float, str]]]:
    """The ends and ticks of a logarithmic axis; a short one has ticks at 2 and 5, too."""
    low, high = min(values), max(values)
    factors = (1, 2, 5) if high - low < 2.5 else (1,)
    first, last = math.floor(low) - 1, math.ceil(high) + 1
    known = [(math.log10(f) + p, f * 10.0**p) for p in range(first, last + 1) for f in factors]
    start = max(i for i, (place, _) in enumerate(known) if place <= low - 0.02)
    end = min(i for i, (place, _) in enumerate(known) if place >= high + 0.02)
    ticks = [(place, f"{value:g}") for place, value in known[start : end + 1]]
    return known[start][0], known[end][0], ticks


def _marks(
    places: Sequence[tuple[float, float]], tips: Sequence[str], kinds: Sequence[str] = ()
) -> list[str]:
    kinds = kinds or ["mark"] * len(places)
    return [
        f'<circle class="{kind}" cx="{x:.1f}" cy="{y:.1f}" r="4"><title>{escape(tip)}</title>'
        "</circle>"
        for (x, y), tip, kind in zip(places, tips, kinds, strict=True)
    ]


def _names(
    named: Sequence[tuple[str, float, float]], marks: Sequence[tuple[float, float]]
) -> list[str]:
    """Names beside their marks, on a free side; a name without room is not written."""
    taken = [(x - 4, y - 4, x + 4, y + 4) for x, y in marks]
    parts = []
    for name, x, y in named:
        text = _short(name, 34)
        long = 5.6 * len(text)
        for left, base, side in (
            (x + 7, y + 4, ""),
            (x - 7 - long, y + 4, "end"),
            (x - long / 2, y - 9, "middle"),
            (x - long / 2, y + 17, "middle"),
        ):
            box = (left, base - 9, left + long, base + 2)
            free = all(
                box[2] < t[0] or t[2] < box[0] or box[3] < t[1] or t[3] < box[1] for t in taken
            )
            if free and box[0] >= 48 and box[2] <= _WIDTH - 4 and box[1] >= 2 and box[3] <= 238:
                taken.append(box)
                at = {"": left, "end": left + long, "middle": x}[side]
                parts.append(
                    _text(at, base, text, f"halo {side}", 'pointer-events="none"', size=10)
                )
                break
    return parts


def _legend(names: tuple[str, str], x: float) -> list[str]:
    parts = []
    for name, kind in zip(names, ("truth", "bar"), strict=True):
        parts.append(f'<rect class="{kind}" x="{x:.0f}" y="3" width="12" height="12" rx="2"/>')
        parts.append(_text(x + 17, 13, name, "pale"))
        x += 36 + 6.5 * len(name)
    return parts


def _margin(labels: Sequence[str]) -> int:
    """The width of the names left of the rows."""
    return min(118, max(72, 10 + 6 * max(map(len, labels))))


def _short(text: str, most: int) -> str:
    return text if len(text) <= most else text[: most - 1] + "…"


def _path(kind: str, points: Sequence[tuple[float, float]]) -> str:
    return f'<path class="{kind}" d="M' + "L".join(f"{x:.1f} {y:.1f}" for x, y in points) + '"/>'


def _text(
    x: float, y: float, text: str, kind: str = "", more: str = "", *, size: int | None = None
) -> str:
    style = f' style="font-size:{size}px"' if size else ""
    extra = f" {more}" if more else ""
    return f'<text class="{kind}" x="{x:.1f}" y="{y:.1f}"{style}{extra}>{escape(text)}</text>'


def _svg(title: str, width: float, height: float, parts: Iterable[str]) -> Markup:
    name = escape(title, quote=True)
    inside = "".join(parts)
    return Markup(  # noqa: S704  (names are escaped above, and the parts by who makes them)
        f'<svg role="img" aria-label="{name}" viewBox="0 0 {width:.0f} {height:.0f}" '
        f'xmlns="http://www.w3.org/2000/svg">{inside}</svg>'
    )
