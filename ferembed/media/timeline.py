"""Timeline: who showed what when, over a whole video, as a picture and in words."""

from __future__ import annotations

import os
from collections import Counter
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ferembed.drawing import font
from ferembed.images import Image, save_picture
from ferembed.labels import display_name
from ferembed.media.video import Frame
from ferembed.translations import Translator

if TYPE_CHECKING:
    import PIL.ImageDraw

_BINS = 2048  # a longer video makes longer bins, not more
_LONGEST_HOLD = 1.0  # seconds that a face counts as seen after its last frame
_PEOPLE = 12  # in a picture
_WIDTH, _LEFT, _RIGHT, _BAND, _AREA, _GAP = 1200, 130, 30, 22, 72, 18
# fmt: off
_COLOURS = {
    "angry": "#d55e00", "disgust": "#009e73", "fear": "#cc79a7", "happy": "#f0e442",
    "sad": "#0072b2", "surprise": "#56b4e9", "neutral": "#a9aeb6",
    "contempt": "#7a4fbf",
}
_OTHERS = ("#e69f00", "#6b8e23", "#8c564b", "#17becf")  # labels beyond the eight
_STEPS = (0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400)
# fmt: on
_INK, _PALE, _PAPER, _EMPTY = "#1c2430", "#5b6675", "#ffffff", "#eef0f3"


