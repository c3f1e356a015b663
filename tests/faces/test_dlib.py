import pytest

from ferembed.errors import MissingExtra


def test_a_dlib_that_is_not_installed_is_named(monkeypatch):
    from ferembed.faces.dlib import Dlib

    monkeypatch.setattr("ferembed.faces.dlib.find_spec", lambda name: None)
    with pytest.raises(MissingExtra, match=r"needs dlib. Run: pip install 'ferembed\[dlib\]', or"):
        Dlib()
