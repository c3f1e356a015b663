from pathlib import Path

import pytest

from ferembed.storage import folders


@pytest.fixture
def unset(monkeypatch):
    for name in ("FEREMBED_CACHE", "FEREMBED_WEIGHTS"):
        monkeypatch.delenv(name, raising=False)
    return monkeypatch


def test_the_cache_is_the_users_own_or_the_one_that_is_named(unset, tmp_path):
    unset.setattr("platformdirs.user_cache_path", lambda *_, **__: tmp_path / "own")
    assert folders.cache_folder() == tmp_path / "own"
    unset.setenv("FEREMBED_CACHE", str(tmp_path))
    assert folders.cache_folder() == tmp_path


def test_weights_are_searched_where_they_were_put_then_where_they_ship(unset, tmp_path):
    unset.setenv("FEREMBED_CACHE", str(tmp_path))
    cached = tmp_path / "weights"
    shipped = folders.models_folder() / "backbones"
    assert folders.weights_search_path() == (cached, shipped, cached)
    unset.setenv("FEREMBED_WEIGHTS", "/mine")
    assert folders.weights_search_path() == (Path("/mine"), shipped, cached)


def test_models_ship_with_the_package():
    assert (folders.models_folder() / "default" / "model.json").exists()
