"""Find photos and videos: in folders, by globs, in zips."""

from __future__ import annotations

import glob
import os
from collections.abc import Collection, Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from ferembed.errors import DataError
from ferembed.images import EXTENSIONS, Source

if TYPE_CHECKING:
    from ferembed.datasets.zip_members import ZipMember

# fmt: off
ENDINGS = frozenset({
    ".3gp", ".avi", ".flv", ".m2ts", ".m4v", ".mjpeg", ".mjpg", ".mkv", ".mov", ".mp4", ".mpeg",
    ".mpg", ".mts", ".ogv", ".webm", ".wmv",
})
# fmt: on


def find_photos(patterns: Sequence[str], drawn: str | None = None) -> list[str | ZipMember]:
    """The photos that paths, folders, globs and zips stand for: `unpacked` of `find_files`."""
    return unpacked(find_files(patterns, drawn, EXTENSIONS))


def find_images(patterns: Sequence[str]) -> Sequence[Source]:
    """The pictures of one data set, whatever its labels are, or the photos at the paths."""
    if len(patterns) > 1 or not patterns[0].lower().endswith((".zip", ".csv")):
        return find_photos(patterns)
    from ferembed import datasets

    try:
        return datasets.open(patterns[0], on_unknown="keep").images
    except DataError:
        if packed := datasets.pictures(patterns[0]):  # whose labels nobody asked for
            return packed
        raise


def unpacked(files: Iterable[str]) -> list[str | ZipMember]:
    """The files, and in place of a zip the pictures in it; a damaged one stays, to be reported."""
    photos: list[str | ZipMember] = []
    for file in files:
        packed: list[ZipMember] = []
        if file.lower().endswith(".zip"):
            from ferembed import datasets

            with suppress(DataError):
                packed = datasets.pictures(file)
        photos.extend(packed or [file])
    return photos


def find_files(patterns: Sequence[str], drawn: str | None, endings: Collection[str]) -> list[str]:
    """The files that paths, folders and globs stand for, each once, in order.

    Of a folder, all files below it of these endings, also in folders that are linked there, but no
    hidden ones; a file that is named counts whatever its
    ending is, and one that does not exist is kept, to be reported like any other failure. `drawn`
    is the folder for drawn copies: what lies there is passed over, and no photo may.
    """
    found: dict[str, None] = {}

    def unreadable(error: OSError) -> None:
        found[error.filename] = None  # a folder, which is told like a photo that cannot be read

    ours = drawn and os.path.realpath(drawn)
    for pattern in patterns:
        if os.path.isdir(pattern):
            if os.path.realpath(pattern) == ours:
                raise DataError(
                    f"The folder for annotated copies must not be an input folder ({pattern})."
                )
            seen: set[tuple[int, int]] = set()
            _is_new(pattern, seen)
            for folder, subfolders, names in os.walk(pattern, onerror=unreadable, followlinks=True):
                subfolders[:] = sorted(
                    name
                    for name in subfolders
                    if not name.startswith(".")
                    and os.path.realpath(os.path.join(folder, name)) != ours
                    and _is_new(os.path.join(folder, name), seen)
                )
                pictures = (
                    name
                    for name in sorted(names)
                    if Path(name).suffix.lower() in endings and not name.startswith(".")
                )
                found.update((os.path.join(folder, name), None) for name in pictures)
        elif os.path.exists(pattern) or not glob.has_magic(pattern):
            found[pattern] = None
        else:
            files = [match for match in glob.glob(pattern, recursive=True) if os.path.isfile(match)]
            found.update((file, None) for file in sorted(files) or [pattern])
    for photo in found:
        if ours and os.path.dirname(os.path.realpath(photo)) == ours:
            raise DataError(
                f"The annotated copy of {photo} would be in the folder of the photo. Choose "
                "another folder."
            )
    if not found:
        what = "photo" if set(endings) <= EXTENSIONS else "photo or video"
        raise DataError(f"No {what} found at {', '.join(patterns)}.")
    return list(found)


def _is_new(folder: str, seen: set[tuple[int, int]]) -> bool:
    """Whether a folder is met for the first time: a link may lead back up."""
    try:
        status = os.stat(folder)
    except OSError:
        return True  # which is reported when it is opened
    identity = (status.st_dev, status.st_ino)
    if status.st_ino and identity in seen:
        return False
    seen.add(identity)
    return True


def find_videos(
    patterns: Sequence[str], drawn: str | None = None
) -> tuple[list[str], list[str], list[str]]:
    """The videos that paths, folders and globs stand for, or the photos and what is passed over.

    Among the photos of a folder, videos are passed over. Photos and videos that are named in one go
    are a DataError: what is written of them has nothing in common. `drawn` is as for `find_files`.
    """
    files = find_files(patterns, drawn, ENDINGS | EXTENSIONS)
    videos = [file for file in files if Path(file).suffix.lower() in ENDINGS]
    photos = [file for file in files if Path(file).suffix.lower() not in ENDINGS]
    if not photos:
        return videos, [], []
    if named := [file for file in videos if file in patterns]:
        raise DataError(
            f"{named[0]} is a video, and {photos[0]} is none. What is written of photos and of "
            "videos differs: read the ones, then the others."
        )
    return [], photos, videos
