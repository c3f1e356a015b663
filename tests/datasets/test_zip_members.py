"""Zips read as folders do, and bombs, traps and damaged members are refused."""

from __future__ import annotations

import os
import pickle
import struct
import tracemalloc
import zipfile
import zlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import joblib
import pytest

from ferembed import datasets
from ferembed.datasets.zip_members import ZipMember
from ferembed.errors import ImageError
from ferembed.images import load_image
from tests.helpers.datasets import (
    HINT,
    TREE,
    png,
    refuses,
    skips,
    value,
    zip_tree,
)


@pytest.mark.parametrize("compression", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_a_zip_reads_as_the_folder_it_was_made_of(tmp_path: Path, compression: int) -> None:
    faces = datasets.open(zip_tree(tmp_path / "faces.zip", TREE, compression))
    assert faces.labels.tolist() == ["angry", "happy", "happy"]
    assert [value(image) for image in faces.images] == [0, 1, 2]
    assert str(faces.images[0]) == f"{tmp_path / 'faces.zip'}/train/angry/a.png"
    assert faces.images.name(0) == "train/angry/a.png"


def test_a_zip_with_names_of_other_systems(tmp_path: Path) -> None:
    path = tmp_path / "x.zip"
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("alegría/ñ.png", png(1))
        odd = zipfile.ZipInfo("x")
        odd.filename = "sad\\b.png"  # as some programs on Windows write it
        file.writestr(odd, png(2))
    faces = datasets.open(path)
    assert [(label, value(image)) for image, label, _ in faces] == [("happy", 1), ("sad", 2)]


@pytest.mark.slow
def test_a_zip64_reads_too(tmp_path: Path) -> None:
    path = tmp_path / "x.zip"
    with zipfile.ZipFile(path, "w") as file:
        with file.open("sad/a.png", "w", force_zip64=True) as member:
            member.write(png(3))
        # More members than fit the old directory's 16 bits.
        for number in range(65_540):
            file.writestr(f"notes/{number}.txt", b"")
    faces = datasets.open(path)
    assert [value(image) for image in faces.images] == [3]
    assert faces.provenance[-1]["skipped"]["files that are not pictures (.txt)"]["count"] == 65_540


def test_members_are_read_from_threads_and_processes(tmp_path: Path) -> None:
    names = [f"sad/{number:03}.png" for number in range(60)]
    faces = datasets.open(zip_tree(tmp_path / "x.zip", names, zipfile.ZIP_DEFLATED))
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(value, [*faces.images] * 5)) == list(range(60)) * 5
    source = pickle.loads(pickle.dumps(faces.images[7]))
    assert source == faces.images[7]
    assert isinstance(source, ZipMember)
    work = joblib.delayed(load_image)
    images = joblib.Parallel(n_jobs=2)(work(source) for source in faces.images[:4])
    assert [int(image[0, 0, 0]) for image in images] == [0, 1, 2, 3]


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="needs Linux's list of open files")
def test_a_zip_is_open_while_its_data_set_is_in_use(tmp_path: Path) -> None:
    def times_open() -> int:
        links = Path("/proc/self/fd").iterdir()
        return sum(link.is_symlink() and os.readlink(link) == str(path) for link in links)

    path = zip_tree(tmp_path / "x.zip", ["sad/a.png", "sad/b.png", "sad/c.png"])
    faces = datasets.open(path)
    assert times_open() == 0
    assert [value(image) for image in faces.images] == [0, 1, 2]
    assert times_open() == 1
    travelled = [pickle.loads(pickle.dumps(image)) for image in faces.images]
    del faces
    assert times_open() == 0
    assert [value(image) for image in travelled] == [0, 1, 2]
    assert times_open() == 1
    del travelled
    assert times_open() == 0


