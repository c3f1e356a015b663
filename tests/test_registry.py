from importlib import metadata

import pytest

from ferembed.errors import UnknownName
from ferembed.registry import Registry


def test_an_unknown_name_suggests_the_nearest():
    fruits = Registry[int]("fruit")
    fruits.add("apple", 1)
    fruits.add("pear", 2)
    with pytest.raises(UnknownName) as error:
        fruits["aple"]
    assert str(error.value) == (
        "No fruit is called 'aple'. Did you mean 'apple'? Known: apple, pear."
    )
    with pytest.raises(UnknownName, match="No fruit is called 'zzz'. Known"):
        fruits["zzz"]


def test_names_keep_their_order_and_cannot_be_taken_twice():
    fruits = Registry[int]("fruit")
    fruits.add("pear", 2)
    fruits.add("apple", 1)
    assert fruits.names() == list(fruits) == ["pear", "apple"]
    assert "pear" in fruits
    assert "plum" not in fruits
    with pytest.raises(ValueError, match="already is a fruit called 'pear'"):
        fruits.add("pear", 3)


def test_another_package_adds_through_an_entry_point(tmp_path, monkeypatch):
    (tmp_path / "orchard.py").write_text("plum = 42\n")
    info = tmp_path / "orchard-1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: orchard\nVersion: 1\n")
    (info / "entry_points.txt").write_text("[ferembed.fruit]\nplum = orchard:plum\n")
    monkeypatch.syspath_prepend(tmp_path)
    fruits = Registry[int]("fruit")
    assert fruits.names() == ["plum"]
    assert fruits["plum"] == 42


def test_entry_points_are_read_once(monkeypatch):
    calls = []
    monkeypatch.setattr(metadata, "entry_points", lambda **where: calls.append(where) or ())
    fruits = Registry[int]("fruit")
    for _ in range(3):
        assert "plum" not in fruits
        with pytest.raises(UnknownName):
            fruits["plum"]
    assert calls == [{"group": "ferembed.fruit"}]
