"""A photo with what was read in it: a box around each face, the label, a bar per expression."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from ferembed.images import Image
from ferembed.labels import display_name

if TYPE_CHECKING:
    import PIL.ImageDraw
    import PIL.ImageFont

    from ferembed.pipeline import Prediction

_INK, _PAPER, _FRAME, _BAR, _BEST = "#ffffff", (16, 20, 28, 215), "#35d0ba", "#7d8ba0", "#35d0ba"


def annotate(photo: Image, predictions: Sequence[Prediction], language: str = "en") -> Image:
    """A copy of the photo with the predictions drawn on it, readable on any background."""
    import PIL.Image
    import PIL.ImageDraw
    import PIL.ImageFont

    picture = PIL.Image.fromarray(photo).convert("RGBA")
    layer = PIL.Image.new("RGBA", picture.size, (0, 0, 0, 0))
    draw = PIL.ImageDraw.Draw(layer)
    size = max(10, round(min(picture.size) / 36))
    font = PIL.ImageFont.load_default(size)
    for prediction in predictions:
        draw.rectangle(prediction.face.box, outline="#000000", width=max(3, size // 3))
        draw.rectangle(prediction.face.box, outline=_FRAME, width=max(1, size // 6))
    for prediction in predictions:
        _panel(draw, font, size, picture.size, prediction, language)
    return np.array(PIL.Image.alpha_composite(picture, layer).convert("RGB"))


def _panel(
    draw: PIL.ImageDraw.ImageDraw,
    font: PIL.ImageFont.FreeTypeFont | PIL.ImageFont.ImageFont,
    size: int,
    bounds: tuple[int, int],
    prediction: Prediction,
    language: str,
) -> None:
    rows = [
        (label, display_name(label, language), p) for label, p in prediction.probabilities.items()
    ]
    names = max(draw.textlength(name, font) for _, name, _ in rows)
    line, gap = round(size * 1.35), size // 2
    bar = size * 5
    width = round(names + bar + draw.textlength("100 %", font) + 4 * gap)
    height = line * len(rows) + gap
    x1, y1, x2, _ = prediction.face.box
    # Beside the face where there is room, else over the nearer edge of the photo.
    left = x2 + gap if x2 + gap + width <= bounds[0] else x1 - gap - width
    left = min(max(0, left), max(0, bounds[0] - width))
    top = min(max(0, y1), max(0, bounds[1] - height))
    draw.rounded_rectangle((left, top, left + width, top + height), size // 2, fill=_PAPER)
    for i, (label, name, probability) in enumerate(rows):
        y = top + gap // 2 + i * line
        best = label == prediction.label
        draw.text((left + gap, y), name, _BEST if best else _INK, font)
        start = left + round(names) + 2 * gap
        draw.rectangle((start, y + size // 4, start + bar, y + size), outline=_BAR)
        filled = round(bar * probability)
        draw.rectangle(
            (start, y + size // 4, start + filled, y + size), fill=_BEST if best else _BAR
        )
        share = f"{probability:.0%}".replace("%", " %")
        draw.text((start + bar + gap, y), share, _BEST if best else _INK, font)
