"""The font of every picture: DejaVu Sans, which matplotlib carries and which has every accent."""

from __future__ import annotations

from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import PIL.ImageFont


@cache
def font(size: int) -> PIL.ImageFont.FreeTypeFont:
    """The font at a height in pixels. Pillow's own default draws a box for each accented letter."""
    import PIL.ImageFont

    return PIL.ImageFont.truetype(matplotlib_data() / "fonts" / "ttf" / "DejaVuSans.ttf", size)


def matplotlib_data() -> Path:
    """The folder of files that matplotlib carries, found without importing it."""
    package = find_spec("matplotlib")
    assert package is not None, "matplotlib is a dependency"
    assert package.origin is not None
    return Path(package.origin).parent / "mpl-data"
