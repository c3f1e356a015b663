"""Faces in photos. Each detector is one file here and one import below."""

from ferembed.faces import auto, dlib, haar, mtcnn, whole_image, yunet  # noqa: F401  (each adds itself to DETECTORS)
from ferembed.faces.face import DETECTORS, Face, FaceDetector
from ferembed.faces.recipe import FACE_RECIPES, FaceRecipe

__all__ = ["DETECTORS", "FACE_RECIPES", "Face", "FaceDetector", "FaceRecipe"]
