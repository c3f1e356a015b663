from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import PIL.Image

from ferembed import datasets
from ferembed.datasets import Dataset
from ferembed.datasets.audit import audit
from tests.helpers.datasets import smooth


def test_the_contact_sheet_shows_what_was_found(faulty: Path, tmp_path: Path) -> None:
    found = audit(datasets.open(faulty))
    with PIL.Image.open(found.contact_sheet(tmp_path / "sheet.png")) as sheet:
        pixels = np.asarray(sheet.convert("RGB")).astype(int)
    assert pixels.shape[1] == 1480
    assert pixels.shape[0] > 900  # eight sections

    def holds(picture: np.ndarray) -> bool:
        big = cv2.resize(picture, (84, 84), interpolation=cv2.INTER_CUBIC)
        match = cv2.matchTemplate(pixels[:, :, 0].astype(np.uint8), big, cv2.TM_CCOEFF_NORMED)
        return bool(match.max() > 0.999)

    assert holds(smooth(2))  # contradictory
    assert holds(smooth(5))
    assert not holds(smooth(7))  # nothing is wrong with it
    assert ((pixels == (200, 48, 48)).all(axis=2)).sum() > 500  # the frame of contradictions


def test_a_contact_sheet_of_nothing(tmp_path: Path) -> None:
    found = audit(Dataset.from_images(np.stack([smooth(1), smooth(2)]), ["sad", "happy"]))
    with PIL.Image.open(found.contact_sheet(tmp_path / "sheet.png")) as sheet:
        assert sheet.size[0] == 1480
