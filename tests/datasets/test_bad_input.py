"""What is wrong with people's files is an error that names file and row, or a counted skip."""

from __future__ import annotations

import struct
import tracemalloc
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest

from ferembed import datasets
from ferembed.errors import DataError, ImageError
from ferembed.images import load_image
from tests.conftest import too_deep
from tests.datasets.test_reading import (
    fer_row,
    names_csv,
    png,
    value,
    write_fer,
    write_tree,
    zip_tree,
)

HINT = ' Fix it, or skip bad entries with on_bad="skip", on the command line --skip-bad.'


def refuses(path: Path, message: str) -> None:
    with pytest.raises(DataError) as error:
        datasets.open(path)
    assert str(error.value) == message


def skips(path: Path, kind: str, first: str, left: int) -> datasets.Dataset:
    faces = datasets.open(path, on_bad="skip")
    assert len(faces) == left
    assert f"  skipped 1: {kind}, first {first}" in str(faces).splitlines()
    assert f"  skipped 1: {kind}, first {first}" in datasets.describe(faces).table().splitlines()
    return faces


# --- CSV of pixels --------------------------------------------------------------------------------

GOOD = [fer_row(3, 10), fer_row(4, 20)]
ROW = fer_row(0, 30)


@pytest.mark.parametrize(
    ("bad", "problem"),
    [
        (ROW.replace("30 ", "", 1), "2,303 pixels are no square picture (48 x 48 is 2,304)"),
        (fer_row(0, 30, side=47), "2,209 pixels, the rows above have 2,304"),
        (
            ROW.replace("30 30", "30 300", 1),
            "pixel 2 is 300; pixels run from 0 to 255",
        ),
        (
            ROW.replace("30 30 30", "30 30 many", 1),
            "pixel 3 is 'many'; a pixel is a whole number from 0 to 255",
        ),
        (
            ROW.replace("30 30 30", "30 30 -1", 1),
            "pixel 3 is '-1'; a pixel is a whole number from 0 to 255",
        ),
        (
            ROW.replace("30 30", "12.5 30", 1),
            "pixel 1 is '12.5'; a pixel is a whole number from 0 to 255",
        ),
        ("0,,Training", "it has no pixels"),
        ("0,30 30", "2 fields, the first row has 3"),
        (ROW.replace("Training", "Trainign"), None),
    ],
)
@pytest.mark.parametrize("zipped", [False, True])
def test_a_bad_row_is_named(tmp_path: Path, bad: str, problem: str | None, zipped: bool) -> None:
    problem = problem or "the split 'Trainign' is none of Training, PublicTest and PrivateTest"
    path = write_fer(tmp_path / "fer2013.csv", [GOOD[0], bad, GOOD[1]])
    name = str(path)
    if zipped:
        with zipfile.ZipFile(tmp_path / "x.zip", "w", zipfile.ZIP_DEFLATED) as file:
            file.write(path, "fer2013.csv")
        path = tmp_path / "x.zip"
        name = f"{path}/fer2013.csv"
    refuses(path, f"{name}, row 3: {problem}.{HINT}")
    faces = skips(path, "bad rows", f"{name}, row 3: {problem}", left=2)
    assert [value(image) for image in faces.images] == [10, 20]
    assert faces.images.name(1) == "row 4"


def test_a_label_9_is_named_with_its_row(tmp_path: Path) -> None:
    path = write_fer(tmp_path / "fer2013.csv", [*GOOD, fer_row(9, 30)])
    refuses(
        path,
        f"{path} has labels that are none of the 7 expressions (angry, disgust, fear, happy, "
        f"sad, surprise, neutral): '9' (1, first {path}, row 4). Say what they mean with "
        "labels={'9': 'neutral'}, drop one with labels={'9': None}, or all with "
        'on_unknown="drop"; on the command line with --label 9=neutral, --label 9= or '
        "--drop-unknown.",
    )
    assert len(datasets.open(path, on_unknown="drop")) == 2
    assert datasets.open(path, labels={"9": "fear"}).labels.tolist()[-1] == "fear"


