"""CSVs of pixels or of names: read as they are, and errors name the row."""

from __future__ import annotations

import pickle
import zipfile
from pathlib import Path

import pytest

from ferembed import datasets
from ferembed.errors import DataError
from ferembed.images import load_image
from tests.helpers.datasets import (
    FER_HEAD,
    HINT,
    fer_row,
    names_csv,
    refuses,
    skips,
    value,
    write_fer,
    write_tree,
    zip_tree,
)


@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("bom", ["", "\ufeff"])
@pytest.mark.parametrize("head", [FER_HEAD, "emotion, pixels, Usage", "Emotion,Pixels,usage"])
def test_fer2013_csv(tmp_path: Path, end: str, bom: str, head: str) -> None:
    rows = [fer_row(3, 7), fer_row(0, 9, "PublicTest"), fer_row(6, 11, "PrivateTest")]
    faces = datasets.open(write_fer(tmp_path / "fer2013.csv", rows, bom + head, end))
    assert faces.labels.tolist() == ["happy", "angry", "neutral"]
    assert faces.splits.tolist() == ["train", "validation", "test"]
    assert [value(image) for image in faces.images] == [7, 9, 11]
    assert load_image(faces.images[0]).shape == (48, 48, 3)
    assert str(faces.images[1]) == f"{tmp_path / 'fer2013.csv'}, row 3"
    assert pickle.loads(pickle.dumps(faces.images[1])) == faces.images[1]


def test_columns_in_the_order_of_icml_face_data_and_in_quotes(tmp_path: Path) -> None:
    path = tmp_path / "icml_face_data.csv"
    pixels = " ".join(map(str, range(256))) + " 0" * (2304 - 256)
    path.write_text(f'emotion, Usage, pixels\n4,Training,"{pixels}"\n')
    faces = datasets.open(path)
    assert faces.labels.tolist() == ["sad"]
    assert load_image(faces.images[0])[:, :, 0].ravel()[:256].tolist() == list(range(256))


def test_a_csv_without_usage_is_unsplit_and_may_name_its_labels(tmp_path: Path) -> None:
    path = tmp_path / "train.csv"
    pixels = " ".join(["5"] * 16)
    path.write_text(f"emotion;pixels\nenfado;{pixels}\n2;{pixels}\n")
    faces = datasets.open(path)
    assert faces.labels.tolist() == ["angry", "fear"]
    assert set(faces.splits) == {"unsplit"}


def test_a_csv_of_pixels_inside_a_zip(tmp_path: Path) -> None:
    rows = [fer_row(3, 7), fer_row(0, 9, "PublicTest")]
    plain = write_fer(tmp_path / "fer2013.csv", rows)
    with zipfile.ZipFile(tmp_path / "fer.zip", "w", zipfile.ZIP_DEFLATED) as file:
        file.write(plain, "fer2013/fer2013.csv")
    faces = datasets.open(tmp_path / "fer.zip")
    assert [(label, value(image)) for image, label, _ in faces] == [("happy", 7), ("angry", 9)]
    assert faces.images.name(1) == "row 3"


def test_a_row_that_was_changed_later_is_an_error_that_names_it(tmp_path: Path) -> None:
    path = write_fer(tmp_path / "fer2013.csv", [fer_row(3, 7)])
    faces = datasets.open(path)
    path.write_text("short")
    with pytest.raises(ValueError, match=r"fer2013.csv, row 2 cannot be read"):
        load_image(faces.images[0])


@pytest.mark.parametrize(
    "text",
    [
        "image,emotion\na.png,happy\nb.png,sadness\n",
        "user.id,image,emotion\n628,a.png,HAPPINESS\n629,b.png,sad\n",
        "filename;label\r\nimages/a.png;alegría\r\nimages/b.png;triste\r\n",
        "path\texpression\n./images/A.PNG\tjoy\nC:\\faces\\b.png\tsad\n",
        'file,class\n"a",happy\n"b",sad\n',
    ],
)
@pytest.mark.parametrize("how", ["csv", "folder", "zip"])
def test_names_and_labels_beside_pictures(tmp_path: Path, text: str, how: str) -> None:
    pictures = ["images/a.png", "images/b.png", "images/c.png"]
    path = names_csv(tmp_path / "set", text, pictures)
    if how == "folder":
        path = path.parent
    elif how == "zip":
        path = zip_tree(tmp_path / "x.zip", pictures)
        with zipfile.ZipFile(path, "a") as file:
            file.writestr("legend.csv", text)
    faces = datasets.open(path)
    assert [(label, value(image)) for image, label, _ in faces] == [("happy", 0), ("sad", 1)]
    assert faces.provenance[-1]["skipped"]["pictures without a row"]["count"] == 1


def test_columns_may_be_given(tmp_path: Path) -> None:
    text = "who,what,when\na.png,happy,train\nb.png,sad,test\n"
    path = names_csv(tmp_path, text, ["a.png", "b.png"])
    faces = datasets.open(path, columns={"image": "who", "label": "what", "split": "when"})
    assert faces.labels.tolist() == ["happy", "sad"]
    assert faces.splits.tolist() == ["train", "test"]
    with pytest.raises(DataError, match=r"No column is called 'whom'. Did you mean 'who'\?"):
        datasets.open(path, columns={"image": "whom", "label": "what"})


def test_splits_come_from_the_folders_where_no_column_gives_them(tmp_path: Path) -> None:
    path = names_csv(tmp_path, "image,emotion\na.png,happy\n", ["validation/a.png"])
    assert datasets.open(path).splits.tolist() == ["validation"]


def test_a_picture_of_another_folder_is_not_taken_for_one_that_is_missing(tmp_path: Path) -> None:
    text = "image,label\ntrain/1.jpg,sad\ntest/1.jpg,happy\ntrain/2,happy\n"
    path = names_csv(tmp_path / "set", text, ["test/1.jpg", "train/2.jpg"])
    with pytest.raises(DataError, match=r"there is no picture 'train/1.jpg'"):
        datasets.open(path)
    assert len(datasets.open(path, on_bad="skip")) == 2


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


def test_a_csv_without_rows(tmp_path: Path) -> None:
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


def test_a_binary_file_called_csv_is_refused(tmp_path: Path) -> None:
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


def test_a_file_that_never_ends_its_line(tmp_path: Path) -> None:
    path = tmp_path / "zeros.csv"
    path.write_bytes(b"\0" * (5 * 2**20))
    refuses(path, f"{path} has a line of more than 4 MiB; that is no CSV.")


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


def test_a_csv_that_begins_with_an_empty_line(tmp_path: Path) -> None:
    path = tmp_path / "faces.csv"
    path.write_text("\nimage,label\na.png,happy\n")
    refuses(path, f"{path} begins with an empty line: delete it.")
