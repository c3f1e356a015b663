"""Export of fitted pipelines for other programs. An export must predict as the original does."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from ferembed.errors import ModelError, UntrustedModel
from ferembed.registry import Registry
from ferembed.storage.files import atomic_write

EXPORTS: Registry[Callable[[Any, Path], None]] = Registry("export format")

_PICKLES = (".pkl", ".pickle", ".joblib", "")


def _pickle(pipeline: Any, path: Path) -> None:
    import joblib

    if path.suffix not in _PICKLES:
        raise ModelError(
            f"{path} would be a pickle. Give it one of the endings "
            f"{', '.join(filter(None, _PICKLES))}. ONNX networks are in models/backbones, and "
            "Pipeline.save writes models that are safe to open."
        )
    with atomic_write(path) as unfinished:
        joblib.dump(pipeline, unfinished, compress=3)
        _require_equal(pipeline, joblib.load(unfinished))


EXPORTS.add("pickle", _pickle)


def load_pickle(path: Path, allowed: bool) -> Any:
    """The content of an exported pickle. Opening a pickle can run any code in it."""
    if not allowed:
        raise UntrustedModel(
            f"{path} is a pickle or another file that is not a saved model. Opening a pickle can "
            "run any code in it. If you trust its maker, load it with allow_pickle=True. "
            "Models written by Pipeline.save are safe to open."
        )
    import joblib

    try:
        return joblib.load(path)
    except Exception as error:  # a pickle can fail in every way
        raise ModelError(f"{path} cannot be opened as a pickle: {error}.") from error


def _require_equal(original: Any, copy: Any) -> None:
    rng = np.random.default_rng(0)
    vectors = rng.standard_normal((64, original.head_.n_features_in_)).astype(np.float32)
    predictions = [
        np.asarray(getattr(pipeline.head_, "predict_proba", pipeline.head_.predict)(vectors))
        for pipeline in (original, copy)
    ]
    same = (
        np.allclose(predictions[0], predictions[1], rtol=0, atol=1e-9)
        if predictions[0].dtype.kind == "f"
        else (predictions[0] == predictions[1]).all()
    )
    if not same or original.embedder.recipe != copy.embedder.recipe:
        raise ModelError("The export does not predict as the original does; it was not written.")
