"""Fixtures of the tests of photos and videos."""

import cv2
import PIL.Image
import pytest

from ferembed import Pipeline
from tests.helpers import clips


@pytest.fixture(scope="module")
def pipeline(faces, labels):
    made = Pipeline("cnn-a", "softmax", weights="random", store="memory", detector="haar")
    return made.fit(faces, labels)


@pytest.fixture(scope="module")
def blind(pipeline):
    """The same, which takes every frame for a face: for what is not about finding them."""
    settings = {**pipeline.get_params(deep=False), "detector": "none"}
    return Pipeline.from_head(pipeline.head_, **{k: v for k, v in settings.items() if k != "head"})


@pytest.fixture(scope="module")
def model(pipeline, tmp_path_factory):
    """The same, saved."""
    path = tmp_path_factory.mktemp("model") / "small"
    pipeline.save(path)
    return str(path)


@pytest.fixture
def folder(tmp_path, portrait):
    """A portrait, a blank photo, a text called .png, and things that are no pictures."""
    PIL.Image.open(portrait).save(tmp_path / "b.jpg")
    PIL.Image.new("RGB", (300, 200), "gray").save(tmp_path / "a.PNG")
    (tmp_path / "c.png").write_text("a letter")
    (tmp_path / "notes.txt").write_text("notes")
    (tmp_path / "sub").mkdir()
    PIL.Image.new("RGB", (30, 20)).save(tmp_path / "sub" / "d.webp")
    return tmp_path


@pytest.fixture(scope="module", autouse=True)
def _one_thread():
    """Small frames are searched faster by one thread, where other work wants the cores."""
    before = cv2.getNumThreads()
    cv2.setNumThreads(1)
    yield
    cv2.setNumThreads(before)


@pytest.fixture(scope="module")
def empty(tmp_path_factory):
    """A clip in which nobody is to be seen."""
    return clips.write(tmp_path_factory.mktemp("empty") / "empty.mp4", [clips.scene()] * 12)
