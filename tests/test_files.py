import os

import pytest

from ferembed.files import replacing


def test_a_file_is_there_when_all_of_it_is(tmp_path):
    target = tmp_path / "new" / "a.txt"
    with replacing(target) as unfinished:
        unfinished.write_text("all")
        assert not target.exists()
    assert target.read_text() == "all"
    assert os.listdir(target.parent) == ["a.txt"]


def test_what_was_there_stays_when_something_goes_wrong(tmp_path):
    target = tmp_path / "a.txt"
    target.write_text("before")

    def write_half():
        with replacing(target) as unfinished:
            unfinished.write_text("half")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        write_half()
    assert target.read_text() == "before"
    assert os.listdir(tmp_path) == ["a.txt"]
