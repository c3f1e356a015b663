import os

import pytest

from ferembed.errors import DataError
from ferembed.media.find import find_photos, find_videos


def test_folders_globs_and_files_each_once(folder, monkeypatch):
    monkeypatch.chdir(folder)
    assert find_photos(["."]) == ["./a.PNG", "./b.jpg", "./c.png", "./sub/d.webp"]
    assert find_photos(["*.jpg", "b.jpg", "**/*.webp"]) == ["b.jpg", "sub/d.webp"]
    assert find_photos(["notes.txt", "gone.jpg"]) == ["notes.txt", "gone.jpg"]
    assert find_photos(["*.gif", "su*", "b.jpg"]) == ["*.gif", "su*", "b.jpg"]  # to be reported
    (folder / "empty").mkdir()
    with pytest.raises(DataError, match="No photo found at empty"):
        find_photos(["empty"])


def test_linked_folders_are_read_and_hidden_files_are_not(tmp_path):
    (tmp_path / "photos" / ".thumbnails").mkdir(parents=True)
    (tmp_path / "elsewhere").mkdir()
    for name in ("photos/a.png", "photos/.b.png", "photos/.thumbnails/c.png", "elsewhere/d.png"):
        (tmp_path / name).write_bytes(b"")
    (tmp_path / "photos" / "link").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "elsewhere" / "up").symlink_to(tmp_path / "photos")
    found = find_photos([str(tmp_path / "photos")])
    assert [os.path.relpath(path, tmp_path / "photos") for path in found] == ["a.png", "link/d.png"]


def test_videos_are_found_and_kept_apart_from_photos(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("clips/b.MOV", "clips/a.mp4", "both/c.mp4", "both/photo.jpg", "both/notes.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    assert find_videos(["clips"]) == (["clips/a.mp4", "clips/b.MOV"], [], [])
    assert find_videos(["gone.mp4", "clips/*.mp4"]) == (["gone.mp4", "clips/a.mp4"], [], [])
    assert find_videos(["both"]) == ([], ["both/photo.jpg"], ["both/c.mp4"])
    assert find_videos(["both/photo.jpg"]) == ([], ["both/photo.jpg"], [])
    for mixed in (["both/c.mp4", "both/photo.jpg"], ["both", "clips/a.mp4"]):
        with pytest.raises(DataError, match=r"is a video, and both/photo.jpg is a photo. Their"):
            find_videos(mixed)
    with pytest.raises(
        DataError, match="The annotated copy of clips/a.mp4 would be in the folder of the photo"
    ):
        find_videos(["clips/a.mp4"], "clips")
