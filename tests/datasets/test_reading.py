"""The options of `datasets.open`, and what cannot be opened."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from ferembed import datasets
from ferembed.errors import DataError, LabelError
from ferembed.images import load_image
from tests.helpers.datasets import (
    TREE,
    names_csv,
    png,
    refuses,
    write_tree,
)


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


def test_contempt_is_the_eighth_expression_with_expressions_8(tmp_path: Path) -> None:
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


def test_a_path_without_a_data_set_is_refused(tmp_path: Path) -> None:
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
