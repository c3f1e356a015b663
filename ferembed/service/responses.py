"""The responses for a result: JSON, and an annotated picture."""

from __future__ import annotations

import io
from functools import cache
from typing import Any

from ferembed.errors import FerembedError
from ferembed.faces import DETECTORS
from ferembed.labels import display_name
from ferembed.media.annotate import annotate
from ferembed.pipeline import Prediction
from ferembed.service.reading import Result


def entry(result: Result, language: str = "en") -> dict[str, Any]:
    """One picture of a response."""
    if result.error:
        return {"picture": result.name, "error": result.error}
    width, height = result.size
    return {
        "picture": result.name,
        "width": width,
        "height": height,
        "faces": [face(prediction, language) for prediction in result.predictions],
        "faces_left_out": result.left_out,
    }


def face(prediction: Prediction, language: str = "en") -> dict[str, Any]:
    """One face of a response."""
    where = prediction.face
    points = where.landmarks and [[round(x, 1), round(y, 1)] for x, y in where.landmarks]
    return {
        "box": list(where.box),
        "score": round(where.score, 4),
        "found": where.found,
        "detector": where.detector,
        "landmarks": points,
        **shown(prediction, language),
    }


def shown(prediction: Prediction, language: str = "en") -> dict[str, Any]:
    """The prediction of a face."""
    return {
        "label": prediction.label,
        "name": display_name(prediction.label, language),
        "probabilities": {label: round(p, 6) for label, p in prediction.probabilities.items()},
    }


def drawn(result: Result, language: str = "en") -> bytes:
    """The annotated picture, as a PNG."""
    import PIL.Image

    assert result.image is not None
    out = io.BytesIO()
    picture = PIL.Image.fromarray(annotate(result.image, result.predictions, language))
    picture.save(out, "PNG", compress_level=1)
    return out.getvalue()


@cache
def usable_detectors() -> list[str]:
    """The detectors whose packages are installed here."""
    usable = []
    for name in DETECTORS:
        try:
            DETECTORS[name]()
        except (FerembedError, ImportError):
            continue
        usable.append(name)
    return usable
