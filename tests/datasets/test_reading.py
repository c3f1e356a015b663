"""Every format people have is opened, and what comes out is the pictures that went in."""

from __future__ import annotations

import io
import json
import os
import pickle
import tracemalloc
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import joblib
import numpy as np
import PIL.Image
import pytest

from ferembed import datasets
from ferembed.datasets.vocabulary import expression, split_name
from ferembed.datasets.zip_members import ZipMember
from ferembed.errors import DataError, LabelError
from ferembed.images import load_image

FER_HEAD = "emotion,pixels,Usage"


def png(value: int, side: int = 48) -> bytes:
    """A picture like no other with a different value."""
    pixels = np.full((side, side), 128, np.uint8)
    pixels[: side // 2] = value
    content = io.BytesIO()
    PIL.Image.fromarray(pixels).save(content, "PNG")
    return content.getvalue()


def value(source: object) -> int:
    return int(load_image(source)[0, 0, 0])  # type: ignore[arg-type]


def write_tree(root: Path, names: list[str]) -> Path:
    """Pictures under these names, the n-th of value n."""
    for number, name in enumerate(names):
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(png(number) if not name.endswith(".txt") else b"read me")
    return root


def zip_tree(path: Path, names: list[str], compression: int = zipfile.ZIP_STORED) -> Path:
    with zipfile.ZipFile(path, "w", compression) as file:
        for number, name in enumerate(names):
            file.writestr(name, png(number))
    return path


def fer_row(label: int | str, number: int, usage: str = "Training", side: int = 48) -> str:
    return f"{label},{' '.join([str(number)] * (side * side))},{usage}"


def write_fer(path: Path, rows: list[str], head: str = FER_HEAD, end: str = "\n") -> Path:
    path.write_bytes(end.join([head, *rows, ""]).encode())
    return path


TREE = ["train/angry/a.png", "train/happy/b.png", "test/happy/c.png"]


# --- names ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "meaning"),
    [
        ("anger", "angry"),
        ("ENFADO", "angry"),
        ("Happiness", "happy"),
        ("alegría", "happy"),
        ("alegri\u0301a", "happy"),
        ("miedo", "fear"),
        ("Überraschung", "surprise"),
        ("dégoût", "disgust"),
        ("tristeza", "sad"),
        (" Neutral ", "neutral"),
        ("AF", "fear"),
        ("contempt", "contempt"),
        ("0", None),
    ],
)
def test_names_of_other_sets_and_languages_mean_one_of_the_seven(
    name: str, meaning: str | None
) -> None:
    assert expression(name) == meaning


def test_no_alias_means_two_expressions() -> None:
    from ferembed.datasets import vocabulary

    words = [word for text in vocabulary._EXPRESSIONS.values() for word in text.split()]
    assert len(words) == len(set(words))
    assert [vocabulary.normalize_name(word) for word in words] == words


@pytest.mark.parametrize(
    ("name", "split"),
    [
        ("PublicTest", "validation"),
        ("PrivateTest", "test"),
        ("val", "validation"),
        ("FER2013Train", "train"),
        ("images", None),
    ],
)
def test_names_of_splits(name: str, split: str | None) -> None:
    assert split_name(name) == split


# --- class folders --------------------------------------------------------------------------------


def test_class_folders_give_labels_and_splits(tmp_path: Path) -> None:
    faces = datasets.open(write_tree(tmp_path, TREE))
    assert faces.labels.tolist() == ["happy", "angry", "happy"]
    assert faces.splits.tolist() == ["test", "train", "train"]
    assert faces.classes == ("angry", "happy")
    assert [value(image) for image in faces.images] == [2, 0, 1]
    assert str(faces.images[1]) == str(tmp_path / "train/angry/a.png")
    assert faces.provenance[-1]["format"] == "class folders in a folder"
    assert str(faces).splitlines()[0] == "3 pictures, 2 classes, train 2, test 1"


