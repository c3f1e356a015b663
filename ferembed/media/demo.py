"""The demo: a photo that an installed package carries, read by the model that ships."""

from __future__ import annotations

from pathlib import Path

from ferembed.drawing import matplotlib_data
from ferembed.media.photos import read_photos
from ferembed.media.writers import writing
from ferembed.pipeline import Pipeline


def photo() -> Path:
    """Matplotlib's portrait of Grace Hopper, a photograph in the public domain."""
    return matplotlib_data() / "sample_data" / "grace_hopper.jpg"


def demo(output: str, language: str = "en", format: str = "text") -> int:
    """Print the predictions, and write an annotated copy and a JSON file; 0 if a face was read."""
    folder = Path(output)
    pipeline = Pipeline.load("default", store="none")
    readings = list(read_photos(pipeline, [str(photo())], folder, language))
    for kind, target in ((format, None), ("json", str(folder / "grace_hopper.json"))):
        with writing(target, kind, language) as write:
            for reading in readings:
                write(reading)
    if format == "text":
        print(f"Written: {folder / 'grace_hopper.png'} and {folder / 'grace_hopper.json'}")
    return 0 if readings[0].predictions else 1
