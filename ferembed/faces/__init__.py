"""Faces in photos. A detector is one file here and one import line below."""

from ferembed.faces import haar, mtcnn, whole  # noqa: F401  (each adds itself to DETECTORS)
from ferembed.faces.face import DETECTORS, Face, FaceDetector, crop

__all__ = ["DETECTORS", "Face", "FaceDetector", "crop"]