@pytest.mark.parametrize(
    ("name", "label", "split"),
    [
        ("alegría/x.jpg", "happy", "unsplit"),
        ("images/train/sad/x.png", "sad", "train"),
        ("images/validation/sad/x.bmp", "sad", "validation"),
        ("archive/fer2013/test/fear/x.webp", "fear", "test"),
        ("fear/val/x.gif", "fear", "validation"),
        ("test/fear/PublicTest_12.jpg", "fear", "validation"),
        ("test/fear/PrivateTest_12.jpg", "fear", "test"),
        ("test/fear/Training_12.jpg", "fear", "test"),
        ("train/fear/PublicTest_12.jpg", "fear", "train"),
        ("fear/Training_12.jpg", "fear", "train"),
        ("test/fear/PublicTest_face.jpg", "fear", "test"),
    ],
)
@pytest.mark.parametrize("zipped", [False, True])
def test_one_level_or_two_with_or_without_a_folder_around(
    tmp_path: Path, name: str, label: str, split: str, zipped: bool
) -> None:
    path = zip_tree(tmp_path / "x.zip", [name]) if zipped else write_tree(tmp_path / "x", [name])
    faces = datasets.open(path)
    assert (faces.labels.tolist(), faces.splits.tolist()) == ([label], [split])


def test_what_is_no_picture_is_counted(tmp_path: Path) -> None:
    names = [*TREE, "readme.txt", ".hidden.png", ".git/happy/a.png", "__MACOSX/happy/b.png"]
    faces = datasets.open(write_tree(tmp_path, names))
    assert len(faces) == 3
    assert "  skipped 1: files that are not pictures (.txt), first readme.txt" in str(faces)
    assert faces.provenance[-1]["skipped"]["hidden files"]["count"] == 3


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs pipes with names")
def test_pipes_are_not_waited_for(tmp_path: Path) -> None:
    write_tree(tmp_path, TREE)
    os.mkfifo(tmp_path / "labels.csv")
    faces = datasets.open(tmp_path)
    assert faces.provenance[-1]["skipped"]["pipes and devices"]["first"] == "labels.csv"
    os.mkfifo(tmp_path / "train" / "happy" / "pipe.png")
    assert datasets.describe(datasets.open(tmp_path)).unreadable == 1
    with pytest.raises(DataError, match=r"labels\.csv is a pipe or a device"):
        datasets.open(tmp_path / "labels.csv")


def test_a_link_that_leads_back_up_is_not_followed(tmp_path: Path) -> None:
    write_tree(tmp_path, TREE)
    (tmp_path / "train" / "again").symlink_to(tmp_path)
    assert len(datasets.open(tmp_path)) == 3


def test_labels_map_drop_and_keep(tmp_path: Path) -> None:
    names = ["contempt/a.png", "boredom/b.png", "Joy/c.png", "blah/d.png"]
    write_tree(tmp_path, names)
    faces = datasets.open(
        tmp_path, labels={"Contempt": "contempt", "boredom": "enfado", "blah": None}
    )
    assert faces.labels.tolist() == ["happy", "angry", "contempt"]
    assert faces.classes == ("angry", "happy", "contempt")
    assert faces.provenance[-1]["labels"] == {"Joy": "happy", "boredom": "angry"}
    assert faces.provenance[-1]["skipped"] == {"label 'blah'": {"count": 1, "first": "blah/d.png"}}


def test_contempt_is_the_eighth_expression_where_eight_are_asked_for(tmp_path: Path) -> None:
    write_tree(tmp_path, ["Desprecio/a.png", "happy/b.png"])
    faces = datasets.open(tmp_path, expressions=8)
    assert faces.classes == ("happy", "contempt")
    assert faces.labels.tolist() == ["contempt", "happy"]
    assert datasets.open(tmp_path, on_unknown="drop").labels.tolist() == ["happy"]
    with pytest.raises(LabelError, match="expressions is 9. It is 7, or 8 with contempt"):
        datasets.open(tmp_path, expressions=9)


def test_unknown_labels_are_listed_all_at_once(tmp_path: Path) -> None:
    write_tree(tmp_path, ["contempt/a.png", "contempt/b.png", "bored/c.png", "sad/d.png"])
    with pytest.raises(DataError) as error:
        datasets.open(tmp_path)
    assert str(error.value) == (
        f"{tmp_path} has labels that are none of the 7 expressions (angry, disgust, fear, "
        "happy, sad, surprise, neutral): 'bored' (1, first bored/c.png); 'contempt' (2, first "
        "contempt/a.png). expressions=8, on the command line --expressions 8, takes contempt. "
        "Say what they mean with labels={'bored': 'neutral'}, drop one with "
        "labels={'bored': None}, or all with on_unknown=\"drop\"; on the command "
        "line with --label bored=neutral, --label bored= or --drop-unknown."
    )
    kept = datasets.open(tmp_path, on_unknown="keep")
    assert kept.labels.tolist() == ["bored", "contempt", "contempt", "sad"]
    dropped = datasets.open(tmp_path, on_unknown="drop")
    assert dropped.labels.tolist() == ["sad"]
    assert "skipped 2: label 'contempt', first contempt/a.png" in str(dropped)


