"""FER+ votes on pictures by file name, the rules for them, and how data sets carry them."""

from __future__ import annotations

import os
import zipfile
from pathlib import Path

import numpy as np
import PIL.Image
import pytest

from ferembed import datasets
from ferembed.datasets import VoteRules
from ferembed.datasets.audit import audit
from ferembed.datasets.cleaning import clean
from ferembed.errors import DataError
from ferembed.images import load_image
from tests.helpers.datasets import PLUS_HEAD, PLUS_ROWS, ferplus, value

ROWS = {
    "a.png": "6,0,0,1,3,0,0,0,0,0",  # the single vote for sadness is a slip
    "b.png": "5,5,0,0,0,0,0,0,0,0",  # nobody has more than half
    "c.png": "0,0,0,2,0,0,0,0,0,8",  # not a face
    "d.png": "0,0,0,2,0,0,0,0,8,0",  # unknown
    "e.png": "0,0,0,2,0,0,0,8,0,0",  # contempt
    "f.png": "4,0,0,0,2,0,0,0,3,0",  # four of nine: no majority but for who ignores unknown
    "elsewhere.png": "9,0,0,0,0,0,0,0,0,0",
}


@pytest.fixture
def folder(tmp_path):
    """Class folders of a split each; the vote file lies beside the folder."""
    for index, name in enumerate(["a", "b", "c", "d", "e", "f", "without"]):
        place = tmp_path / "faces" / ("train" if index < 5 else "test") / "angry" / f"{name}.png"
        place.parent.mkdir(parents=True, exist_ok=True)
        face = np.random.default_rng(index).integers(0, 256, (8, 8), np.uint8)
        face[0, 0] = index
        PIL.Image.fromarray(face).save(place)
    rows = [f"Training,{name},{row}" for name, row in ROWS.items()]
    (tmp_path / "ferplus.csv").write_text("\n".join([PLUS_HEAD, *rows]))
    return tmp_path / "faces"


def named(faces):
    """The distribution of each picture, by the picture's name."""
    return {
        faces.images.name(index).rpartition("/")[2]: {
            label: round(float(p), 4) for label, p in zip(faces.classes, row, strict=True) if p
        }
        for index, row in enumerate(faces.targets)
    }


def by_value(faces):
    """The distribution of each picture, by its gray."""
    grays = [int(load_image(image)[0, 0, 0]) for image in faces.images]
    return dict(sorted(zip(grays, named(faces).values(), strict=True)))


def skipped(faces):
    return {kind: of["count"] for kind, of in faces.provenance[-1]["skipped"].items()}


def test_without_votes_the_labels_are_those_of_the_folders(folder):
    faces = datasets.open(folder)
    assert len(faces) == 7
    assert faces.classes == ("angry",)
    assert faces.votes is None


def test_majority_by_name(folder):
    faces = datasets.open(folder, votes="majority", expressions=8)
    assert named(faces) == {"a.png": {"neutral": 1.0}, "e.png": {"contempt": 1.0}}
    assert faces.splits.tolist() == ["train", "train"]
    assert skipped(faces) == {
        "pictures without votes": 1,
        "FER+ votes: no agreement": 2,
        "FER+ votes: not a face": 1,
        "FER+ votes: unknown": 1,
    }
    assert faces.provenance[-1]["noted"]["rows of votes without a picture"]["count"] == 1
    assert "single votes: drop; unknown: count; not a face: count" in str(faces)
    seven = datasets.open(folder, votes="majority", on_unknown="drop")
    assert named(seven) == {"a.png": {"neutral": 1.0}}
    assert skipped(seven)["label 'contempt'"] == 1


def test_probability_by_name(folder):
    faces = datasets.open(folder, votes="probability", expressions=8)
    assert named(faces) == {
        "a.png": {"neutral": 0.6667, "angry": 0.3333},
        "b.png": {"neutral": 0.5, "happy": 0.5},
        "e.png": {"contempt": 0.8, "sad": 0.2},
        "f.png": {"neutral": 0.6667, "angry": 0.3333},
    }
    assert faces.labels.tolist() == ["neutral", "neutral", "neutral", "contempt"]
    assert faces.splits.tolist() == ["test", "train", "train", "train"]


def test_multi_target_by_name(folder):
    faces = datasets.open(folder, votes="multi-target", expressions=8)
    assert {name: set(of) for name, of in named(faces).items()} == {
        "a.png": {"neutral", "angry"},
        "b.png": {"neutral", "happy"},
        "e.png": {"contempt"},
    }  # of f.png only neutral has 30 %, which is no more than half
    assert set(np.unique(faces.targets)) == {0.0, 1.0}


def test_each_rule_is_an_option(folder):
    kept = datasets.open(folder, votes="probability,single=keep", expressions=8)
    assert named(kept)["a.png"] == {"neutral": 0.6, "sad": 0.1, "angry": 0.3}
    rules = VoteRules("majority", unknown="ignore", not_face="ignore")
    ignored = datasets.open(folder, votes=rules, expressions=8)
    assert {name: [*of] for name, of in named(ignored).items()} == {
        "a.png": ["neutral"],
        "c.png": ["sad"],
        "d.png": ["sad"],
        "e.png": ["contempt"],
        "f.png": ["neutral"],
    }
    assert skipped(ignored) == {"pictures without votes": 1, "FER+ votes: no agreement": 1}


@pytest.mark.parametrize(
    ("votes", "message"),
    [
        ("majorty", r"No rule for votes \(mode\) is called 'majorty'. Did you mean 'majority'"),
        ("majority,single=half", r"No rule for votes \(single\) is called 'half'"),
        ("majority,singles=keep", "No rule for votes is called 'singles'. Did you mean 'single'"),
    ],
)
def test_rules_that_are_not_known_are_refused(folder, votes, message):
    with pytest.raises(DataError, match=message):
        datasets.open(folder, votes=votes)


