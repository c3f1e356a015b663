"""describe: what is in a data set, as a table and as a picture."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from ferembed._progress import Progress, report_progress
from ferembed.datasets.dataset import Dataset, story
from ferembed.drawing import font
from ferembed.errors import ImageError
from ferembed.images import save_picture, size_of
from ferembed.labels import reading_order

SPLIT_COLOURS = {
    "train": (66, 103, 172),
    "validation": (237, 152, 60),
    "test": (102, 163, 92),
    "unsplit": (120, 120, 130),
}
INK, PALE = (35, 38, 45), (120, 124, 134)


@dataclass(frozen=True)
class Description:
    """How many pictures of each class and size a data set has.

    >>> import numpy as np
    >>> gray = np.zeros((2, 48, 48), np.uint8)
    >>> print(describe(Dataset.of(gray, ["happy", "sad"], ["train", "train"])).table())
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
    story: tuple[str, ...]

    @property
    def classes(self) -> list[str]:
        return reading_order([label for of in self.counts.values() for label in of])

    def total(self, label: str | None = None) -> int:
        """How many pictures of a class, or of all."""
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
            lines.append(f"{'unreadable'.ljust(wide)} {self.unreadable:,} (audit tells which)")
        return "\n".join([*lines, *self.story])

    def to_json(self) -> str:
        return json.dumps(asdict(self), indent=1, ensure_ascii=False)

    def picture(self, path: str | os.PathLike[str]) -> Path:
        """A bar for each class and split, in the format of the ending of `path`, or as PNG."""
        import PIL.Image
        import PIL.ImageDraw

        splits = list(self.counts)
        bar, gap, left, right, top = 22, 14, 140, 110, 84
        group = bar * len(splits) + gap
        width, height = 900, top + group * len(self.classes) + 24
        most = max(count for of in self.counts.values() for count in of.values())
        canvas = PIL.Image.new("RGB", (width, height), "white")
        draw = PIL.ImageDraw.Draw(canvas)
        small, large = font(14), font(20)
        draw.text((24, 14), f"{self.total():,} pictures", INK, large)
        x = 24
        for split in splits:
            draw.rectangle((x, 54, x + 12, 66), SPLIT_COLOURS[split])
            text = f"{split} {sum(self.counts[split].values()):,}"
            draw.text((x + 19, 60), text, INK, small, anchor="lm")
            x += 48 + int(draw.textlength(text, small))
        for number, label in enumerate(self.classes):
            y = top + number * group
            middle = y + bar * len(splits) / 2
            draw.text((left - 14, middle), label, INK, small, anchor="rm")
            for place, split in enumerate(splits):
                count = self.counts[split].get(label, 0)
                end = left + (width - left - right) * count / most
                low = y + place * bar
                draw.rectangle(
                    (left, low + 1, max(end, left + 1), low + bar - 2), SPLIT_COLOURS[split]
                )
                draw.text((end + 8, low + bar / 2), f"{count:,}", PALE, small, anchor="lm")
        save_picture(canvas, Path(path))
        return Path(path)


def describe(dataset: Dataset, progress: Progress | None = None) -> Description:
    """Counts by class and split, and the sizes; of files only the heads are read."""
    sizes: Counter[str] = Counter()
    unreadable = 0
    for index, source in enumerate(dataset.images):
        try:
            sizes["{}x{}".format(*size_of(source))] += 1
        except ImageError:
            unreadable += 1
        report_progress(progress, index, len(dataset))
    return Description(
        dataset.counts(), dict(sizes.most_common()), unreadable, tuple(story(dataset.provenance))
    )
