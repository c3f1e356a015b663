"""Annotated photos: a frame around each face, and a panel with a bar for each expression."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from ferembed.drawing import font
from ferembed.images import Image
from ferembed.labels import display_name

if TYPE_CHECKING:
    import PIL.ImageDraw
    import PIL.ImageFont

    from ferembed.pipeline import Prediction

Box: TypeAlias = tuple[int, int, int, int]  # x1, y1, x2, y2

_INK, _PAPER, _FRAME, _BAR, _BEST = "#ffffff", (16, 20, 28, 215), "#35d0ba", "#7d8ba0", "#35d0ba"
_MARGIN = (16, 20, 28, 255)  # the canvas beside the photo


def annotate(
    photo: Image, predictions: Sequence[Prediction], language: str = "en", *, widen: bool = True
) -> Image:
    """A copy of the photo with the predictions drawn on it, readable on any background.

    A panel never covers a face. One that has no room in the photo is put on a margin to its right,
    so the copy may be larger than the photo; with `widen=False` it has the size of the photo, and
    a panel without room is put where it covers faces least.
    """
    import PIL.Image
    import PIL.ImageDraw

    picture = PIL.Image.fromarray(photo).convert("RGBA")
    size = max(10, round(min(picture.size) / 36))
    panels = [_Panel(prediction, size, language) for prediction in predictions]
    places = _layout(panels, picture.size, size // 2, widen)
    canvas = PIL.Image.new("RGBA", _canvas_size(picture.size, places, size // 2), _MARGIN)
    canvas.paste(picture)
    layer = PIL.Image.new("RGBA", canvas.size, (0, 0, 0, 0))
    draw = PIL.ImageDraw.Draw(layer)
    for prediction in predictions:
        draw.rectangle(prediction.face.box, outline="#000000", width=max(3, size // 3))
        draw.rectangle(prediction.face.box, outline=_FRAME, width=max(1, size // 6))
    for panel, place in zip(panels, places, strict=True):
        if place[0] >= picture.width and len(panels) > 1:
            _connect(draw, panel.face, place, max(1, size // 6))
        panel.draw(draw, place[0], place[1])
    return np.array(PIL.Image.alpha_composite(canvas, layer).convert("RGB"))


class _Panel:
    """The label of a face, and a bar for each expression."""

    def __init__(self, prediction: Prediction, size: int, language: str) -> None:
        self.face = prediction.face.box
        self._best = prediction.label
        self._rows = [
            (label, display_name(label, language), p)
            for label, p in prediction.probabilities.items()
        ]
        self._size, self._letters = size, font(size)
        self._line, self._gap, self._bar = round(size * 1.35), size // 2, size * 5
        self._names = round(max(self._letters.getlength(name) for _, name, _ in self._rows))
        share = self._letters.getlength("100 %")
        self.width = round(self._names + self._bar + share + 4 * self._gap)
        self.height = self._line * len(self._rows) + self._gap

    def draw(self, draw: PIL.ImageDraw.ImageDraw, left: int, top: int) -> None:
        size, gap, letters = self._size, self._gap, self._letters
        box = (left, top, left + self.width, top + self.height)
        draw.rounded_rectangle(box, size // 2, fill=_PAPER)
        for i, (label, name, probability) in enumerate(self._rows):
            y = top + gap // 2 + i * self._line
            best = label == self._best
            draw.text((left + gap, y), name, _BEST if best else _INK, letters)
            start = left + self._names + 2 * gap
            bar = (start, y + size // 4, start + self._bar, y + size)
            draw.rectangle(bar, outline=_BAR)
            filled = start + round(self._bar * probability)
            draw.rectangle((*bar[:2], filled, bar[3]), fill=_BEST if best else _BAR)
            share = f"{probability:.0%}".replace("%", " %")
            draw.text((bar[2] + gap, y), share, _BEST if best else _INK, letters)


def _layout(panels: Sequence[_Panel], bounds: tuple[int, int], gap: int, widen: bool) -> list[Box]:
    """A place for each panel that covers no face and no other panel."""
    faces = [panel.face for panel in panels]
    places: list[Box] = []
    margin = bounds[0] + gap, gap  # the next place beside the photo
    for panel in panels:
        inside = _places_inside(panel, bounds, gap)
        taken = [*faces, *places]
        place = next((one for one in inside if not any(_common(one, box) for box in taken)), None)
        if place is None and (widen or not inside):
            x, y = margin
            if y > gap and y + panel.height + gap > bounds[1]:  # start another column
                x, y = max(one[2] for one in places if one[0] >= bounds[0]) + gap, gap
            place = (x, y, x + panel.width, y + panel.height)
            margin = x, place[3] + gap
        elif place is None:
            place = min(inside, key=lambda one: sum(_common(one, box) for box in taken))
        places.append(place)
    return places


def _places_inside(panel: _Panel, bounds: tuple[int, int], gap: int) -> list[Box]:
    """Places within the photo: beside the face where there is room, then in the corners."""
    x1, y1, x2, y2 = panel.face
    across, down = bounds[0] - panel.width, bounds[1] - panel.height
    x, y = min(max(0, x1), max(0, across)), min(max(0, y1), max(0, down))
    beside = ((x2 + gap, y), (x1 - gap - panel.width, y), (x, y2 + gap))
    above = (x, y1 - gap - panel.height)
    corners = [(left, top) for top in (0, down) for left in (across, 0)]
    return [
        (left, top, left + panel.width, top + panel.height)
        for left, top in (*beside, above, *corners)
        if 0 <= left <= across and 0 <= top <= down
    ]


def _common(one: Box, other: Box) -> int:
    """The number of pixels in both boxes."""
    width = min(one[2], other[2]) - max(one[0], other[0])
    height = min(one[3], other[3]) - max(one[1], other[1])
    return max(0, width) * max(0, height)


def _canvas_size(bounds: tuple[int, int], places: Sequence[Box], gap: int) -> tuple[int, int]:
    outside = [place for place in places if place[0] >= bounds[0]]
    width = max([bounds[0], *(place[2] + gap for place in outside)])
    return width, max([bounds[1], *(place[3] + gap for place in outside)])


def _connect(draw: PIL.ImageDraw.ImageDraw, face: Box, place: Box, width: int) -> None:
    """A line from the edge of a face to its panel."""
    middle = (place[1] + place[3]) // 2
    edge = face[2], min(max(middle, face[1]), face[3])
    draw.line((edge, (place[0], middle)), fill=_FRAME, width=width)