def test_a_subset_of_classes_is_one_argument(tmp_path: Path) -> None:
    write_tree(tmp_path, [f"{label}/x.png" for label in ("angry", "happy", "sad", "fear")])
    faces = datasets.open(tmp_path, classes=["happiness", "angry", "neutral"])
    assert faces.labels.tolist() == ["angry", "happy"]
    assert faces.classes == ("angry", "happy", "neutral")
    assert faces.targets.tolist() == [[1, 0, 0], [0, 1, 0]]
    with pytest.raises(DataError, match=r"No class here is called 'hapy'. Did you mean 'happy'?"):
        datasets.open(tmp_path, classes=["hapy"])


def test_one_split_is_one_argument(tmp_path: Path) -> None:
    write_tree(tmp_path, TREE)
    assert datasets.open(tmp_path, split="test").labels.tolist() == ["happy"]
    with pytest.raises(DataError) as error:
        datasets.open(tmp_path, split="validation")
    assert str(error.value) == (
        "The data set has no validation split; it has train 2, test 1. datasets.split makes "
        "splits, and so does ferembed data build --split."
    )
    with pytest.raises(DataError, match="No split is called 'tset'. Did you mean 'test'?"):
        datasets.open(tmp_path, split="tset")


# --- zips -----------------------------------------------------------------------------------------


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


def test_a_data_set_travels_by_pickle(tmp_path: Path) -> None:
    faces = pickle.loads(pickle.dumps(datasets.open(write_tree(tmp_path, TREE))))
    assert [value(image) for image in faces.images] == [2, 0, 1]


@pytest.mark.slow
def test_listing_takes_little_memory_for_each_picture(tmp_path: Path) -> None:
    count = 40_000
    path = tmp_path / "x.zip"
    with zipfile.ZipFile(path, "w") as file:
        for number in range(count):
            file.writestr(f"train/happy/Training_{number:08}.jpg", b"")
    seen: list[tuple[int, int | None]] = []
    tracemalloc.start()
    faces = datasets.open(path, progress=lambda done, total: seen.append((done, total)))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert len(faces) == count
    assert peak / count < 180  # bytes; the standard library's own listing takes over 600
    assert seen[0] == (1000, None)
    assert seen[-1] == (count, count)


# --- FER2013 CSV ----------------------------------------------------------------------------------


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


# --- names and labels -----------------------------------------------------------------------------


def names_csv(root: Path, text: str, pictures: list[str]) -> Path:
    write_tree(root, pictures)
    (root / "legend.csv").write_text(text, encoding="utf-8")
    return root / "legend.csv"


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


def test_several_label_files_are_a_choice(tmp_path: Path) -> None:
    path = names_csv(tmp_path, "image,emotion\na.png,happy\n", ["a.png"])
    (tmp_path / "other.csv").write_text("image,emotion\na.png,sad\n")
    (tmp_path / "prices.csv").write_text("thing,price\nchair,3\n")
    with pytest.raises(DataError) as error:
        datasets.open(path.parent)
    assert str(error.value) == (
        f"{tmp_path} holds 2 label files: legend.csv, other.csv. Choose one: table='legend.csv', "
        "on the command line --table legend.csv."
    )
    assert datasets.open(tmp_path, table="other.csv").labels.tolist() == ["sad"]


# --- FER+ -----------------------------------------------------------------------------------------

