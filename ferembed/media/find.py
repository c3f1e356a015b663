"""Find photos and videos: in folders, by globs, in zips."""

from __future__ import annotations

import glob
import os
from collections.abc import Collection, Iterable, Iterator, Sequence
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


def find_photos(
    patterns: Sequence[str], annotated_folder: str | None = None
) -> list[str | ZipMember]:
    """The photos at paths and globs, in folders and in zips; see `find_files`."""
    return expand_zips(find_files(patterns, annotated_folder, EXTENSIONS))


def find_images(patterns: Sequence[str]) -> Sequence[Source]:
    """The pictures of one data set, with any labels, or the photos at the paths."""
    if len(patterns) > 1 or not patterns[0].lower().endswith((".zip", ".csv")):
        return find_photos(patterns)
    from ferembed import datasets

    try:
        return datasets.open(patterns[0], on_unknown="keep").images
    except DataError:
        if packed := datasets.pictures(patterns[0]):  # the labels are not needed
            return packed
        raise


def expand_zips(files: Iterable[str]) -> list[str | ZipMember]:
    """The files, each zip replaced by the pictures in it; a damaged zip stays, to be reported."""
    photos: list[str | ZipMember] = []
    for file in files:
        packed: list[ZipMember] = []
        if file.lower().endswith(".zip"):
            from ferembed import datasets

            with suppress(DataError):
                packed = datasets.pictures(file)
        photos.extend(packed or [file])
    return photos


def find_files(
    patterns: Sequence[str], annotated_folder: str | None, endings: Collection[str]
) -> list[str]:
    """The files at paths and globs and in folders, each once, in order.

    A folder stands for all files below it with one of the endings, but hidden ones; links to
    folders are followed. A file that is named needs no such ending. One that does not exist is
    kept, to be reported like any other failure. Files in `annotated_folder`, the folder for
    annotated copies, are skipped, and no photo may be there.
    """
    found: dict[str, None] = {}
    ours = annotated_folder and os.path.realpath(annotated_folder)
    for pattern in patterns:
        if os.path.isdir(pattern):
            if os.path.realpath(pattern) == ours:
                raise DataError(
                    f"The folder for annotated copies must not be an input folder ({pattern})."
                )
            found.update(dict.fromkeys(_files_below(pattern, ours, endings)))
        elif os.path.exists(pattern) or not glob.has_magic(pattern):
            found[pattern] = None
        else:
            files = [match for match in glob.glob(pattern, recursive=True) if os.path.isfile(match)]
            found.update(dict.fromkeys(sorted(files) or [pattern]))
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


def _files_below(top: str, skipped: str | None, endings: Collection[str]) -> Iterator[str]:
    """The files below a folder, in order; also a folder that cannot be read, to be reported."""
    unreadable: list[str] = []
    seen: set[tuple[int, int]] = set()
    _is_new(top, seen)
    for folder, subfolders, names in os.walk(
        top, onerror=lambda error: unreadable.append(error.filename), followlinks=True
    ):
        subfolders[:] = sorted(
            name
            for name in subfolders
            if not name.startswith(".")
            and os.path.realpath(os.path.join(folder, name)) != skipped
            and _is_new(os.path.join(folder, name), seen)
        )
        for name in sorted(names):
            if Path(name).suffix.lower() in endings and not name.startswith("."):
                yield os.path.join(folder, name)
    yield from unreadable


def _is_new(folder: str, seen: set[tuple[int, int]]) -> bool:
    """True if a folder is met for the first time: a link may lead back up."""
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
    patterns: Sequence[str], annotated_folder: str | None = None
) -> tuple[list[str], list[str], list[str]]:
    """Videos; or photos, and the videos that are skipped among them.

    Videos are skipped in a folder that has photos. Photos and videos that are both named are a
    DataError: their outputs differ. `annotated_folder` is as for `find_files`.
    """
    files = find_files(patterns, annotated_folder, ENDINGS | EXTENSIONS)
    videos = [file for file in files if Path(file).suffix.lower() in ENDINGS]
    photos = [file for file in files if Path(file).suffix.lower() not in ENDINGS]
    if not photos:
        return videos, [], []
    if named := [file for file in videos if file in patterns]:
        raise DataError(
            f"{named[0]} is a video, and {photos[0]} is a photo. Their outputs differ: run the "
            "command once for the photos and once for the videos."
        )
    return [], photos, videos
