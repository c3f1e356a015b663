"""The font (DejaVu Sans, from matplotlib) and the colours of all pictures."""

from __future__ import annotations

from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import PIL.Image
    import PIL.ImageFont
    from matplotlib.figure import Figure

INK, PALE, PAPER, EMPTY = "#1c2430", "#5b6675", "#ffffff", "#eef0f3"
EXPRESSION_COLOURS = {
    "angry": "#d55e00",
    "disgust": "#009e73",
    "fear": "#cc79a7",
    "happy": "#f0e442",
    "sad": "#0072b2",
    "surprise": "#56b4e9",
    "neutral": "#a9aeb6",
    "contempt": "#7a4fbf",
}
OTHER_COLOURS = ("#e69f00", "#6b8e23", "#8c564b", "#17becf")
"""For labels beyond the eight expressions."""
SPLIT_COLOURS = {
    "train": "#4267ac",
    "validation": "#ed983c",
    "test": "#66a35c",
    "unsplit": "#787882",
}


@cache
def font(size: int) -> PIL.ImageFont.FreeTypeFont:
    """The font at a height in pixels. Pillow's default font lacks accented letters."""
    import PIL.ImageFont

    return PIL.ImageFont.truetype(matplotlib_data() / "fonts" / "ttf" / "DejaVuSans.ttf", size)


def matplotlib_data() -> Path:
    """The data folder of matplotlib, found without importing it."""
    package = find_spec("matplotlib")
    assert package is not None, "matplotlib is a dependency"
    assert package.origin is not None
    return Path(package.origin).parent / "mpl-data"


def rendered(figure: Figure) -> PIL.Image.Image:
    """A matplotlib figure as a picture."""
    import numpy as np
    import PIL.Image
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    canvas: Any = FigureCanvasAgg(figure)
    canvas.draw()
    return PIL.Image.fromarray(np.asarray(canvas.buffer_rgba())).convert("RGB")
