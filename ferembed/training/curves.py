"""Learning curves as a picture."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ferembed.storage.files import atomic_write


def draw_curves(epochs: Sequence[dict[str, Any]], path: Path) -> None:
    """Write a PNG of accuracy and loss per epoch, for training and validation faces."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 3.6), layout="constrained")
    numbers = [row["epoch"] for row in epochs]
    for axes, what in zip(figure.subplots(1, 2), ("accuracy", "loss"), strict=True):
        axes.plot(numbers, [row[what] for row in epochs], label="training")
        axes.plot(numbers, [row[f"validation_{what}"] for row in epochs], label="validation")
        axes.set(xlabel="epoch", title=what)
        axes.xaxis.get_major_locator().set_params(integer=True)
        axes.grid(alpha=0.3)
    axes.legend()
    with atomic_write(path) as unfinished:
        figure.savefig(unfinished, format="png", dpi=120)
