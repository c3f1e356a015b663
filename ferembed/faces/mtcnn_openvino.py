"""MTCNN's cascade of three networks on OpenVINO, with the weights of the mtcnn package."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ferembed._prefetch import prefetch_map
from ferembed.errors import WeightsError
from ferembed.images import Image
from ferembed.inference.openvino import Floats, compile_single, import_openvino
from ferembed.storage.weights import PackagedWeights

# Pickles: only these three files are opened, after their sha256 is checked.
PROPOSE, REFINE, OUTPUT = (
    PackagedWeights(
        f"{name}.lz4",
        sha256,
        "MIT",
        "WIDER FACE and CelebA",
        command="pip install mtcnn==1.0.0",
        module="mtcnn",
        member=f"assets/weights/{name}.lz4",
    )
    for name, sha256 in (
        ("pnet", "ea6b0c3e685ebee3165326ad6484acc95f2ef78f1c94fbf40a55704fa989f7b5"),
        ("rnet", "cb00e6460f3c98b0bfafaba3c0a0ded4bdf6e62cee7174d969e8670d7e757fee"),
        ("onet", "94f6ea2f4cf985275ee958cdd762d17b6009348a4fb9d8c6be39ba73ffd22ca3"),
    )
)
SMALLEST_FACE, WINDOW, STRIDE = 20, 12, 2
SCALE_STEP = 0.709
THRESHOLDS = 0.6, 0.7, 0.8  # of the scores of the three networks
Boxes = NDArray[np.float64]  # (n, 5): x1, y1, x2, y2, score


class Cascade:
    """The steps of the mtcnn package, with its constants, on OpenVINO."""

    def __init__(self) -> None:
        self._propose = compile_single(_network(PROPOSE, (1, -1, -1)))
        self._refine = compile_single(_network(REFINE, (32, 24, 24)))
        self._output = compile_single(_network(OUTPUT, (4, 48, 48)))

    def __call__(self, photo: Image) -> Boxes:
        pixels = photo.astype(np.float32)
        pixels -= 127.5
        pixels /= 128
        boxes = self._proposals(pixels)
        if len(boxes):
            shifts, scores = _run_in_batches(self._refine, pixels, boxes, (32, 24))
            boxes = _shifted(boxes, shifts, scores)
            boxes = _squares(non_maximum_suppression(boxes[boxes[:, 4] > THRESHOLDS[1]], 0.7))
        if not len(boxes):
            return np.empty((0, 15))
        shifts, points, scores = _run_in_batches(self._output, pixels, boxes, (4, 48))
        points = (
            np.repeat(boxes[:, :2], 5, axis=1)
            + np.repeat(_widths_and_heights(boxes), 5, axis=1) * points
        )
        rows = np.hstack([_shifted(boxes, shifts, scores), points - 1])
        rows = non_maximum_suppression(rows[rows[:, 4] > THRESHOLDS[2]], 0.7, of_smaller=True)
        height, width = photo.shape[:2]
        rows[:, :4] = np.clip(rows[:, :4], 0, [width - 1, height - 1] * 2)
        return rows

    def _proposals(self, pixels: Floats) -> Boxes:
        """Squares that the first network proposes as faces."""
        import cv2

        height, width = pixels.shape[:2]

        def at_scale(scale: float) -> Boxes:
            size = int(width * scale), int(height * scale)
            level = cv2.resize(pixels, size, interpolation=cv2.INTER_AREA).astype(np.float32)
            shifts, scores = (found[0] for found in self._propose(level[None]))
            rows, columns = np.nonzero(scores[..., 1] > THRESHOLDS[0])
            corners = np.stack([columns, rows], axis=1) * STRIDE
            windows = np.hstack([corners + 1, corners + WINDOW])
            boxes = windows + shifts[rows, columns].astype(np.float64) * (WINDOW - 1)
            found = np.column_stack([boxes / scale, scores[rows, columns, 1]])
            return non_maximum_suppression(found, 0.5)

        kept = prefetch_map(at_scale, _scales(min(height, width)))
        return _squares(non_maximum_suppression(np.concatenate([np.empty((0, 5)), *kept]), 0.7))


def _scales(shorter_side: int) -> NDArray[np.float64]:
    count = round(-(np.log(shorter_side / WINDOW) / np.log(SCALE_STEP) + 1))
    return np.asarray(WINDOW / SMALLEST_FACE * SCALE_STEP ** np.arange(count))


def _run_in_batches(
    network: Callable[[Floats], list[Floats]], pixels: Floats, boxes: Boxes, given: tuple[int, int]
) -> Iterator[Boxes]:
    """The outputs of a network for the boxes; `given` is its batch size and its input's side."""
    at_once, side = given

    def run(start: int) -> list[Floats]:
        parts = _parts(pixels, boxes[start : start + at_once], side)
        # A batch of another size would compile the network again.
        batch = np.concatenate([parts, np.zeros((at_once - len(parts), side, side, 3), np.float32)])
        return [output[: len(parts)] for output in network(batch)]

    outputs = prefetch_map(run, range(0, len(boxes), at_once))
    return (np.concatenate(parts).astype(np.float64) for parts in zip(*outputs, strict=True))


