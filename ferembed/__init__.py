"""ferembed reads facial expressions. Along one path:

    photo -> faces -> preprocess -> backbone -> store  |  head -> prediction -> report

`load_image` reads any picture, a `FaceRecipe` finds the `Face`s in it with a detector of
`DETECTORS` and cuts them out, a backbone of `BACKBONES` turns each into a vector as its
`Preprocess` recipe says, `EmbeddingStore` keeps the vectors, and a head of `HEADS` is fitted on
them. `Embedder` is the part up to the vectors and `Pipeline` is the whole, a scikit-learn
classifier over images.

Importing ferembed imports none of this: each name is loaded when it is first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ferembed._progress import ProgressBar as ProgressBar
    from ferembed.backbones import BACKBONES as BACKBONES
    from ferembed.backbones.preprocess import Preprocess as Preprocess
    from ferembed.embedder import Embedder as Embedder
    from ferembed.errors import FerembedError as FerembedError
    from ferembed.faces import DETECTORS as DETECTORS
    from ferembed.faces import Face as Face
    from ferembed.faces import FaceRecipe as FaceRecipe
    from ferembed.heads import HEADS as HEADS
    from ferembed.images import load_image as load_image
    from ferembed.labels import EXPRESSIONS as EXPRESSIONS
    from ferembed.pipeline import Pipeline as Pipeline
    from ferembed.pipeline import Prediction as Prediction
    from ferembed.storage.embeddings import EmbeddingStore as EmbeddingStore

_HOME = {
    "BACKBONES": "backbones",
    "DETECTORS": "faces",
    "EXPRESSIONS": "labels",
    "Embedder": "embedder",
    "EmbeddingStore": "storage.embeddings",
    "Face": "faces",
    "FaceRecipe": "faces",
    "FerembedError": "errors",
    "HEADS": "heads",
    "Pipeline": "pipeline",
    "Prediction": "pipeline",
    "Preprocess": "backbones.preprocess",
    "ProgressBar": "_progress",
    "load_image": "images",
}
__all__ = [*_HOME]
__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'ferembed' has no attribute {name!r}")
    return getattr(import_module(f"ferembed.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
