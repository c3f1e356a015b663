"""Predict photos with the package `fer`, in a separate environment; waiting.py starts it.

The argument is "mtcnn" or "haar". Each line of standard input is a command and a file: "photo"
reads the photo and answers for its faces, "detect" times the detector on the decoded photo, "video"
answers for each frame. The seconds and the number of faces are printed.
"""

from __future__ import annotations

import importlib.util
import sys
import time
import types
from collections.abc import Callable
from typing import Any

import cv2
import numpy as np


def detector(kind: str, model: Any) -> Callable[[Any], list[Any]]:
    """A function from a BGR picture to boxes (x, y, width, height)."""
    if kind == "haar":
        return lambda picture: list(model.find_faces(picture))
    use_opencv_for_suppression()
    from facenet_pytorch import MTCNN

    network = MTCNN(keep_all=True)  # as `fer` makes it

    def find(picture: Any) -> list[Any]:
        boxes, _ = network.detect(cv2.cvtColor(picture, cv2.COLOR_BGR2RGB))
        return [] if boxes is None else [(x, y, u - x, v - y) for x, y, u, v in boxes.astype(int)]

    return find


def use_opencv_for_suppression() -> None:
    """Stand in for torchvision where it is absent: the one function that the detection calls."""
    if importlib.util.find_spec("torchvision"):
        return
    import torch

    def batched_nms(boxes: Any, scores: Any, classes: Any, overlap: float) -> Any:
        sizes = boxes.clone()
        sizes[:, 2:] -= sizes[:, :2]
        given = sizes.tolist(), scores.tolist(), classes.int().tolist()
        kept = cv2.dnn.NMSBoxesBatched(*given, 0.0, overlap)
        return torch.as_tensor(np.array(kept, np.int64).ravel())

    modules = {
        name: types.ModuleType(name)
        for name in ("torchvision", "torchvision.transforms", "torchvision.ops")
    }
    boxes_module = types.ModuleType("torchvision.ops.boxes")
    setattr(boxes_module, "batched_nms", batched_nms)  # noqa: B010
    setattr(modules["torchvision.transforms"], "functional", types.ModuleType("functional"))  # noqa: B010
    sys.modules.update({**modules, "torchvision.ops.boxes": boxes_module})


def main() -> None:
    from fer.fer import FER

    model = FER(mtcnn=False)
    find = detector(sys.argv[1], model)

    def answer(picture: Any) -> int:
        boxes = find(picture)
        return len(model.detect_emotions(picture, face_rectangles=boxes)) if boxes else 0

    def answer_video(path: str) -> int:
        video, faces = cv2.VideoCapture(path), 0
        while (read := video.read())[0]:
            faces += answer(read[1])
        return faces

    answer(np.full((240, 320, 3), 127, np.uint8))
    print("ready", flush=True)
    for line in sys.stdin:
        command, path = line.rstrip("\n").split(" ", 1)
        picture = None if command == "video" else cv2.imread(path)
        started = time.perf_counter()
        if command == "video":
            faces = answer_video(path)
        else:
            faces = len(find(picture)) if command == "detect" else answer(cv2.imread(path))
        print(time.perf_counter() - started, faces, flush=True)


if __name__ == "__main__":
    main()
