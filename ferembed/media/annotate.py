"""A photo with what was read in it: a box around each face, the label, a bar per expression."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from ferembed.drawing import font
from ferembed.images import Image
from ferembed.labels import display_name

if TYPE_CHECKING:
    import PIL.ImageDraw

    from ferembed.pipeline import Prediction

_INK, _PAPER, _FRAME, _BAR, _BEST = "#ffffff", (16, 20, 28, 215), "#35d0ba", "#7d8ba0", "#35d0ba"


def annotate(photo: Image, predictions: Sequence[Prediction], language: str = "en") -> Image:
    """A copy of the photo with the predictions drawn on it, readable on any background."""
    import PIL.Image
    import PIL.ImageDraw

    picture = PIL.Image.fromarray(photo).convert("RGBA")
    layer = PIL.Image.new("RGBA", picture.size, (0, 0, 0, 0))
    draw = PIL.ImageDraw.Draw(layer)
    size = max(10, round(min(picture.size) / 36))
    for prediction in predictions:
        draw.rectangle(prediction.face.box, outline="#000000", width=max(3, size // 3))
        draw.rectangle(prediction.face.box, outline=_FRAME, width=max(1, size // 6))
    for prediction in predictions:
        _panel(draw, size, picture.size, prediction, language)
    return np.array(PIL.Image.alpha_composite(picture, layer).convert("RGB"))


def _panel(
    draw: PIL.ImageDraw.ImageDraw,
    size: int,
    bounds: tuple[int, int],
    prediction: Prediction,
    language: str,
) -> None:
    rows = [
        (label, display_name(label, language), p) for label, p in prediction.probabilities.items()
    ]
    letters = font(size)
    names = max(draw.textlength(name, letters) for _, name, _ in rows)
    line, gap = round(size * 1.35), size // 2
    bar = size * 5
    width = round(names + bar + draw.textlength("100 %", letters) + 4 * gap)
    height = line * len(rows) + gap
    left, top = _free_place(prediction.face.box, (width, height), bounds, gap)
    draw.rounded_rectangle((left, top, left + width, top + height), size // 2, fill=_PAPER)
    for i, (label, name, probability) in enumerate(rows):
        y = top + gap // 2 + i * line
        best = label == prediction.label
        draw.text((left + gap, y), name, _BEST if best else _INK, letters)
        start = left + round(names) + 2 * gap
        draw.rectangle((start, y + size // 4, start + bar, y + size), outline=_BAR)
        filled = round(bar * probability)
        draw.rectangle(
            (start, y + size // 4, start + filled, y + size), fill=_BEST if best else _BAR
        )
        share = f"{probability:.0%}".replace("%", " %")
        draw.text((start + bar + gap, y), share, _BEST if best else _INK, letters)


def _free_place(
    box: tuple[int, int, int, int], size: tuple[int, int], bounds: tuple[int, int], gap: int
) -> tuple[int, int]:
    """Right of the face, left, below or above it, wherever there is room; else in a corner."""
    x1, y1, x2, y2 = box
    width, height = size
    across, down = bounds[0] - width, bounds[1] - height
    x, y = min(max(0, x1), max(0, across)), min(max(0, y1), max(0, down))
    for left, top in ((x2 + gap, y), (x1 - gap - width, y), (x, y2 + gap), (x, y1 - gap - height)):
        if 0 <= left <= across and 0 <= top <= down:
            return left, top
    return max(0, across), max(0, down)
