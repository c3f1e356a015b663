"""Predict faces with the package `fer`, in an environment of its own; peers.py starts it.

Each line of standard input names an .npz file of gray or RGB faces. The predicted labels are
written beside it, and the seconds of each face are printed.
"""

import sys
import time

import numpy as np
from fer.fer import FER

MARGIN = 10  # pixels that `fer` adds to each side of a rectangle


def main() -> None:
    model = FER(mtcnn=False)
    for line in sys.stdin:
        path = line.strip()
        with np.load(path) as saved:
            faces = [saved[name][..., ::-1] for name in saved.files]  # BGR
        labels, seconds = [], []
        for face in faces:
            height, width = face.shape[:2]
            # With its margin that is the whole face.
            inner = (MARGIN, MARGIN, width - 2 * MARGIN, height - 2 * MARGIN)
            started = time.perf_counter()
            found = model.detect_emotions(face, face_rectangles=[inner])
            seconds.append(time.perf_counter() - started)
            shares = found[0]["emotions"] if found else {"none": 1.0}
            labels.append(max(shares, key=lambda label: shares[label]))
        np.save(path + ".labels.npy", np.array(labels))
        print(float(np.median(seconds)), flush=True)


if __name__ == "__main__":
    main()
