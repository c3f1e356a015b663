"""The demo: a photo that an installed package carries, read by the model that ships."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ferembed.drawing import matplotlib_data
from ferembed.media.photos import PhotoResult, read_photos
from ferembed.media.writers import writing
from ferembed.pipeline import Pipeline


@dataclass(frozen=True)
class Demo:
    """The result of the demo, its annotated copy and its JSON file."""

    result: PhotoResult
    drawn: Path
    table: Path


def photo() -> Path:
    """Matplotlib's portrait of Grace Hopper, a photograph in the public domain."""
    return matplotlib_data() / "sample_data" / "grace_hopper.jpg"


def demo(output: str, language: str = "en") -> Demo:
    """Read the portrait, and write an annotated copy and a JSON file into the folder."""
    folder = Path(output)
    pipeline = Pipeline.load("default", store="none")
    (result,) = read_photos(pipeline, [str(photo())], folder, language)
    done = Demo(result, folder / "grace_hopper.png", folder / "grace_hopper.json")
    with writing(str(done.table), "json", language) as write:
        write(result)
    return done