class Timeline:
    """What each person in a video shows over time, gathered frame by frame.

    >>> from ferembed.faces import Face
    >>> from ferembed.media.tracking import Person
    >>> timeline = Timeline()
    >>> for index in range(5):
    ...     person = Person(Face((0, 0, 9, 9), 1.0), "happy", {"happy": 0.9, "sad": 0.1}, number=1)
    ...     timeline.add(Frame(index, index / 2, np.zeros((9, 9, 3), np.uint8), (person,)))
    >>> print(timeline.text("es"))
    Persona 1, 0.0 a 2.5 s: Alegría 100 %
    """

    def __init__(self) -> None:
        self.frames = 0
        self.seconds = 0.0  # up to the end of the last frame
        self._labels: list[str] = []
        self._shown: dict[int, Counter[str]] = {}  # in how many frames a person showed what
        self._times: dict[int, tuple[float, float]] = {}
        self._bins: dict[int, dict[int, NDArray[np.float64]]] = {}  # sums, and of how many
        self._bin = 1 / 32  # seconds
        self._last: Frame | None = None
        self._interval = _LONGEST_HOLD  # between two frames, at the least

    @property
    def people(self) -> tuple[int, ...]:
        """The numbers of those who were seen."""
        return tuple(sorted(self._shown))

    def add(self, frame: Frame) -> None:
        """Take in the next frame; what was seen in the one before lasts until then."""
        if self._last is not None:
            self._hold(self._last, frame.seconds)
            self._interval = min(self._interval, frame.seconds - self._last.seconds)
        self._last = frame
        self.frames += 1
        self.seconds = frame.seconds + (self._interval if self.frames > 1 else 0)
        for person in frame.people:
            self._labels = self._labels or list(person.probabilities)
            self._shown.setdefault(person.number, Counter())[person.label] += 1
            start, _ = self._times.get(person.number, (frame.seconds, 0.0))
            self._times[person.number] = start, self.seconds

    def _hold(self, frame: Frame, until: float) -> None:
        until = min(until, frame.seconds + _LONGEST_HOLD)
        while until / self._bin >= _BINS:
            self._bin *= 2
            for number, bins in self._bins.items():
                halved: dict[int, NDArray[np.float64]] = {}
                for position, sums in bins.items():
                    halved[position // 2] = halved.get(position // 2, 0) + sums
                self._bins[number] = halved
        first = int(frame.seconds / self._bin)
        for person in frame.people:
            bins = self._bins.setdefault(person.number, {})
            shares = [person.probabilities.get(label, 0.0) for label in self._labels]
            for position in range(first, max(first + 1, int(np.ceil(until / self._bin)))):
                bins[position] = bins.get(position, 0) + np.array([*shares, 1.0])

    def text(self, language: str = "en") -> str:
        """A line for each person: from when to when, and what in which share of the frames."""
        tr = Translator(language)
        lines = []
        for number in self.people:
            start, end = self._times[number]
            shown = self._shown[number]
            shares = ", ".join(
                f"{tr.label(label)} {count / shown.total():.0%}".replace("%", " %")
                for label, count in shown.most_common()
                if count >= 0.005 * shown.total()
            )
            person = tr("person", number=number)
            lines.append(tr("person line", person=person, start=start, end=end, shares=shares))
        return "\n".join(lines) or tr("video no face")

    def save(self, path: str | os.PathLike[str], language: str = "en", title: str = "") -> None:
        """Write the picture, as PNG where the ending names no other format."""
        import PIL.Image

        save_picture(PIL.Image.fromarray(self.picture(language, title)), Path(path))

    def picture(self, language: str = "en", title: str = "") -> Image:
        """A row for each person: the label over time, and below it the share of every label.

        Where a person is not in sight the row is empty. Of many people those seen most are drawn.
        """
        import PIL.Image
        import PIL.ImageDraw

        if self._last is not None:
            self._hold(self._last, self.seconds)
            self._last = None
        often = sorted(self.people, key=lambda number: -self._shown[number].total())
        people = sorted(often[:_PEOPLE])
        top = 84 if title else 56
        bottom = top + max(1, len(people)) * (_BAND + _AREA + _GAP)
        height = bottom + (60 if len(often) > len(people) else 30)
        canvas = PIL.Image.new("RGB", (_WIDTH, height), _PAPER)
        draw = PIL.ImageDraw.Draw(canvas)
        if title:
            draw.text((20, 28), title, _INK, font(20), anchor="lm")
        self._legend(draw, top - 32, language)
        tr = Translator(language)
        if not people:
            middle = (_LEFT + _WIDTH - _RIGHT) / 2, (top + bottom - _GAP) / 2
            draw.rectangle((_LEFT, top, _WIDTH - _RIGHT, bottom - _GAP), _EMPTY)
            draw.text(middle, tr("video no face"), _PALE, font(20), anchor="mm")
        for row, number in enumerate(people):
            y = top + row * (_BAND + _AREA + _GAP)
            middle = 20, y + (_BAND + _AREA) // 2
            draw.text(middle, tr("person", number=number), _INK, font(16), anchor="lm")
            self._row(canvas, draw, y, number, language)
        self._axis(draw, bottom - _GAP)
        if len(often) > len(people):
            rest = tr("people more", count=len(often) - len(people))
            draw.text((20, bottom + 42), rest, _PALE, font(14), anchor="lm")
        return np.array(canvas)

    def _colours(self) -> list[str]:
        others = [label for label in self._labels if label not in _COLOURS]
        colours = {**dict(zip(others, _OTHERS * len(others), strict=False)), **_COLOURS}
        return [colours[label] for label in self._labels]

    def _legend(self, draw: PIL.ImageDraw.ImageDraw, y: int, language: str) -> None:
        x = float(_LEFT)
        for label, colour in zip(self._labels, self._colours(), strict=True):
            name = display_name(label, language)
            draw.rectangle((x, y, x + 16, y + 16), colour)
            draw.text((x + 24, y + 8), name, _INK, font(16), anchor="lm")
            x += 24 + draw.textlength(name, font(16)) + 28

    def _row(
        self,
        canvas: PIL.Image.Image,
        draw: PIL.ImageDraw.ImageDraw,
        top: int,
        number: int,
        language: str,
    ) -> None:
        import PIL.Image
        import PIL.ImageColor

        shares = self._columns(number)
        colours = self._colours()
        palette = np.array(
            [PIL.ImageColor.getrgb(colour) for colour in (*colours, _EMPTY)], np.uint8
        )
        empty = len(colours)
        best = np.where(shares.any(axis=0), shares.argmax(axis=0), empty)
        heights = 1 - (np.arange(_AREA) + 0.5) / _AREA  # of each line, from 1 at the top to 0
        area = (shares.cumsum(axis=0)[:, None] < heights[:, None]).sum(axis=0)
        area = np.where(best == empty, empty, np.minimum(area, empty - 1))
        lines = np.concatenate([np.repeat(best[None], _BAND, axis=0), area])
        lines[_BAND : _BAND + 2] = empty
        canvas.paste(PIL.Image.fromarray(palette[lines]), (_LEFT, top))
        x = _LEFT
        for label, run in groupby(best):
            width = len(list(run))
            if label != empty:
                name = display_name(self._labels[label], language)
                if draw.textlength(name, font(14)) + 8 < width:
                    dark = palette[label] @ (0.3, 0.59, 0.11) < 128
                    ink = _PAPER if dark else _INK
                    draw.text((x + 6, top + _BAND // 2), name, ink, font(14), anchor="lm")
            x += width

    def _columns(self, number: int) -> NDArray[np.float64]:
        """(labels, pixels): the mean shares of a person in each column, 0 where it is not seen."""
        bins, wide = self._bins.get(number, {}), _WIDTH - _LEFT - _RIGHT
        edges = np.arange(wide + 1) / wide * self.seconds / self._bin
        columns = np.zeros((len(self._labels), wide))
        for x in range(wide):
            first = int(edges[x])
            inside = [bins[i] for i in range(first, max(first + 1, int(edges[x + 1]))) if i in bins]
            if inside:
                sums = np.sum(inside, axis=0)
                columns[:, x] = sums[:-1] / sums[-1]
        return columns

    def _axis(self, draw: PIL.ImageDraw.ImageDraw, y: int) -> None:
        wide = _WIDTH - _LEFT - _RIGHT
        step = next((step for step in _STEPS if self.seconds / step <= 12), self.seconds / 6 or 1)
        for i in range(int(self.seconds / step) + 1):
            x = _LEFT + i * step / max(self.seconds, step) * wide
            draw.line((x, y, x, y + 6), _PALE)
            draw.text((x, y + 18), _clock(i * step, step), _PALE, font(14), anchor="mm")


def _clock(seconds: float, step: float) -> str:
    """A time for an axis: 0.5 s, 12 s, 3:20 or 1:02:30."""
    if seconds < 60:
        return f"{seconds:.1f} s" if step < 1 else f"{seconds:.0f} s"
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"
