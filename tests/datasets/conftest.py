"""A data set with one of each fault."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.helpers.datasets import encoded, put, smooth


@pytest.fixture
def faulty(tmp_path: Path) -> Path:
    """Twelve good pictures and one of each fault."""
    root = tmp_path / "faulty"
    for seed in range(12):
        put(root, f"train/{('happy', 'sad')[seed % 2]}/good{seed:02}.png", encoded(smooth(seed)))
    # An exact copy in another format, and one across splits.
    put(root, "train/happy/copy.bmp", encoded(smooth(0), "BMP"))
    put(root, "validation/sad/leak.png", encoded(smooth(1)))
    put(root, "train/angry/contradiction.png", encoded(smooth(2)))
    # Near copies: packed again, made brighter, and moved by a pixel.
    put(root, "train/sad/near-jpeg.jpg", encoded(smooth(3), "JPEG", quality=60))
    put(
        root,
        "test/happy/near-bright.png",
        encoded(np.clip(smooth(4) * 0.8 + 20, 0, 255).astype("u1")),
    )
    put(root, "train/fear/near-moved.png", encoded(np.roll(smooth(5), 1, axis=1)))
    put(root, "train/happy/blank.png", encoded(np.full((48, 48), 200, np.uint8)))
    nearly = np.full((48, 48), 255, np.uint8)
    nearly[40:44, 10:30] = 0
    put(root, "train/sad/nearly-blank.png", encoded(nearly))
    put(root, "train/sad/large.png", encoded(smooth(50, 64)))
    put(root, "train/happy/truncated.jpg", encoded(smooth(51), "JPEG")[:-300])
    put(root, "train/happy/text.png", b"<html>404</html>")
    put(root, "train/happy/empty.png", b"")
    return root