def test_votes_are_found_beside_a_zip_in_it_or_where_one_says(folder, tmp_path):
    zipped = tmp_path / "faces.zip"
    with zipfile.ZipFile(zipped, "w") as file:
        for path in sorted(folder.rglob("*.png")):
            file.write(path, path.relative_to(folder))
    expected = named(datasets.open(folder, votes="probability", expressions=8))
    assert named(datasets.open(zipped, votes="probability", expressions=8)) == expected
    moved = (tmp_path / "ferplus.csv").rename(tmp_path / "who knows.csv")
    with pytest.raises(DataError, match="no ferplus.csv or fer2013new.csv in it or beside it"):
        datasets.open(zipped, votes="probability")
    given = datasets.open(zipped, votes="probability", votes_file=moved, expressions=8)
    assert named(given) == expected
    with zipfile.ZipFile(zipped, "a") as file:
        file.write(moved, "votes/any.csv")
    assert named(datasets.open(zipped, votes="probability", expressions=8)) == expected
    assert datasets.open(zipped).classes == ("angry",)  # votes are no labels until asked for
    (tmp_path / "x.csv").write_text("image,label\na.png,sad")
    with pytest.raises(DataError, match="holds no votes: it needs the columns neutral, happiness"):
        datasets.open(zipped, votes="majority", votes_file=tmp_path / "x.csv")


def test_a_name_of_several_pictures_is_counted(folder, tmp_path):
    (folder / "train" / "happy").mkdir()
    PIL.Image.new("L", (8, 8)).save(folder / "train" / "happy" / "a.png")
    with pytest.raises(DataError, match="row 2: 'a.png' is no name of one picture alone"):
        datasets.open(folder, votes="probability", expressions=8)
    faces = datasets.open(folder, votes="probability", expressions=8, on_bad="skip")
    assert "a.png" not in named(faces)
    assert skipped(faces)["votes that may be on several pictures"] == 1


def test_votes_that_are_no_numbers_are_an_error(folder, tmp_path):
    for row in ("x,0,0,0,0,0,0,0,0,0", "-1,0,0,0,0,0,0,0,0,0", "1,2"):
        (tmp_path / "ferplus.csv").write_text(f"{PLUS_HEAD}\nTraining,a.png,{row}")
        with pytest.raises(DataError, match="ferplus.csv, row 2: "):
            datasets.open(folder, votes="majority")


# --- what becomes of them -------------------------------------------------------------------------


def test_operations_keep_the_class_and_the_votes(folder):
    faces = datasets.open(folder, votes="probability", expressions=8)
    expected = named(faces)
    own = datasets.open(folder).select([1])
    both = datasets.merge(faces, own)
    assert named(both) == {**expected, "without.png": {"angry": 1.0}}
    assert both.labels.tolist() == [*faces.labels, "angry"]
    twice = datasets.merge(faces, faces)
    found = audit(twice)
    assert named(clean(twice, found)) == expected
    train = both.split("train")
    halves = datasets.split(train, {"train": 50, "test": 50}, seed=1)
    assert named(halves) == named(train)
    mirrored = named(datasets.mirror(train))
    assert mirrored["b.png (mirrored)"] == {"neutral": 0.5, "happy": 0.5}
    balanced = datasets.balance(datasets.select_classes(train, ["neutral", "contempt"]), 4)
    made = [of for name, of in named(balanced).items() if name.startswith("e.png (bright")]
    assert made == [{"contempt": 1.0}] * 3


@pytest.mark.parametrize("mode", ["probability", "multi-target"])
@pytest.mark.parametrize("out", ["written", "written.csv"])
def test_votes_are_written_and_read_back(folder, tmp_path, mode, out):
    faces = datasets.open(folder, votes=mode, labels={"contempt": "disgust"})
    datasets.write(faces, tmp_path / out, size=8)
    again = datasets.open(tmp_path / out, votes=mode)
    assert by_value(again) == by_value(faces)
    assert sorted(again.labels) == sorted(faces.labels)
    assert sorted(again.splits) == sorted(faces.splits)
    assert datasets.open(tmp_path / out).votes is None


def test_custom_labels_are_written_with_their_votes(folder, tmp_path):
    faces = datasets.open(folder, votes="probability", labels={"contempt": "bored"})
    datasets.write(faces, tmp_path / "written")
    again = datasets.open(tmp_path / "written", votes="probability", on_unknown="keep")
    assert by_value(again) == by_value(faces)


@pytest.mark.slow
@pytest.mark.data
def test_ferplus_as_published():
    data = Path(os.environ["FEREMBED_DATA"]) / "fer2013.zip"
    faces = datasets.open(data, votes="majority", expressions=8)
    counts = {split: sum(of.values()) for split, of in faces.counts().items()}
    assert counts == {"train": 25_057, "validation": 3_199}
    assert skipped(faces) == {
        "pictures without votes": 144,
        "FER+ votes: no agreement": 3_417,
        "FER+ votes: not a face": 4,
        "FER+ votes: unknown": 459,
    }
    shares = datasets.open(data, votes="probability", expressions=8)
    assert len(shares) == 31_673
    assert shares.targets.sum(axis=1) == pytest.approx(np.ones(31_673), abs=1e-5)
    own = datasets.open(data)
    assert (len(own), own.classes[-1], own.votes) == (32_280, "neutral", None)


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


def test_ferplus_contempt_is_an_error_without_a_choice(tmp_path: Path) -> None:
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
