"""describe: the classes, splits and sizes of a data set, as a table and as a picture."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from ferembed._progress import Progress, report_progress
from ferembed.datasets.dataset import Dataset, provenance_lines
from ferembed.drawing import INK, PALE, SPLIT_COLOURS, rendered
from ferembed.errors import ImageError
from ferembed.images import save_picture, size_of
from ferembed.labels import reading_order


@dataclass(frozen=True)
class Description:
    """The numbers of pictures of each class, split and size.

    >>> import numpy as np
    >>> gray = np.zeros((2, 48, 48), np.uint8)
    >>> print(describe(Dataset.from_images(gray, ["happy", "sad"], ["train", "train"])).table())
                 train   total   share
    happy            1       1   50.0%
    sad              1       1   50.0%
    total            2       2  100.0%
    sizes      48x48 2
    given: pictures 2
    """

    counts: Mapping[str, Mapping[str, int]]
    sizes: Mapping[str, int]
    unreadable: int
    provenance: tuple[str, ...]

    @property
    def classes(self) -> list[str]:
        return reading_order([label for of in self.counts.values() for label in of])

    def total(self, label: str | None = None) -> int:
        """The number of pictures of a class, or of all."""
        return sum(
            sum(of.values()) if label is None else of.get(label, 0) for of in self.counts.values()
        )

    def table(self) -> str:
        names = [*self.classes, "total"]
        wide = max(map(len, [*names, "unreadable"]))
        heads = [*self.counts, "total", "share"]
        columns = [max(8, len(head) + 2) for head in heads]
        rows = [["", *heads]]
        for name in names:
            label = None if name == "total" else name
            numbers = [
                sum(of.values()) if label is None else of.get(label, 0)
                for of in self.counts.values()
            ]
            share = self.total(label) / max(self.total(), 1)
            rows.append([name, *(f"{n:,}" for n in [*numbers, sum(numbers)]), f"{share:.1%}"])
        lines = [
            row[0].ljust(wide)
            + "".join(cell.rjust(width) for cell, width in zip(row[1:], columns, strict=True))
            for row in rows
        ]
        if self.sizes:
            common = list(self.sizes.items())
            sizes = ", ".join(f"{size} {count:,}" for size, count in common[:5])
            more = len(common) - 5
            others = f" and {more:,} other sizes" if more > 0 else ""
            lines.append(f"{'sizes'.ljust(wide)} {sizes}{others}")
        if self.unreadable:
            lines.append(f"{'unreadable'.ljust(wide)} {self.unreadable:,} (audit lists them)")
        return "\n".join([*lines, *self.provenance])

    def to_json(self) -> str:
        return json.dumps(asdict(self), indent=1, ensure_ascii=False)

    def picture(self, path: str | os.PathLike[str]) -> Path:
        """Write a bar chart of classes and splits, in the format of the path's ending or as PNG."""
        from matplotlib.figure import Figure

        splits, classes = list(self.counts), self.classes
        high = 0.8 / len(splits)
        inches = 9, 1.2 + len(classes) * (0.3 + 0.22 * len(splits))
        figure = Figure(figsize=inches, dpi=100, layout="constrained")
        axes = figure.add_subplot()
        for place, split in enumerate(splits):
            counts = [self.counts[split].get(label, 0) for label in classes]
            middles = [row + (place - (len(splits) - 1) / 2) * high for row in range(len(classes))]
            name = f"{split} {sum(counts):,}"
            bars = axes.barh(middles, counts, high * 0.9, label=name, color=SPLIT_COLOURS[split])
            axes.bar_label(bars, [f"{n:,}" for n in counts], padding=4, color=PALE, fontsize=9)
        axes.set_yticks(range(len(classes)), classes)
        axes.invert_yaxis()
        axes.margins(x=0.1)
        axes.set_title(f"{self.total():,} pictures", loc="left", color=INK)
        axes.xaxis.set_visible(False)
        axes.spines[["top", "right", "bottom"]].set_visible(False)
        axes.legend(ncols=len(splits), loc="lower right", bbox_to_anchor=(1, 1), frameon=False)
        save_picture(rendered(figure), Path(path))
        return Path(path)


def describe(dataset: Dataset, progress: Progress | None = None) -> Description:
    """Count classes, splits and sizes; only the header of each file is read."""
    sizes: Counter[str] = Counter()
    unreadable = 0
    for index, source in enumerate(dataset.images):
        try:
            sizes["{}x{}".format(*size_of(source))] += 1
        except ImageError:
            unreadable += 1
        report_progress(progress, index, len(dataset))
    return Description(
        dataset.counts(),
        dict(sizes.most_common()),
        unreadable,
        tuple(provenance_lines(dataset.provenance)),
    )