def test_a_member_behind_a_long_header(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as file:
        member = zipfile.ZipInfo("sad/a.png")
        member.extra = b"\xff\xff" + (300).to_bytes(2, "little") + bytes(300)
        file.writestr(member, png(3))
    assert [value(image) for image in datasets.open(tmp_path / "x.zip").images] == [3]


def patch(path: Path, name: str, change: Callable[[bytearray, int], None]) -> Path:
    """Let `change` write in the directory's entry of a member."""
    data = bytearray(path.read_bytes())
    entry = -1
    while (entry := data.find(b"PK\1\2", entry + 1)) >= 0:
        length = struct.unpack_from("<H", data, entry + 28)[0]
        if data[entry + 46 : entry + 46 + length] == name.encode():
            change(data, entry)
    path.write_bytes(data)
    return path


def zeros(gibibytes: int) -> bytes:
    """A deflate stream of that many zeros, made of one mebibyte again and again."""
    packer = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    mebibyte = packer.compress(bytes(2**20)) + packer.flush(zlib.Z_FULL_FLUSH)
    return mebibyte * (1024 * gibibytes) + packer.flush(zlib.Z_FINISH)


def bomb(path: Path, name: str, declared: int) -> Path:
    """A zip with a member of 10 GiB of zeros that is said to have `declared` bytes."""
    stream = zeros(10)
    zip_tree(path, ["sad/a.png"])
    with zipfile.ZipFile(path, "a") as file:
        file.writestr(name, stream)  # stored for now; the directory will say deflated

    def lie(data: bytearray, entry: int) -> None:
        struct.pack_into("<H", data, entry + 10, zipfile.ZIP_DEFLATED)
        struct.pack_into("<L", data, entry + 24, min(declared, 0xFFFFFFFE))

    return patch(path, name, lie)


def test_a_zip_bomb_with_an_honest_header_is_refused_unread(tmp_path: Path) -> None:
    path = bomb(tmp_path / "x.zip", "sad/bomb.png", 0xFFFFFFFE)
    problem = f"{path}/sad/bomb.png unpacks to 4,096 MiB, a picture may have 256 MiB"
    refuses(path, f"{problem}.{HINT}")
    skips(path, "larger than a picture may be", problem, left=1)


def test_a_zip_bomb_is_read_up_to_its_declared_size(tmp_path: Path) -> None:
    path = bomb(tmp_path / "x.zip", "sad/bomb.png", 4096)
    faces = datasets.open(path)
    tracemalloc.start()
    with pytest.raises(ImageError) as error:
        load_image(faces.images[1])
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert str(error.value) == (
        f"{path}/sad/bomb.png cannot be read: it holds more than the 4,096 bytes that the zip "
        "declares."
    )
    assert peak < 8 * 2**20
    described = datasets.describe(faces)
    assert (described.unreadable, described.sizes) == (1, {"48x48": 1})


def test_a_zip_bomb_for_a_csv(tmp_path: Path) -> None:
    path = bomb(tmp_path / "x.zip", "fer2013.csv", 0xFFFFFFFE)
    refuses(
        path,
        f"{path}/fer2013.csv unpacks to 4.0 GiB; a CSV of up to 2 GiB is read inside a zip. Unpack "
        f"it first.{HINT}",
    )
    path = bomb(tmp_path / "y.zip", "fer2013.csv", 2**30)
    refuses(path, f"{path}/fer2013.csv has a line of more than 4 MiB; that is no CSV.{HINT}")
    assert len(datasets.open(path, on_bad="skip")) == 1  # the picture beside it


@pytest.mark.parametrize(
    "name", ["../../evil.png", "/etc/evil.png", "C:/evil.png", "a/../../b.png"]
)
def test_a_member_that_leads_out_of_the_zip(tmp_path: Path, name: str) -> None:
    path = zip_tree(tmp_path / "x.zip", ["sad/a.png", name])
    problem = f"{path}: the member {name!r} points outside the zip"
    refuses(path, f"{problem}.{HINT}")
    skips(path, "names that point outside the zip", problem, left=1)


def test_an_encrypted_member(tmp_path: Path) -> None:
    def encrypt(data: bytearray, entry: int) -> None:
        data[entry + 8] |= 1

    path = patch(zip_tree(tmp_path / "x.zip", ["sad/a.png", "sad/b.png"]), "sad/b.png", encrypt)
    problem = f"{path}/sad/b.png is encrypted; unpack it with its password"
    refuses(path, f"{problem}.{HINT}")
    faces = skips(path, "encrypted", problem, left=1)
    assert value(faces.images[0]) == 0


def test_a_member_packed_in_a_way_that_is_not_read(tmp_path: Path) -> None:
    path = zip_tree(tmp_path / "x.zip", ["sad/a.png"], zipfile.ZIP_LZMA)
    with pytest.raises(ImageError) as error:
        load_image(datasets.open(path).images[0])
    assert str(error.value) == (
        f"{path}/sad/a.png cannot be read: it is packed with method 14; only stored and deflated "
        "are read. Pack the zip again."
    )


@pytest.mark.parametrize("compression", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_a_member_that_was_damaged(tmp_path: Path, compression: int) -> None:
    path = zip_tree(tmp_path / "x.zip", ["sad/a.png"], compression)
    data = bytearray(path.read_bytes())
    data[60] ^= 0xFF
    path.write_bytes(data)
    with pytest.raises(
        ImageError, match=r"x.zip/sad/a.png cannot be read: it.* (wrong|damaged|more)"
    ):
        load_image(datasets.open(path).images[0])


@pytest.mark.parametrize("cut", [1, 30, 200])
def test_a_zip_that_was_cut_short(tmp_path: Path, cut: int) -> None:
    path = zip_tree(tmp_path / "x.zip", ["sad/a.png", "sad/b.png"])
    path.write_bytes(path.read_bytes()[:-cut])
    refuses(path, f"{path} is not a complete zip file (damaged directory). Download it again.")


def test_a_directory_that_points_anywhere(tmp_path: Path) -> None:
    path = zip_tree(tmp_path / "x.zip", ["sad/a.png"])
    patch(path, "sad/a.png", lambda data, entry: struct.pack_into("<L", data, entry + 42, 2**31))
    with pytest.raises(ImageError, match=r"the zip changed after it was listed, or is damaged"):
        load_image(datasets.open(path).images[0])
