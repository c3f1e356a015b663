"""Read many photos one by one.

A photo that cannot be read is a Reading with an error; the others are still read.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from ferembed._prefetch import prefetch_map
from ferembed.errors import ImageError
from ferembed.faces import Face, FaceRecipe
from ferembed.images import Image, load_image, save_picture
from ferembed.media.annotate import annotate
from ferembed.pipeline import Pipeline, Prediction
from ferembed.storage.files import unique_name

if TYPE_CHECKING:
    from ferembed.datasets.zip_members import ZipMember


@dataclass(frozen=True)
class Reading:
    """The result of one photo: its faces, or the reason why it could not be read."""

    photo: str
    predictions: tuple[Prediction, ...] = ()
    error: str = ""


class Journal(Protocol):
    """The journal that `read_photos` uses: it returns earlier results and keeps new ones."""

    def known(self, photo: str | ZipMember) -> Reading | None: ...

    def drawn(self, photo: str | ZipMember) -> str | None: ...

    def add(self, photo: str | ZipMember, reading: Reading, drawn: str | None = None) -> None: ...


def read_photos(
    pipeline: Pipeline,
    photos: Iterable[str | ZipMember],
    annotated: Path | None = None,
    language: str = "en",
    journal: Journal | None = None,
) -> Iterator[Reading]:
    """A Reading for every photo, in order; drawn copies go into the folder `annotated`.

    What the journal knows of a photo is not read again, and what is read goes into it. While one
    photo is read, the faces of the next are looked for.
    """
    import PIL.Image

    taken: set[str] = set()
    name = None
    for photo, reading, image, found in _found(pipeline, photos, journal):
        if reading is None:
            predictions = pipeline.read([crop for _, crop in found], [face for face, _ in found])
            reading = Reading(str(photo), tuple(predictions))
        if annotated is not None:
            # Those that fail have a name, too: the others keep theirs when it can be read later.
            name = f"{unique_name(Path(str(photo)).stem, taken)}.png"
            copy = annotated / name
            known = journal is not None and journal.drawn(photo) == name and copy.exists()
            if not reading.error and (image is not None or not known):
                shown = load_image(photo, pipeline.max_pixels) if image is None else image
                drawn = annotate(shown, reading.predictions, language)
                save_picture(PIL.Image.fromarray(drawn), copy)
        if journal is not None and image is not None:
            journal.add(photo, reading, name)
        yield reading


_Found = tuple["str | ZipMember", "Reading | None", "Image | None", list[tuple[Face, Image]]]


def _found(
    pipeline: Pipeline, photos: Iterable[str | ZipMember], journal: Journal | None
) -> Iterator[_Found]:
    """Each photo with its faces, or with the reading that needs none: known, or an error."""
    recipe = FaceRecipe.resolve(pipeline.detector)

    def find(photo: str | ZipMember) -> _Found:
        if journal is not None and (reading := journal.known(photo)):
            return photo, reading, None, []
        try:
            image = load_image(photo, pipeline.max_pixels)
        except ImageError as error:
            return photo, Reading(str(photo), error=str(error)), None, []
        return photo, None, image, recipe(image)

    return prefetch_map(find, photos, threads=1)  # a large photo takes 300 MB