def _parts(pixels: Floats, boxes: Boxes, side: int) -> Floats:
    """(n, side, side, 3): the boxes, scaled to that side; gray outside the photo.

    As in tf.image.crop_and_resize, corners are the centers of the outermost pixels.
    """
    height, width = pixels.shape[:2]

    def along(start: Boxes, end: Boxes, length: int) -> tuple[Any, ...]:
        first, last = ((edge / length).astype(np.float32)[:, None] for edge in (start, end))
        step = (last - first) * np.float32(length - 1) / np.float32(side - 1)
        at = first * np.float32(length - 1) + np.arange(side, dtype=np.float32) * step
        inside = (at >= 0) & (at <= length - 1)
        at = np.clip(at, 0, length - 1)
        low = at.astype(np.intp)
        return low, np.minimum(low + 1, length - 1), at - low, inside

    top, bottom, down, rows_inside = along(boxes[:, 1], boxes[:, 3], height)
    left, right, aside, columns_inside = along(boxes[:, 0], boxes[:, 2], width)
    flat = pixels.reshape(-1, 3)
    aside = aside[:, None, :, None]

    def row(at: NDArray[np.intp]) -> Any:
        starts = at[:, :, None] * width
        here, there = (flat.take(starts + edge[:, None], axis=0) for edge in (left, right))
        return here + (there - here) * aside

    above, below = row(top), row(bottom)
    parts = above + (below - above) * down[:, :, None, None]
    parts[~(rows_inside[:, :, None] & columns_inside[:, None, :])] = 0
    return np.asarray(parts, np.float32)


def _widths_and_heights(boxes: Boxes) -> Boxes:
    return boxes[:, 2:4] - boxes[:, :2] + 1


def _shifted(boxes: Boxes, shifts: Boxes, scores: Boxes) -> Boxes:
    """The boxes with their edges shifted by shares of their sides, and with the scores."""
    corners = boxes[:, :4] + shifts * np.tile(_widths_and_heights(boxes), 2)
    return np.column_stack([corners, scores[:, 1]])


def _squares(boxes: Boxes) -> Boxes:
    sides = boxes[:, 2:4] - boxes[:, :2]
    longer = sides.max(axis=1, keepdims=True)
    corners = boxes[:, :2] + sides / 2 - longer / 2
    return np.hstack([corners, corners + longer, boxes[:, 4:]])


def non_maximum_suppression(rows: Boxes, limit: float, *, of_smaller: bool = False) -> Boxes:
    """The rows whose boxes overlap a more confident one by at most `limit`, sorted by score.

    The overlap is a share of the union, or of the smaller box. As in the package, a box suppresses
    others even if it is suppressed itself.
    """
    rows = rows[np.argsort(rows[:, 4])[::-1]]
    x1, y1, x2, y2 = rows[:, :4].T
    areas = (x2 - x1) * (y2 - y1)
    stays = np.ones(len(rows), bool)
    for start in range(0, len(rows), 256):  # all pairs at once need too much memory
        these = np.s_[start : start + 256, None]
        better = np.s_[None, : start + 256]
        wide = np.minimum(x2[these], x2[better]) - np.maximum(x1[these], x1[better])
        high = np.minimum(y2[these], y2[better]) - np.maximum(y1[these], y1[better])
        shared = np.maximum(0, wide) * np.maximum(0, high)
        if of_smaller:
            whole = np.minimum(areas[these], areas[better])
        else:
            whole = areas[these] + areas[better] - shared
        with np.errstate(divide="ignore", invalid="ignore"):
            close = shared / whole > limit
        stays[start : start + 256] = ~np.tril(close, start - 1).any(axis=1)
    return rows[stays]


def _network(weights: PackagedWeights, shape: tuple[int, int, int]) -> Any:
    """The openvino.Model from pictures to shifts of the box, points if any, and scores."""
    import joblib

    openvino = import_openvino()
    ops = openvino.opset13

    path = weights.path()
    try:
        import lz4.frame

        # joblib could decompress it, but on Python 3.13 that ends in a warning of lz4.
        arrays = iter(joblib.load(io.BytesIO(lz4.frame.decompress(path.read_bytes()))))
    except (ImportError, OSError, RuntimeError, ValueError) as error:
        raise WeightsError(f"{path} cannot be read: {error}.") from error

    def convolve(x: Any, *, activation: bool = True) -> Any:
        kernel, bias = next(arrays).transpose(3, 2, 0, 1), next(arrays)
        x = ops.convolution(x, kernel.copy(), [1, 1], [0, 0], [0, 0], [1, 1])
        x = ops.add(x, bias.reshape(1, -1, 1, 1))
        return ops.prelu(x, next(arrays).ravel()) if activation else x

    def connect(x: Any, *, activation: bool = False) -> Any:
        x = ops.add(ops.matmul(x, next(arrays), False, False), next(arrays))
        return ops.prelu(x, next(arrays)) if activation else x

    def pool(x: Any, size: int, edge: str = "same_upper") -> Any:
        return ops.max_pool(x, [2, 2], [1, 1], [0, 0], [0, 0], [size] * 2, auto_pad=edge).output(0)

    def order(x: Any, *axes: int) -> Any:
        return ops.transpose(x, np.array(axes))

    pictures = ops.parameter([*shape, 3], np.float32)
    x = convolve(order(pictures, 0, 3, 1, 2))
    if weights is PROPOSE:
        x = convolve(convolve(pool(x, 2)))
        shifts, scores = convolve(x, activation=False), convolve(x, activation=False)
        outputs = [order(out, 0, 2, 3, 1) for out in (shifts, ops.softmax(scores, 1))]
    else:
        x = convolve(pool(convolve(pool(x, 3)), 3, "valid"))
        if weights is OUTPUT:
            x = convolve(pool(x, 2))
        x = ops.reshape(order(x, 0, 3, 2, 1), np.array([0, -1]), True)
        x = connect(x, activation=True)
        outputs = [connect(x) for _ in range(3 if weights is OUTPUT else 2)]
        outputs[-1] = ops.softmax(outputs[-1], 1)
    return openvino.Model(outputs, [pictures], weights.file)
