"""YuNet on OpenVINO, which runs it in less than half of OpenCV's time."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ferembed.images import Image
from ferembed.inference.openvino import Compiled, compile_single, import_openvino

Rows = NDArray[np.float64]  # (n, 15): x, y, width, height, ten of landmarks, score
STRIDES = 8, 16, 32
PADDING = 32  # the sides of an input are multiples of it
COARSE = 160  # those of a large one of this, so that few shapes are compiled
SHAPES = 32  # compiled at most


def search_openvino(path: Path, score: float, overlap: float, most: int) -> Callable[[Image], Rows]:
    """A function from a BGR picture to its faces, as OpenCV's FaceDetectorYN finds them."""

    @lru_cache(SHAPES)
    def network(height: int, width: int) -> Compiled:
        model = import_openvino().Core().read_model(path)
        model.reshape([1, 3, height, width])
        return compile_single(model, cores=1)

    def search(pixels: Image) -> Rows:
        import cv2

        height, width = pixels.shape[:2]
        step = COARSE if max(height, width) > 2 * COARSE else PADDING
        high, wide = (-(-side // step) * step for side in (height, width))
        batch = np.zeros((1, 3, high, wide), np.float32)
        batch[0, :, :height, :width] = pixels.transpose(2, 0, 1)
        rows = _rows(network(high, wide)(batch), (high, wide), score)
        boxes, scores = rows[:, :4].tolist(), rows[:, 14].tolist()
        kept = cv2.dnn.NMSBoxes(boxes, scores, score, overlap, top_k=most)
        return rows[np.asarray(kept, np.intp).ravel()]

    return search


def _rows(outputs: list[NDArray[np.float32]], shape: tuple[int, int], least: float) -> Rows:
    """The faces of at least a score; the network gives class, object, box and points by stride."""
    found = [np.empty((0, 15))]
    for i, stride in enumerate(STRIDES):
        classes, objects, boxes, points = (output[0] for output in outputs[i::3])
        scores = np.sqrt(np.clip(classes[:, 0], 0, 1) * np.clip(objects[:, 0], 0, 1))
        (chosen,) = np.nonzero(scores >= least)
        rows, columns = np.divmod(chosen, shape[1] // stride)
        cells = np.column_stack([columns, rows]).astype(np.float64)
        middles, sizes = cells + boxes[chosen, :2], np.exp(boxes[chosen, 2:].astype(np.float64))
        marks = points[chosen] + np.tile(cells, 5)
        places = np.hstack([middles - sizes / 2, sizes, marks]) * stride
        found.append(np.column_stack([places, scores[chosen]]))
    return np.concatenate(found)
