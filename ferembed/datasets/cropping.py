"""crop: replaces photos by the faces in them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ferembed._progress import Progress, report_progress
from ferembed.datasets.dataset import Dataset, Step
from ferembed.datasets.sources import Derived, Images
from ferembed.errors import DataError, ImageError
from ferembed.faces import Face, FaceRecipe
from ferembed.images import Image, LazyPicture, Source, open_source, source_name


@dataclass(frozen=True)
class Crop(LazyPicture):
    """A face, cropped from its photo when it is loaded."""

    source: Source
    recipe: FaceRecipe
    face: Face

    def __str__(self) -> str:
        return f"{source_name(self.source)} (face)"

    def pixels(self) -> Image:
        photo, _ = open_source(self.source).reduced(self.recipe.shorter_side)
        return self.recipe.crop(self.recipe.prepare(photo), self.face)


@dataclass(frozen=True)
class Crops(Derived):
    """The faces of photos, one of each photo."""

    recipe: FaceRecipe
    faces: tuple[Face, ...]

    def __len__(self) -> int:
        return len(self.faces)

    def __getitem__(self, index: int) -> Crop:
        return Crop(self.images[index], self.recipe, self.faces[index])

    def name(self, index: int) -> str:
        return f"{self.images.name(index)} (face)"


def crop(
    dataset: Dataset, recipe: FaceRecipe | str = "mtcnn", progress: Progress | None = None
) -> Dataset:
    """The data set with the most confident face of each photo, cropped by a recipe.

    Photos without a face, and those that cannot be read, are skipped and counted in the
    provenance.
    """
    recipe = FaceRecipe.resolve(recipe)
    kept: list[int] = []
    faces: list[Face] = []
    skipped: dict[str, dict[str, Any]] = {}
    for index in range(len(dataset)):
        try:
            photo, size = open_source(dataset.images[index]).reduced(recipe.shorter_side)
            prepared = recipe.prepare(photo)
            found = recipe.find(prepared, prepared.shape[1] / size[0])
            reason = "no face found"
        except ImageError:
            found, reason = [], "cannot be read"
        if found:
            kept.append(index)
            faces.append(found[0])
        else:
            first = {"count": 0, "first": dataset.images.name(index)}
            skipped.setdefault(reason, first)["count"] += 1
        report_progress(progress, index, len(dataset))
    if not kept:
        raise DataError(
            f"{recipe.detector!r} finds no face in any of the {len(dataset):,} photos. Choose "
            "another detector, or do not crop them if each picture is a face."
        )
    step: Step = {"step": "crop", **recipe.facts(), "kept": len(kept), "skipped": skipped}
    cut = dataset.take(np.array(kept), step)
    return replace(cut, images=Images([Crops(cut.images, recipe, tuple(faces))]))