PLUS_HEAD = (
    "Usage,Image name,neutral,happiness,surprise,sadness,anger,disgust,fear,contempt,unknown,NF"
)
PLUS_ROWS = [
    "Training,fer0000000.png,6,0,0,1,3,0,0,0,0,0",  # the single vote for sadness is a slip
    "Training,fer0000001.png,5,5,0,0,0,0,0,0,0,0",  # no majority
    "Training,,0,0,0,0,0,0,0,0,0,10",  # not a face
    "PublicTest,fer0000003.png,0,0,0,2,0,0,0,0,8,0",  # unknown
    "PublicTest,fer0000004.png,0,0,0,2,0,0,0,8,0,0",  # contempt
    "PublicTest,fer0000005.png,1,1,1,1,1,1,1,1,1,1",  # ten slips
    "PrivateTest,fer0000006.png,0,0,4,0,0,0,6,0,0,0",
]


def ferplus(root: Path, rows: list[str] = PLUS_ROWS) -> Path:
    usages = [row.split(",")[0] for row in rows]
    write_fer(root / "fer2013.csv", [fer_row(6, n, usage) for n, usage in enumerate(usages)])
    (root / "fer2013new.csv").write_text("\n".join([PLUS_HEAD, *rows, ""]))
    return root / "fer2013new.csv"


def test_ferplus_majority(tmp_path: Path) -> None:
    faces = datasets.open(ferplus(tmp_path), labels={"contempt": None})
    assert [(label, value(image)) for image, label, _ in faces] == [("neutral", 0), ("fear", 6)]
    assert faces.splits.tolist() == ["train", "test"]
    counted = {kind: of["count"] for kind, of in faces.provenance[-1]["skipped"].items()}
    assert counted == {
        "FER+ votes: no agreement": 2,
        "FER+ votes: not a face": 1,
        "FER+ votes: unknown": 1,
        "label 'contempt'": 1,
    }


def test_ferplus_probability(tmp_path: Path) -> None:
    faces = datasets.open(ferplus(tmp_path), votes="probability", labels={"contempt": "disgust"})
    assert faces.labels.tolist() == ["neutral", "neutral", "disgust", "fear"]
    by_value = {value(image): row for image, row in zip(faces.images, faces.targets, strict=True)}
    named = {
        number: {name: round(float(p), 4) for name, p in zip(faces.classes, row, strict=True) if p}
        for number, row in by_value.items()
    }
    assert named == {
        0: {"neutral": 0.6667, "angry": 0.3333},
        1: {"neutral": 0.5, "happy": 0.5},
        4: {"sad": 0.2, "disgust": 0.8},
        6: {"surprise": 0.4, "fear": 0.6},
    }


def test_ferplus_multi_target(tmp_path: Path) -> None:
    faces = datasets.open(ferplus(tmp_path), votes="multi-target", labels={"contempt": None})
    named = [
        [name for name, p in zip(faces.classes, row, strict=True) if p] for row in faces.targets
    ]
    assert named == [["angry", "neutral"], ["happy", "neutral"], ["fear", "surprise"]]
    assert set(np.unique(faces.targets)) == {0.0, 1.0}


def test_ferplus_contempt_is_an_error_unless_the_caller_says(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"'contempt' \(1, first .*fer2013new.csv, row 6\)"):
        datasets.open(ferplus(tmp_path))


def test_ferplus_files_that_do_not_belong_together(tmp_path: Path) -> None:
    path = ferplus(tmp_path)
    path.write_text("\n".join([PLUS_HEAD, *PLUS_ROWS[:-1]]))
    with pytest.raises(DataError) as error:
        datasets.open(path)
    assert str(error.value) == (
        f"{path} has 6 rows of votes and {tmp_path / 'fer2013.csv'} 7 of pixels. FER+ goes by row: "
        "both must be whole."
    )
    path.write_text("\n".join([PLUS_HEAD, *PLUS_ROWS[1:], PLUS_ROWS[0]]))
    with pytest.raises(DataError, match="Row 4 is validation in .*new.csv and train in .*2013.csv"):
        datasets.open(path)
    (tmp_path / "fer2013.csv").unlink()
    with pytest.raises(
        DataError, match=r"no pictures. Put fer2013.csv or icml_face_data.csv besid"
    ):
        datasets.open(path)


