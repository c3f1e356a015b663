"""Compare the detectors: the faces that each finds, and the default model's accuracy on them.

    python -m benchmarks.faces photos.zip [--fer2013 fer2013.zip] [--model default]

The photos are a labelled CSV with one face each, mostly in the middle; no model has learned from
them. Half of them, by a hash of the name, choose margin and alignment of each detector, by the log
loss of the labels, in which a photo without a face counts as a guess; the other half is what the
chosen ones are scored on. FER2013 shows how its own crops lie about the boxes of a detector.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import statistics
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np

from benchmarks.machine import machine_text
from ferembed import Pipeline, datasets
from ferembed.errors import MissingExtra, WeightsError
from ferembed.faces import DETECTORS, Face, FaceRecipe
from ferembed.faces.haar import find_eyes
from ferembed.images import load_image
from ferembed.report import markdown_table
from ferembed.storage.files import atomic_write

RESULTS = Path(__file__).parent / "results" / "faces.json"
MARGINS = (0.0, 0.1, 0.2, 0.3, 0.4)
ALIGNS: tuple[Literal["none", "eyes"], ...] = ("none", "eyes")
TILT = 20  # degrees
FRAMES = 600  # faces of FER2013


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("photos", help="a zip of photos and a CSV of their names and labels")
    parser.add_argument("--fer2013", help="FER2013 as a zip of class folders, or its CSV")
    parser.add_argument("--model", default="default")
    options = parser.parse_args()
    photos = Photos.read(options.photos)
    pipeline = Pipeline.load(options.model, store="none")
    rows = []
    for name in DETECTORS.names():
        try:
            DETECTORS[name]()
        except (MissingExtra, WeightsError) as error:
            print(f"{name} is left out: {error}")
            continue
        rows.append(measure(name, photos, pipeline, options.fer2013))
        print(f"{name} is measured", flush=True)
    result = {
        "made_by": "benchmarks/faces.py",
        "machine": machine_text(),
        "model": options.model,
        "photos": len(photos.pixels),
        "choosing": int(photos.choosing.sum()),
        "reporting": int((~photos.choosing).sum()),
        "detectors": rows,
    }
    with atomic_write(RESULTS) as unfinished:
        unfinished.write_text(json.dumps(result, indent=1) + "\n")
    print(tables(result))


@dataclass(frozen=True)
class Photos:
    pixels: list[Any]
    labels: np.ndarray
    choosing: np.ndarray  # which of them choose

    @classmethod
    def read(cls, path: str) -> Photos:
        # Contempt has no counterpart among the seven.
        data = datasets.open(path, labels={"contempt": None})
        names = [data.images.name(index) for index in range(len(data))]
        digests = [hashlib.sha256(Path(name).name.encode()).digest() for name in names]
        return cls(
            [load_image(data.images[index]) for index in range(len(data))],
            np.array(data.labels),
            np.array([digest[0] % 2 == 0 for digest in digests]),
        )


def measure(name: str, photos: Photos, pipeline: Pipeline, fer2013: str | None) -> dict[str, Any]:
    detect = DETECTORS[name]()
    detect(photos.pixels[0])  # what is loaded at first use is not timed
    faces, seconds = found(detect, photos.pixels)
    wide = mosaics(photos.pixels)
    row: dict[str, Any] = {
        "detector": name,
        "found": share(len(each) > 0 for each in faces),
        "several": share(len(each) > 1 for each in faces),
        "in_the_middle": share(
            bool(each) and covers_middle(each[0], photo)
            for each, photo in zip(faces, photos.pixels, strict=True)
        ),
        "false_in_landscapes": share(len(detect(part)) > 0 for part in landscapes()),
        "of_six_in_a_photo": round(statistics.mean(len(detect(photo)) / 6 for photo in wide), 4),
        "milliseconds": round(1000 * statistics.median(seconds), 2),
        "milliseconds_1280x720": round(1000 * statistics.median(found(detect, wide * 2)[1]), 1),
    }
    print(f"  {name} finds {row['found']:.2%}", flush=True)
    cells: list[dict[str, Any]] = []
    for align in ALIGNS:
        if align == "eyes":
            faces = [with_eyes(*pair) for pair in zip(photos.pixels, faces, strict=True)]
        for margin in MARGINS if name != "none" else (0.0,):
            recipe = FaceRecipe(name, margin=margin, align=align)
            scores = score(pipeline, recipe, photos, faces, photos.choosing)
            cells.append({"margin": margin, "align": align, **scores})
        if name == "none":
            break
    best = min(cells, key=lambda cell: cell["log_loss"])
    recipe = FaceRecipe(name, margin=best["margin"], align=best["align"])
    row |= {"margin": best["margin"], "align": best["align"], "choosing": cells}
    row["reporting"] = score(pipeline, recipe, photos, faces, ~photos.choosing)
    if name != "none":
        row["tilted"] = tilted(name, best["margin"], photos, pipeline)
        if fer2013:
            row["frame_of_fer2013"] = frame(detect, fer2013)
    return row


def found(detect: Any, photos: list[Any]) -> tuple[list[list[Face]], list[float]]:
    faces, seconds = [], []
    for photo in photos:
        started = time.perf_counter()
        faces.append(detect(photo))
        seconds.append(time.perf_counter() - started)
    return faces, seconds


def share(answers: Any) -> float:
    return round(statistics.mean(map(float, answers)), 4)


def covers_middle(face: Face, photo: Any) -> bool:
    (x1, y1, x2, y2), (height, width) = face.box, photo.shape[:2]
    return x1 <= width / 2 <= x2 and y1 <= height / 2 <= y2


def with_eyes(photo: Any, faces: list[Face]) -> list[Face]:
    """The surest face with its eyes, so that they are looked for once and not for each margin."""
    if not faces or faces[0].landmarks:
        return faces
    return [replace(faces[0], landmarks=find_eyes(photo, faces[0].box))]


def score(
    pipeline: Pipeline, recipe: FaceRecipe, photos: Photos, faces: list[list[Face]], which: Any
) -> dict[str, float]:
    """The scores of the model on the most confident face of each photo."""
    chosen = [index for index in np.flatnonzero(which) if faces[index]]
    crops = [recipe.crop(photos.pixels[index], faces[index][0]) for index in chosen]
    probabilities = np.full((len(which), len(pipeline.classes_)), 1 / len(pipeline.classes_))
    probabilities[chosen] = pipeline.predict_proba(crops)
    columns = np.searchsorted(pipeline.classes_, photos.labels)
    right = probabilities.argmax(axis=1) == columns
    right[[not each for each in faces]] = False
    losses = -np.log(np.maximum(probabilities[np.arange(len(which)), columns], 1e-3))
    return {
        "accuracy": round(float(right[which].mean()), 4),
        "accuracy_found": round(float(right[chosen].mean()), 4),
        "log_loss": round(float(losses[which].mean()), 4),
    }


def tilted(name: str, margin: float, photos: Photos, pipeline: Pipeline) -> dict[str, Any]:
    """The same on photos that are turned to either side, the eyes levelled or not."""
    import cv2

    turned = []
    for index, photo in enumerate(photos.pixels):
        height, width = photo.shape[:2]
        degrees = TILT if index % 2 else -TILT
        matrix = cv2.getRotationMatrix2D((width / 2, height / 2), degrees, 1)
        turned.append(cv2.warpAffine(photo, matrix, (width, height), borderMode=1))
    kept = replace(photos, pixels=turned)
    faces = found(DETECTORS[name](), turned)[0]
    scores: dict[str, Any] = {
        align: score(
            pipeline, FaceRecipe(name, margin=margin, align=align), kept, faces, ~photos.choosing
        )
        for align in ALIGNS
    }
    return {"degrees": TILT, "found": share(len(each) > 0 for each in faces), **scores}


def frame(detect: Any, path: str) -> dict[str, float]:
    """The margin that makes of a box what FER2013 shows of a face: median and quartiles."""
    import cv2

    data = datasets.open(path)
    names = [data.images.name(index) for index in range(len(data))]
    validation = [index for index, name in enumerate(names) if "PublicTest" in name]
    margins = []
    for index in np.random.default_rng(0).permutation(validation or len(data))[:FRAMES]:
        face = cv2.resize(load_image(data.images[int(index)]), (192, 192), interpolation=2)
        faces = detect(cv2.copyMakeBorder(face, 60, 60, 60, 60, cv2.BORDER_REPLICATE))
        if faces:
            x1, y1, x2, y2 = faces[0].box
            margins.append(192 / max(x2 - x1, y2 - y1) - 1)
    low, middle, high = np.percentile(margins, [25, 50, 75]).round(3)
    return {"found": round(len(margins) / FRAMES, 4), "margin": middle, "from": low, "to": high}


def mosaics(photos: list[Any]) -> list[Any]:
    """Photos of 1280x720 with six faces each."""
    import cv2

    made = []
    for start in range(0, 60, 6):
        wide = np.full((720, 1280, 3), 110, np.uint8)
        for place, photo in enumerate(photos[start : start + 6]):
            y, x = 5 + place // 3 * 360, 50 + place % 3 * 420
            wide[y : y + 340, x : x + 340] = cv2.resize(photo, (340, 340))
        made.append(wide)
    return made


def landscapes() -> list[Any]:
    """Parts of two photos without a face, which scikit-learn carries."""
    from sklearn.datasets import load_sample_images

    rng = np.random.default_rng(0)
    parts = []
    for photo in load_sample_images().images:
        for _ in range(100):
            side = int(rng.integers(100, 427))
            y, x = (int(rng.integers(0, length - side + 1)) for length in photo.shape[:2])
            parts.append(np.ascontiguousarray(photo[y : y + side, x : x + side]))
    return parts


def tables(result: dict[str, Any]) -> str:
    first = markdown_table(
        ["detector", "found", "in the middle", "several", "of six", "false", "ms", "ms 1280x720"],
        [
            [
                row["detector"],
                *(f"{row[key]:.1%}" for key in ("found", "in_the_middle", "several")),
                *(f"{row[key]:.1%}" for key in ("of_six_in_a_photo", "false_in_landscapes")),
                *(f"{row[key]:.1f}" for key in ("milliseconds", "milliseconds_1280x720")),
            ]
            for row in result["detectors"]
            if row["detector"] != "none"
        ],
    )
    second = markdown_table(
        ["detector", "margin", "align", "accuracy", "of found", "log loss", "tilted", "levelled"],
        [
            [
                row["detector"],
                f"{row['margin']:.1f}",
                row["align"],
                *(f"{row['reporting'][key]:.1%}" for key in ("accuracy", "accuracy_found")),
                f"{row['reporting']['log_loss']:.3f}",
                *(f"{row['tilted'][a]['accuracy']:.1%}" if "tilted" in row else "" for a in ALIGNS),
            ]
            for row in result["detectors"]
        ],
    )
    third = markdown_table(
        ["detector", "align", *(f"margin {margin:.1f}" for margin in MARGINS)],
        [
            [row["detector"], align, *(f"{cell['log_loss']:.3f}" for cell in cells)]
            for row in result["detectors"]
            for align in ALIGNS
            if (cells := [cell for cell in row["choosing"] if cell["align"] == align])
        ],
    )
    return (
        f"All {result['photos']} photos:\n\n{first}\n\n"
        f"The {result['reporting']} that report:\n\n{second}\n\n"
        f"Log loss on the {result['choosing']} that choose:\n\n{third}"
    )


if __name__ == "__main__":
    main()