@pytest.mark.parametrize(
    ("head", "problem"),
    [
        (
            "pixels,Usage",
            "has no column for the label; its columns are 'pixels', 'Usage'. Say which it is: "
            "columns={'label': 'pixels'}, on the command line --column label=NAME; the first line "
            "of a CSV names its columns.",
        ),
        (
            "emotion,Usage",
            "has no column for the image; its columns are 'emotion', 'Usage'. Say which it is: "
            "columns={'image': 'emotion'}, on the command line --column image=NAME; the first line "
            "of a CSV names its columns.",
        ),
    ],
)
def test_a_missing_column_is_named_with_those_there_are(
    tmp_path: Path, head: str, problem: str
) -> None:
    path = write_fer(tmp_path / "fer2013.csv", ["0,Training"], head)
    refuses(path, f"{path} {problem}")


def test_an_empty_csv(tmp_path: Path) -> None:
    path = tmp_path / "fer2013.csv"
    path.write_bytes(b"")
    refuses(path, f"{path} is empty.")


def test_a_csv_of_heads_alone(tmp_path: Path) -> None:
    path = write_fer(tmp_path / "fer2013.csv", [])
    with pytest.raises(DataError, match=r"fer2013.csv has no labelled pictures\. A data set is"):
        datasets.open(path)
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as file:
        file.write(path, "fer2013.csv")
    with pytest.raises(DataError, match=r"x.zip has no labelled pictures\. A data set is"):
        datasets.open(tmp_path / "x.zip")


def test_a_csv_in_utf_16(tmp_path: Path) -> None:
    path = tmp_path / "legend.csv"
    path.write_text("image,emotion\na.png,happy\n", encoding="utf-16")
    refuses(path, f"{path} is UTF-16. Save it as UTF-8.")


def test_a_csv_in_the_old_code_page_of_spanish_excel(tmp_path: Path) -> None:
    path = names_csv(tmp_path, "", ["a.png"])
    path.write_bytes("imagen;emoción\na.png;alegría\n".encode("cp1252"))
    assert datasets.open(path).labels.tolist() == ["happy"]


def test_a_csv_that_is_none(tmp_path: Path) -> None:
    write_tree(tmp_path, ["sad/a.png"])
    path = tmp_path / "notes.csv"
    path.write_bytes(b"\xff\xd8" + b"x" * 200_000)
    refuses(path, f"{path} is not a CSV: field larger than field limit (131072).")
    refuses(tmp_path, f"{path} is not a CSV: field larger than field limit (131072).{HINT}")
    assert len(datasets.open(tmp_path, on_bad="skip")) == 1


def test_a_wrong_column_of_labels_does_not_fill_the_screen(tmp_path: Path) -> None:
    rows = "".join(f"a.png,face {number}\n" for number in range(50))
    path = names_csv(tmp_path, f"image,label\n{rows}", ["a.png"])
    with pytest.raises(DataError, match=r"'face 19' \(1, first .*\); and 30 others. Say what"):
        datasets.open(path)


def test_a_file_that_may_not_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied", "secret")

    monkeypatch.setattr("os.scandir", refuse)
    refuses(tmp_path, f"{tmp_path} cannot be read: [Errno 13] Permission denied: 'secret'.")


def test_a_file_that_never_ends_its_line(tmp_path: Path) -> None:
    path = tmp_path / "zeros.csv"
    path.write_bytes(b"\0" * (5 * 2**20))
    refuses(path, f"{path} has a line of more than 4 MiB; that is no CSV.")


# --- CSV of names ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("row", "problem"),
    [
        ("x.png,happy", "there is no picture 'x.png'"),
        ("../../etc/passwd,happy", "there is no picture '../../etc/passwd'"),
        ("b.png,", "no label"),
        ("b.png", "1 fields, the first row has 2"),
        ("c.png,sad", "'c.png' may be one/c.png and two/c.png"),
    ],
)
def test_a_row_that_names_no_picture(tmp_path: Path, row: str, problem: str) -> None:
    text = f"image,emotion\na.png,happy\n{row}\n"
    path = names_csv(tmp_path, text, ["a.png", "b.png", "one/c.png", "two/c.png"])
    refuses(path, f"{path}, row 3: {problem}.{HINT}")
    skips(path, "bad rows", f"{path}, row 3: {problem}", left=1)