def test_ferplus_in_a_zip_with_its_csv(tmp_path: Path) -> None:
    ferplus(tmp_path)
    with zipfile.ZipFile(tmp_path / "x.zip", "w", zipfile.ZIP_DEFLATED) as file:
        for name in ("fer2013.csv", "fer2013new.csv"):
            file.write(tmp_path / name, f"fer/{name}")
    assert len(datasets.open(tmp_path / "x.zip")) == 7  # of FER2013's own labels
    faces = datasets.open(tmp_path / "x.zip", votes="majority", on_unknown="drop")
    assert [value(image) for image in faces.images] == [0, 6]
    faces = datasets.open(tmp_path / "x.zip", table="fer/fer2013new.csv", on_unknown="drop")
    assert [value(image) for image in faces.images] == [0, 6]


# --- what comes out -------------------------------------------------------------------------------


def test_select_keeps_labels_with_their_pictures(tmp_path: Path) -> None:
    faces = datasets.open(zip_tree(tmp_path / "x.zip", TREE))
    assert [value(image) for image in faces.select([2, 0]).images] == [2, 0]
    happy = faces.select(faces.labels == "happy")
    assert [(label, value(image)) for image, label, _ in happy] == [("happy", 1), ("happy", 2)]
    assert happy.provenance[-1] == {"step": "select", "kept": 2, "of": 3}
    assert json.loads(json.dumps(happy.provenance)) == list(happy.provenance)
    with pytest.raises(DataError, match="A mask of 2 does not fit 3 pictures"):
        faces.select([True, False])


def test_pictures_in_memory_are_a_data_set_too(faces: np.ndarray, labels: np.ndarray) -> None:
    held = datasets.Dataset.from_images(faces, labels)
    assert held.labels.tolist() == labels.tolist()
    np.testing.assert_array_equal(load_image(held.images[5])[:, :, 1], faces[5])
    with pytest.raises(LabelError, match="24 pictures, 23 labels and no splits do not fit"):
        datasets.Dataset.from_images(faces, labels[1:])


def test_describe_counts_and_draws(tmp_path: Path) -> None:
    write_tree(tmp_path / "set", [*TREE, "train/sad/broken.png"])
    (tmp_path / "set/train/sad/broken.png").write_bytes(b"no picture")
    described = datasets.describe(datasets.open(tmp_path / "set"))
    assert described.table().splitlines()[:7] == [
        "             train    test   total   share",
        "angry            1       0       1   25.0%",
        "happy            1       1       2   50.0%",
        "sad              1       0       1   25.0%",
        "total            3       1       4  100.0%",
        "sizes      48x48 3",
        "unreadable 1 (audit lists them)",
    ]
    assert json.loads(described.to_json())["counts"]["test"] == {"angry": 0, "happy": 1, "sad": 0}
    with PIL.Image.open(described.picture(tmp_path / "bars.png")) as bars:
        colours = {colour for _, colour in bars.convert("RGB").getcolors(1 << 20) or []}
    assert {(66, 103, 172), (102, 163, 92)} <= colours  # train and test
    assert (237, 152, 60) not in colours  # no validation


@pytest.mark.data
def test_the_real_sets_open_as_they_are() -> None:
    folder = Path(os.environ["FEREMBED_DATA"])
    fer = datasets.open(folder / "fer2013.zip")
    assert {split: sum(of.values()) for split, of in fer.counts().items()} == {
        "train": 28_694,
        "validation": 3_586,
    }
    assert fer.counts()["train"]["disgust"] == 436
    assert load_image(fer.images[0]).shape == (48, 48, 3)
    with pytest.raises(DataError, match=r"'contempt' \(4, first .*legend.csv, row 53\)"):
        datasets.open(folder / "photos.zip")
    photos = datasets.open(folder / "photos.zip", labels={"contempt": None})
    assert len(photos) == 1056
    both = datasets.merge(fer, photos)
    assert len(both) == 32_280 + 1056
    assert load_image(both.images[-1]).shape == load_image(photos.images[-1]).shape


def test_a_picture_of_another_folder_is_not_taken_for_one_that_is_missing(tmp_path: Path) -> None:
    text = "image,label\ntrain/1.jpg,sad\ntest/1.jpg,happy\ntrain/2,happy\n"
    path = names_csv(tmp_path / "set", text, ["test/1.jpg", "train/2.jpg"])
    with pytest.raises(DataError, match=r"there is no picture 'train/1.jpg'"):
        datasets.open(path)
    assert len(datasets.open(path, on_bad="skip")) == 2
