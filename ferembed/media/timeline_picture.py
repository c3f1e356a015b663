"""The picture of a timeline: a row for each person with the label and all shares over time."""

from __future__ import annotations

import os
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ferembed.drawing import EMPTY, EXPRESSION_COLOURS, INK, OTHER_COLOURS, PALE, PAPER, rendered
from ferembed.images import Image, save_picture
from ferembed.media.timeline import Timeline
from ferembed.translations import Translator

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_PEOPLE = 12
_DPI = 100
_WIDTH, _LEFT, _RIGHT = 1200, 130, 30  # pixels
_BAND, _SPACE, _AREA, _GAP = 22, 2, 70, 18  # of a row, from top to bottom
_COLUMNS = _WIDTH - _LEFT - _RIGHT
_LONGEST_TICKS = 12
_STEPS = (0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400)


def save_timeline(
    timeline: Timeline, path: str | os.PathLike[str], language: str = "en", title: str = ""
) -> None:
    """Write the picture in the format of the path's ending, or as PNG."""
    import PIL.Image

    picture = PIL.Image.fromarray(draw_timeline(timeline, language, title))
    save_picture(picture, Path(path))


def draw_timeline(timeline: Timeline, language: str = "en", title: str = "") -> Image:
    """A row for each person: a band with the label, and below it the shares of all labels.

    A row is empty while the person is not in sight. If there are many people, those seen in most
    frames are drawn.
    """
    from matplotlib.figure import Figure

    tr = Translator(language)
    people = timeline.most_seen(_PEOPLE)
    others = len(timeline.people) - len(people)
    top = 84 if title else 56
    pitch = _BAND + _SPACE + _AREA + _GAP
    height = top + max(1, len(people)) * pitch + (60 if others else 30)
    figure = Figure(figsize=(_WIDTH / _DPI, height / _DPI), dpi=_DPI, facecolor=PAPER)

    def write(x: float, y: float, text: str, size: float, colour: str = INK, **more: Any) -> None:
        place = x / _WIDTH, 1 - y / height
        figure.text(*place, text, fontsize=size, color=colour, va="center", **more)

    if title:
        write(20, 28, title, 14)
    palette = _palette(timeline.labels)
    _legend(figure, timeline.labels, palette, tr, 1 - (top - 24) / height)
    axes = None
    for row in range(max(1, len(people))):
        y = top + row * pitch
        axes = _axes(figure, y, height, max(timeline.seconds, 1e-3))
        if people:
            write(20, y + (_BAND + _AREA) / 2, tr("person", number=people[row]), 11)
            shares = timeline.shares(people[row], _COLUMNS)
            _draw_person(axes, shares, timeline, palette, tr)
        else:
            middle = _LEFT + _COLUMNS / 2, y + (_BAND + _AREA) / 2
            write(*middle, tr("video no face"), 14, PALE, ha="center")
    if axes is not None and timeline.seconds:
        _ticks(axes, timeline.seconds)
    if others:
        write(20, height - 18, tr("people more", count=others), 10, PALE)
    return np.array(rendered(figure))


def _palette(labels: list[str]) -> list[str]:
    others = [label for label in labels if label not in EXPRESSION_COLOURS]
    colours = dict(zip(others, OTHER_COLOURS * len(others), strict=False))
    return [{**colours, **EXPRESSION_COLOURS}[label] for label in labels]


def _legend(
    figure: Figure, labels: list[str], palette: list[str], tr: Translator, y: float
) -> None:
    from matplotlib.patches import Patch

    if labels:
        patches = [
            Patch(color=colour, label=tr.label(label))
            for label, colour in zip(labels, palette, strict=True)
        ]
        figure.legend(
            handles=patches,
            loc="center left",
            bbox_to_anchor=(_LEFT / _WIDTH, y),
            ncols=len(labels),
            frameon=False,
            fontsize=10,
            handlelength=1,
            borderaxespad=0,
            borderpad=0,
        )


def _axes(figure: Figure, top: float, height: float, seconds: float) -> Axes:
    """The axes of a row: seconds from left to right, shares from 0 to 1 and the band above."""
    high = _BAND + _SPACE + _AREA
    place = _LEFT / _WIDTH, 1 - (top + high) / height, _COLUMNS / _WIDTH, high / height
    axes = figure.add_axes(place, facecolor=EMPTY)
    axes.set(xlim=(0, seconds), ylim=(0, high / _AREA), xticks=[], yticks=[])
    axes.spines[:].set_visible(False)
    return axes


def _draw_person(
    axes: Axes,
    shares: NDArray[np.float64],
    timeline: Timeline,
    palette: list[str],
    tr: Translator,
) -> None:
    edges = np.linspace(0, max(timeline.seconds, 1e-3), shares.shape[1] + 1)
    stacked = np.concatenate([shares, shares[:, -1:]], axis=1)
    axes.stackplot(edges, stacked, colors=palette, step="post", linewidth=0, antialiased=False)
    bottom, high = (_AREA + _SPACE) / _AREA, _BAND / _AREA
    best = np.where(shares.any(axis=0), shares.argmax(axis=0), -1)
    start = 0
    for label, run in groupby(best.tolist()):
        end = start + len(list(run))
        if label >= 0:
            width = edges[end] - edges[start]
            span = [(edges[start], width)]
            colour = palette[label]
            axes.broken_barh(span, (bottom, high), color=colour, linewidth=0, antialiased=False)
            name = tr.label(timeline.labels[label])
            if end - start > 9 * len(name) + 8:
                place = edges[start] + 6 / _COLUMNS * edges[-1], bottom + high / 2
                ink = PAPER if _is_dark(colour) else INK
                axes.text(*place, name, fontsize=9, color=ink, va="center")
        start = end


def _is_dark(colour: str) -> bool:
    red, green, blue = (int(colour[i : i + 2], 16) for i in (1, 3, 5))
    return 0.3 * red + 0.59 * green + 0.11 * blue < 128


def _ticks(axes: Axes, seconds: float) -> None:
    """Times below the last row."""
    fitting = (step for step in _STEPS if seconds / step <= _LONGEST_TICKS)
    step = next(fitting, seconds / 6)
    times = [i * step for i in range(int(seconds / step + 1e-9) + 1)]
    axes.set_xticks(times, [_clock(time, step) for time in times], fontsize=9, color=PALE)
    axes.tick_params(color=PALE, length=4, pad=2)


def _clock(seconds: float, step: float) -> str:
    """A time for an axis: 0.5 s, 12 s, 3:20 or 1:02:30."""
    if seconds < 60:
        return f"{seconds:.1f} s" if step < 1 else f"{seconds:.0f} s"
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"
