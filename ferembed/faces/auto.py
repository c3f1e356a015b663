"""The detector "auto": "yunet" where its file has been fetched, else "mtcnn"."""

from __future__ import annotations

from ferembed.faces.face import DETECTORS, FaceDetector
from ferembed.faces.yunet import MODEL

AUTO = "auto"


def automatic_detector() -> str:
    """The name of the detector that "auto" stands for here."""
    return "yunet" if MODEL.find() else "mtcnn"


def _detector() -> FaceDetector:
    return DETECTORS[automatic_detector()]()


DETECTORS.add(AUTO, _detector)
