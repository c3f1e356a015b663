"""Journal: the results of a long run, kept one by one so that it can resume."""

from __future__ import annotations

import json
import math
import operator
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from ferembed import __version__
from ferembed.errors import DataError
from ferembed.faces import Face, FaceRecipe
from ferembed.media.photos import PhotoResult
from ferembed.pipeline import Pipeline, Prediction

if TYPE_CHECKING:
    from ferembed.datasets.zip_members import ZipMember


class Journal:
    """The results of photos for an output, in a file NAME.part beside it.

    It is used by runs with the same model and settings, for photos that have not changed since.
    Other entries are dropped. Photos that could not be read are tried again.
    """

    def __init__(self, output: Path, pipeline: Pipeline, *settings: str | None) -> None:
        if output.is_dir():
            raise DataError(f"{output} is a folder. Give the name of a file for the results.")
        name = output.name  # of 255 bytes at most, as that of the journal
        name = name if len(os.fsencode(name)) <= 250 else name[-60:]
        self.path = output.with_name(f"{name}.part")
        import joblib

        recipe = FaceRecipe.resolve(pipeline.detector).facts()
        prediction = pipeline.prior, pipeline.prior_strength, pipeline.expressions
        model = joblib.hash((pipeline.head_, pipeline.recipe_.fingerprint, prediction))
        roundings = [request.precision_tag for request in pipeline.embedder.requests]
        self._known: dict[str, dict[str, Any]] = {}
        self._stamps: dict[str, list[int]] = {}  # of the photos that are being read
        head = json.dumps([__version__, model, roundings, recipe, *settings])
        try:
            lines = self.path.read_text(encoding="utf-8", errors="replace").splitlines()
        except OSError:
            lines = []
        if lines and not lines[0].startswith('["'):
            raise DataError(
                f"{self.path} already exists and is not a photo journal. Move it, or choose "
                "another output."
            )
        if lines[:1] == [head]:
            for line in lines[1:]:
                try:
                    entry = json.loads(line)
                    self._known[entry["photo"]] = entry
                except (ValueError, KeyError, TypeError, RecursionError):
                    continue  # the last line of a run that was killed
        self._file: IO[str] | None = None
        self._head = head

    def __len__(self) -> int:
        """The number of photos with a result, changed or not."""
        return len(self._known)

    def known(self, photo: str | ZipMember) -> PhotoResult | None:
        """The result of a photo, if the photo has not changed since.

        Call it before the photo is read: `add` then stores the state of the file as it is now.
        """
        name = os.path.abspath(str(photo))
        entry, stamp = self._known.get(name, {}), _stamp(photo)
        try:
            if stamp and entry["stamp"] == stamp:
                return PhotoResult(
                    str(photo), tuple(_prediction(fields) for fields in entry["predictions"])
                )
        # It is missing, or was edited.
        except (AttributeError, KeyError, OverflowError, TypeError, ValueError):
            pass
        self._stamps[name] = stamp
        return None

    def drawn(self, photo: str | ZipMember) -> str | None:
        """The name of the annotated copy of a photo with a result."""
        return self._known.get(os.path.abspath(str(photo)), {}).get("drawn")

    def add(self, photo: str | ZipMember, result: PhotoResult, drawn: str | None = None) -> None:
        """Add the result of a photo, and the name of its annotated copy."""
        if self._file is None:
            self._file = self._start()
        predictions = [asdict(prediction) for prediction in result.predictions]
        name = os.path.abspath(str(photo))
        entry = {"photo": name, "stamp": self._stamps.pop(name, []), "drawn": drawn}
        self._file.write(json.dumps({**entry, "predictions": predictions}) + "\n")
        self._file.flush()

    def close(self) -> None:
        if self._file is not None:
            self._file.close()

    def remove(self) -> None:
        """Delete the file, as the output is complete."""
        self.close()
        self.path.unlink(missing_ok=True)

    def _start(self) -> IO[str]:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        file = self.path.open("a" if self._known else "w", encoding="utf-8")
        # The last line may be incomplete.
        file.write("\n" if self._known else self._head + "\n")
        return file


@contextmanager
def open_journal(
    output: str | None, pipeline: Pipeline, *settings: str | None
) -> Iterator[Journal | None]:
    """The journal for an output; it is deleted at the end, unless the run was interrupted."""
    if output is None:
        yield None
        return
    journal = Journal(Path(output), pipeline, *settings)
    try:
        yield journal
        journal.remove()
    finally:
        journal.close()


def _stamp(photo: str | ZipMember) -> list[int]:
    """Size, time and number of the file; of the zip for a picture in a zip."""
    try:
        stat = os.stat(photo if isinstance(photo, str) else photo.archive.path)
    except (OSError, ValueError):
        return []
    return [stat.st_size, stat.st_mtime_ns, stat.st_ino]


def _prediction(fields: dict[str, Any]) -> Prediction:
    """The prediction, or a ValueError, KeyError or TypeError if the entry is damaged."""
    face, shares = fields["face"], fields["probabilities"]
    points = face["landmarks"] and tuple((float(x), float(y)) for x, y in face["landmarks"])
    x1, y1, x2, y2 = map(operator.index, face["box"])
    facts = bool(face["found"]), str(face["detector"])
    found = Face((x1, y1, x2, y2), float(face["score"]), points or None, *facts)
    numbers = [found.score, *shares.values(), *(value for point in points or () for value in point)]
    if fields["label"] not in shares or not all(map(math.isfinite, numbers)):
        raise ValueError("a label without a probability, or a number that is not finite")
    if max(map(abs, (x1, y1, x2, y2))) >= 1 << 31:
        raise ValueError("a face that no picture has room for")
    return Prediction(found, fields["label"], shares)
