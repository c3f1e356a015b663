"""Read many photos one by one.

A photo that cannot be read is a PhotoResult with an error; the others are still read.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from ferembed._prefetch import prefetch_map
from ferembed.errors import ImageError
from ferembed.faces import Face, FaceRecipe
from ferembed.images import Image, load_image, open_source, save_picture
from ferembed.media.annotate import annotate
from ferembed.pipeline import Pipeline, Prediction
from ferembed.storage.files import unique_name

if TYPE_CHECKING:
    from ferembed.datasets.zip_members import ZipMember


@dataclass(frozen=True)
class PhotoResult:
    """The result of one photo: its faces, or the reason why it could not be read."""

    photo: str
    predictions: tuple[Prediction, ...] = ()
    error: str = ""


class Journal(Protocol):
    """The journal that `read_photos` uses: it returns earlier results and keeps new ones."""

    def known(self, photo: str | ZipMember) -> PhotoResult | None: ...

    def drawn(self, photo: str | ZipMember) -> str | None: ...

    def add(
        self, photo: str | ZipMember, result: PhotoResult, drawn: str | None = None
    ) -> None: ...


def read_photos(
    pipeline: Pipeline,
    photos: Iterable[str | ZipMember],
    annotated_folder: Path | None = None,
    language: str = "en",
    journal: Journal | None = None,
) -> Iterator[PhotoResult]:
    """A PhotoResult for every photo, in order; annotated copies go into `annotated_folder`.

    Photos with a result in the journal are not read again, and new results are added to it. While
    one photo is read, the faces in the next are detected.
    """
    import PIL.Image

    taken: set[str] = set()
    name = None
    for photo, result, image, faces in _searched(pipeline, photos, journal, bool(annotated_folder)):
        known = result is not None
        if result is None:
            predictions = pipeline.read([crop for _, crop in faces], [face for face, _ in faces])
            result = PhotoResult(str(photo), tuple(predictions))
        if annotated_folder is not None:
            # A photo that fails takes a name, too: if it can be read later, the others keep theirs.
            name = f"{unique_name(Path(str(photo)).stem, taken)}.png"
            copy = annotated_folder / name
            drawn = journal is not None and journal.drawn(photo) == name and copy.exists()
            if not result.error and not (known and drawn):
                shown = load_image(photo, pipeline.max_pixels) if image is None else image
                picture = annotate(shown, result.predictions, language)
                save_picture(PIL.Image.fromarray(picture), copy)
        if journal is not None and not known:
            journal.add(photo, result, name)
        yield result


_Searched = tuple["str | ZipMember", "PhotoResult | None", "Image | None", list[tuple[Face, Image]]]


def _searched(
    pipeline: Pipeline, photos: Iterable[str | ZipMember], journal: Journal | None, keep: bool
) -> Iterator[_Searched]:
    """Each photo with its faces, or with its result: from the journal, or an error.

    With `keep` there is the photo, too. A large one takes 300 MB.
    """
    recipe = FaceRecipe.resolve(pipeline.detector)

    def search(photo: str | ZipMember) -> _Searched:
        if journal is not None and (result := journal.known(photo)):
            return photo, result, None, []
        try:
            opened = open_source(photo)
            image, size = opened.reduced(recipe.shorter_side, pipeline.max_pixels)
            whole = None
            if keep:
                whole = image if image.shape[1] == size[0] else opened.image(pipeline.max_pixels)
        except ImageError as error:
            return photo, PhotoResult(str(photo), error=str(error)), None, []
        return photo, None, whole, recipe(image, size)

    return prefetch_map(search, photos, threads=1 if keep else 2)