def test_two_names_that_differ_in_case_are_told_apart(tmp_path: Path) -> None:
    path = names_csv(tmp_path, "image,emotion\nA.png,happy\na.png,sad\n", ["a.png", "A.png"])
    faces = datasets.open(path)
    assert [(label, value(image)) for image, label, _ in faces] == [("happy", 1), ("sad", 0)]
    path.write_text("image,emotion\nA.PNG,happy\n")
    refuses(path, f"{path}, row 2: 'A.PNG' may be A.png and a.png.{HINT}")


# --- folders --------------------------------------------------------------------------------------


def test_an_empty_class_folder_is_counted(tmp_path: Path) -> None:
    write_tree(tmp_path, ["train/happy/a.png"])
    (tmp_path / "train/disgust").mkdir()
    skips(tmp_path, "empty folders", "train/disgust", left=1)
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as file:
        for folder in ("train/disgust/", "train/happy/"):
            file.writestr(folder, "")
        file.writestr("train/happy/a.png", png(0))
    faces = datasets.open(tmp_path / "x.zip")
    assert faces.provenance[-1]["skipped"]["empty folders"]["count"] == 1


@pytest.mark.parametrize("zipped", [False, True])
def test_two_files_with_one_name_in_different_case_are_both_read_and_noted(
    tmp_path: Path, zipped: bool
) -> None:
    names = ["happy/a.png", "happy/A.png", "Happy/a.PNG", "sad/b.png"]
    path = zip_tree(tmp_path / "x.zip", names) if zipped else write_tree(tmp_path / "x", names)
    faces = datasets.open(path)
    assert sorted(value(image) for image in faces.images) == [0, 1, 2, 3]
    assert "  noted 2: names that differ only in case, first " in str(faces)


def test_a_picture_in_no_class_folder(tmp_path: Path) -> None:
    path = write_tree(tmp_path, ["train/happy/a.png", "train/b.png"])
    problem = f"{path}/train/b.png lies in no class folder, and no CSV gives its label"
    refuses(path, f"{problem}.{HINT}")
    skips(path, "pictures in no class folder", problem, left=1)


def test_nothing_there(tmp_path: Path) -> None:
    refuses(tmp_path / "nowhere", f"{tmp_path / 'nowhere'} does not exist.")
    (tmp_path / "set/notes").mkdir(parents=True)
    refuses(
        tmp_path / "set",
        f"{tmp_path / 'set'} has no labelled pictures (skipped: 1 empty folders). A data set is "
        "a folder or zip of class folders (train/happy/x.jpg), a FER2013 CSV, or a CSV of names "
        "and labels beside its pictures.",
    )
    picture = tmp_path / "a.png"
    picture.write_bytes(png(1))
    refuses(
        picture,
        f"{picture} is no folder, zip or CSV. Unpack another archive first; a single picture is no "
        "data set.",
    )


# --- zips -----------------------------------------------------------------------------------------


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


def test_a_zip_bomb_that_says_so_is_refused_before_it_is_read(tmp_path: Path) -> None:
    path = bomb(tmp_path / "x.zip", "sad/bomb.png", 0xFFFFFFFE)
    problem = f"{path}/sad/bomb.png unpacks to 4,096 MiB, a picture may have 256 MiB"
    refuses(path, f"{problem}.{HINT}")
    skips(path, "larger than a picture may be", problem, left=1)


def test_a_zip_bomb_that_lies_is_stopped_at_what_it_declares(tmp_path: Path) -> None:
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


def test_a_folder_that_cannot_be_read(tmp_path: Path) -> None:
    write_tree(tmp_path, ["happy/1.png", "sad/2.png"])
    too_deep(tmp_path)
    with pytest.raises(DataError, match=r"The folder .*d cannot be read: File name too long. Fix"):
        datasets.open(tmp_path)
    faces = datasets.open(tmp_path, on_bad="skip")
    assert len(faces) == 2
    assert "skipped 1: folders that cannot be read" in datasets.describe(faces).table()


def test_a_csv_that_begins_with_an_empty_line(tmp_path: Path) -> None:
    path = tmp_path / "faces.csv"
    path.write_text("\nimage,label\na.png,happy\n")
    refuses(path, f"{path} begins with an empty line: delete it.")
