"""merge, split, balance and mirror: no leak, no loss, the same for the same seed."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ferembed import datasets
from ferembed.datasets import Dataset
from ferembed.errors import DataError
from ferembed.images import load_image
from tests.helpers.datasets import fer_row, ferplus, value, write_fer, write_tree

LABELS = ("angry", "disgust", "happy", "sad")


def pictures(numbers: list[int]) -> np.ndarray:
    """One 2x2 picture for each number; the same number gives a copy."""
    return np.array([[[n % 256, n // 256], [7, 7]] for n in numbers], np.uint8)


def number(source: object) -> int:
    pixels = load_image(source)[:, :, 0]  # type: ignore[arg-type]
    return int(pixels[0, 0]) + 256 * int(pixels[0, 1])


def dataset(items: list[tuple[int, str]], splits: list[str] | None = None) -> Dataset:
    return Dataset.from_images(
        pictures([n for n, _ in items]), [label for _, label in items], splits
    )


def per_class(numbers: dict[str, int], split: str = "train") -> Dataset:
    labels = [label for label, count in numbers.items() for _ in range(count)]
    return dataset(list(enumerate(labels)), [split] * len(labels))


# A number is a picture: those drawn twice are copies, some of them with another label.
items = st.lists(st.tuples(st.integers(0, 60), st.sampled_from(LABELS)), min_size=1, max_size=120)
proportions = st.sampled_from(
    [
        {"train": 60, "validation": 20, "test": 20},
        {"train": 0.9, "validation": 0.1},
        {"train": 1 / 3, "validation": 1 / 3, "test": 1 / 3},
        {"train": 1},
    ]
)
seeds = st.integers(0, 5)


# --- split ----------------------------------------------------------------------------------------


@given(items, proportions, seeds)
@settings(max_examples=150, deadline=None)
def test_split_loses_nothing_and_keeps_duplicates_together(
    items: list[tuple[int, str]], proportions: dict[str, float], seed: int
) -> None:
    parts = datasets.split(dataset(items), proportions, seed)
    assert [(number(image), label) for image, label, _ in parts] == items
    assert set(parts.splits) <= set(proportions)
    sides: dict[int, set[str]] = {}
    for (n, _), side in zip(items, parts.splits, strict=True):
        sides.setdefault(n, set()).add(side)
    assert all(len(of) == 1 for of in sides.values())


@given(items, proportions, seeds)
@settings(max_examples=50, deadline=None)
def test_split_is_the_same_for_the_same_seed(
    items: list[tuple[int, str]], proportions: dict[str, float], seed: int
) -> None:
    one, other = (datasets.split(dataset(items), proportions, seed) for _ in range(2))
    assert one.splits.tolist() == other.splits.tolist()
    assert one.provenance == other.provenance


@given(st.lists(st.sampled_from(LABELS), min_size=1, max_size=200), proportions, seeds)
@settings(max_examples=150, deadline=None)
def test_split_keeps_proportions_within_one_picture_of_each_class(
    labels: list[str], proportions: dict[str, float], seed: int
) -> None:
    parts = datasets.split(dataset(list(enumerate(labels))), proportions, seed)
    within_one(labels, parts, proportions)


@given(
    st.dictionaries(st.sampled_from(LABELS), st.lists(st.integers(2, 4), max_size=6), min_size=1),
    proportions,
    seeds,
)
@settings(max_examples=100, deadline=None)
def test_split_balances_groups_of_duplicates_with_other_pictures(
    copies: dict[str, list[int]], proportions: dict[str, float], seed: int
) -> None:
    """With 12 single pictures per class (3 splits, groups of up to 4) there is always room."""
    drawn: list[tuple[int, str]] = []
    for label, sizes in copies.items():
        for size in [*sizes, *[1] * 12]:
            drawn += [(len(drawn), label)] * size
    parts = datasets.split(dataset(drawn), proportions, seed)
    within_one([label for _, label in drawn], parts, proportions)


def within_one(labels: list[str], parts: Dataset, proportions: dict[str, float]) -> None:
    total = sum(proportions.values())
    found = Counter(zip(labels, parts.splits.tolist(), strict=True))
    for label, count in Counter(labels).items():
        for split, share in proportions.items():
            assert abs(found[label, split] - count * share / total) < 1


def test_large_groups_are_dealt_first_so_that_small_ones_fit() -> None:
    faces = dataset([(1, "sad")] * 5 + [(2, "sad")] * 3 + [(3, "sad")] * 2)
    for seed in range(20):
        parts = datasets.split(faces, {"train": 50, "test": 50}, seed)
        assert Counter(parts.splits.tolist()) == {"train": 5, "test": 5}


def test_another_seed_gives_another_split() -> None:
    faces = dataset([(n, "sad") for n in range(100)])
    one, other = (datasets.split(faces, {"train": 50, "test": 50}, seed) for seed in (0, 1))
    assert one.splits.tolist() != other.splits.tolist()
    assert Counter(one.splits.tolist()) == {"train": 50, "test": 50}


def test_duplicates_are_found_by_pixels_whatever_the_file(tmp_path: Path) -> None:
    import PIL.Image

    pixels = pictures([5])[0]
    write_tree(tmp_path, [f"sad/{n}.png" for n in range(8)])
    for name in ("x.png", "x.bmp", "x.tif"):
        PIL.Image.fromarray(pixels).save(tmp_path / "sad" / name)
    faces = datasets.open(tmp_path)
    for seed in range(10):
        parts = datasets.split(faces, {"train": 50, "test": 50}, seed)
        assert len(set(parts.splits[-3:])) == 1
    assert parts.provenance[-1]["different pictures"] == 9


def test_groups_that_the_caller_knows_stay_together() -> None:
    faces = dataset([(n, "sad") for n in range(20)])
    people = np.repeat(np.arange(5), 4)
    parts = datasets.split(faces, {"train": 60, "test": 40}, groups=people)
    for person in range(5):
        assert len(set(parts.splits[people == person])) == 1
    assert Counter(parts.splits.tolist()) == {"train": 12, "test": 8}


def test_an_unreadable_picture_is_split_like_any_other(tmp_path: Path) -> None:
    write_tree(tmp_path, ["sad/a.png", "sad/b.png"])
    (tmp_path / "sad/a.png").write_bytes(b"broken")
    assert len(datasets.split(datasets.open(tmp_path), {"train": 50, "test": 50})) == 2


def test_a_set_that_is_split_is_split_again_only_on_purpose() -> None:
    faces = dataset([(n, "sad") for n in range(10)], ["train"] * 8 + ["test"] * 2)
    with pytest.raises(DataError) as error:
        datasets.split(faces, {"train": 50, "validation": 50})
    assert str(error.value) == (
        "2 pictures are already in the validation or test split. Split the others, "
        'dataset.split("train"), or pass resplit=True to split all of them again.'
    )
    again = datasets.merge(
        datasets.split(faces.split("train"), {"train": 75, "validation": 25}), faces.split("test")
    )
    assert Counter(again.splits.tolist()) == {"train": 6, "validation": 2, "test": 2}
    pooled = datasets.split(faces, {"train": 50, "test": 50}, resplit=True)
    assert Counter(pooled.splits.tolist()) == {"train": 5, "test": 5}


@pytest.mark.parametrize(
    ("proportions", "message"),
    [
        ({"train": 0.6, "test": 0.2}, "The proportions sum to 0.8; they sum to 1 or to 100"),
        ({"train": 1, "tset": 0}, "No split is called 'tset'. Did you mean 'test'?"),
        ({"train": 100, "test": 0}, "The proportion of test is 0; it must be more than 0."),
        ({}, "The proportions sum to 0; they sum to 1 or to 100"),
    ],
)
def test_invalid_proportions_are_refused(proportions: dict[str, float], message: str) -> None:
    with pytest.raises(DataError) as error:
        datasets.split(dataset([(1, "sad")]), proportions)
    assert message in str(error.value)


# --- balance and mirror ---------------------------------------------------------------------------


@given(
    st.dictionaries(st.sampled_from(LABELS), st.integers(1, 12), min_size=1),
    st.integers(1, 30),
    seeds,
)
@settings(max_examples=100, deadline=None)
def test_balance_gives_each_class_its_number_of_known_pictures(
    numbers: dict[str, int], wanted: int, seed: int
) -> None:
    some = next(iter(numbers))
    held = dataset([(500, some), (501, some)], ["validation", "test"])
    faces = datasets.merge(per_class(numbers), held)
    balanced = datasets.balance(faces, wanted, seed)
    assert Counter(balanced.labels[balanced.splits == "train"]) == dict.fromkeys(numbers, wanted)
    kept = balanced.select(balanced.splits != "train")
    before = faces.select(faces.splits != "train")
    assert [number(image) for image in kept.images] == [number(image) for image in before.images]
    # Where there are too few, all originals stay, and each has as many versions as the next.
    names = Counter(
        (label, balanced.images.name(index).partition(" (")[0])
        for index, label in enumerate(balanced.labels)
        if balanced.splits[index] == "train"
    )
    for label, count in numbers.items():
        versions = [times for (of, _), times in names.items() if of == label]
        assert len(versions) == min(count, wanted)
        assert max(versions) - min(versions) <= 1
    again = datasets.balance(faces, wanted, seed)
    assert [again.images.name(i) for i in range(len(again))] == [
        balanced.images.name(i) for i in range(len(balanced))
    ]


def test_balance_to_12006_as_in_the_reference(faces: np.ndarray, labels: np.ndarray) -> None:
    train = Dataset.from_images(faces, labels, ["train"] * 24)
    balanced = datasets.balance(train, 12_006)
    assert balanced.counts() == {"train": {"angry": 12_006, "happy": 12_006, "sad": 12_006}}
    assert balanced.provenance[-1]["augmented"] == dict.fromkeys(["angry", "happy", "sad"], 11_998)


def test_added_pictures_are_versions_with_the_same_label(labels: np.ndarray) -> None:
    import cv2

    noise = np.random.default_rng(1).integers(0, 256, (24, 4, 4), dtype=np.uint8)
    faces = np.stack([cv2.resize(one, (48, 48), interpolation=cv2.INTER_CUBIC) for one in noise])
    train = Dataset.from_images(faces, labels, ["train"] * 24)
    balanced = datasets.balance(train, 16)
    for index in range(24, len(balanced)):
        version = load_image(balanced.images[index])[:, :, 0].astype(float)
        likeness = [np.corrcoef(version.ravel(), face.ravel())[0, 1] for face in faces]
        best = int(np.argmax(likeness))
        assert labels[best] == balanced.labels[index]
        assert likeness[best] > 0.8
        assert (version != faces[best]).any()
        np.testing.assert_array_equal(version, load_image(balanced.images[index])[:, :, 0])


def test_mirror_adds_each_training_picture_turned_round() -> None:
    faces = dataset([(1, "sad"), (258, "happy"), (9, "sad")], ["train", "train", "test"])
    mirrored = datasets.mirror(faces)
    assert mirrored.labels.tolist() == ["sad", "happy", "sad", "sad", "happy"]
    assert mirrored.splits.tolist() == ["train", "train", "test", "train", "train"]
    for original, turned in ((0, 3), (1, 4)):
        before, after = (load_image(mirrored.images[i]) for i in (original, turned))
        np.testing.assert_array_equal(before[:, ::-1], after)
    assert mirrored.images.name(3) == "picture 0 (mirrored)"


HELD_BACK = (
    "changes the training split, and this data set has none. Validation and test pictures are "
    "never changed."
)
TOO_EARLY = (
    "needs a split data set: versions of one face could end up in several splits. Split it first; "
    "{'train': 100} makes all of it the training split."
)


@pytest.mark.parametrize(
    ("split", "reason"),
    [("validation", HELD_BACK), ("test", HELD_BACK), ("unsplit", TOO_EARLY)],
)
def test_only_a_training_split_is_augmented(split: str, reason: str) -> None:
    faces = per_class({"sad": 4, "happy": 2}, split)
    with pytest.raises(DataError) as error:
        datasets.balance(faces, 10)
    assert str(error.value) == f"Balancing {reason}"
    with pytest.raises(DataError) as error:
        datasets.mirror(faces)
    assert str(error.value) == f"Adding mirror images {reason}"


def test_an_augmented_set_is_not_split() -> None:
    unsplit = dataset([(1, "sad"), (2, "happy")])
    train = datasets.split(unsplit, {"train": 100})
    for augmented in (
        datasets.balance(train, 10),
        datasets.mirror(train),
        datasets.merge(train, datasets.mirror(train)),
    ):
        with pytest.raises(DataError, match="has augmented pictures, so versions of one face"):
            datasets.split(augmented, {"train": 50, "test": 50})


def test_a_class_of_which_there_is_nothing_cannot_be_balanced(tmp_path: Path) -> None:
    write_tree(tmp_path, ["train/sad/a.png", "test/happy/b.png"])
    with pytest.raises(DataError, match="The training split has no happy picture to make 5 from"):
        datasets.balance(datasets.open(tmp_path), 5)


# --- merge ----------------------------------------------------------------------------------------


def test_merge_joins_sets_of_other_formats_and_labels(tmp_path: Path) -> None:
    folders = datasets.open(write_tree(tmp_path / "a", ["alegría/x.png", "sad/y.png"]))
    table = datasets.open(write_fer(tmp_path / "fer2013.csv", [fer_row(0, 50), fer_row(3, 60)]))
    both = datasets.merge(folders, table)
    assert [(label, value(image)) for image, label, _ in both] == [
        ("happy", 0),
        ("sad", 1),
        ("angry", 50),
        ("happy", 60),
    ]
    assert both.splits.tolist() == ["unsplit", "unsplit", "train", "train"]
    assert both.classes == ("angry", "happy", "sad")
    step = both.provenance[-1]
    assert [one[0]["format"] for one in step["sets"]] == [
        "class folders in a folder",
        "FER2013 CSV of pixels",
    ]
    assert "set 2" in str(both)


def test_merge_keeps_votes(tmp_path: Path) -> None:
    voted = datasets.open(
        ferplus(tmp_path),
        votes="probability",
        labels={"contempt": None},
        classes=["neutral", "sad"],
    )
    plain = dataset([(1, "happy")])
    both = datasets.merge(voted, plain)
    assert both.classes == ("happy", "sad", "neutral")
    np.testing.assert_allclose(both.targets, [[0, 0, 1], [0, 0, 1], [1, 0, 0]])


def test_operations_leave_what_they_are_given_as_it_was() -> None:
    faces = per_class({"sad": 9, "happy": 3})
    before = (faces.labels.tolist(), faces.splits.tolist(), faces.provenance, len(faces))
    datasets.mirror(datasets.balance(faces, 5))
    datasets.split(faces, {"train": 50, "test": 50})
    datasets.merge(faces, faces)
    assert (faces.labels.tolist(), faces.splits.tolist(), faces.provenance, len(faces)) == before


def test_targets_are_normalized_over_the_chosen_classes() -> None:
    votes = np.array([[0.1, 0.6, 0.3], [0.8, 0.1, 0.1], [0.2, 0.2, 0.6]], np.float32)
    faces = dataset([(1, "happy"), (2, "angry"), (3, "sad")])
    shares = replace(faces, classes=("angry", "happy", "sad"), votes=votes[:, [0, 1, 2]])
    shares = replace(shares, label_codes=np.array([1, 0, 2], np.int16))
    two = datasets.select_classes(shares, ["happy", "angry"])
    assert two.targets == pytest.approx(np.array([[0.1, 0.6], [0.8, 0.1]]) / [[0.7], [0.9]])
    several = replace(shares, votes=np.array([[1, 1, 0], [1, 0, 1], [0, 0, 1]], np.float32))
    assert datasets.select_classes(several, ["happy", "angry"]).targets.tolist() == [[1, 1], [1, 0]]


def test_a_changed_picture_has_the_name_of_its_original(tmp_path: Path) -> None:
    gray = np.arange(3 * 48 * 48, dtype=np.uint8).reshape(3, 48, 48)
    names = ["train/sad/a (1).png", "train/sad/b (mirrored).png", "train/sad/c.png"]
    for name, picture in zip(names, gray, strict=True):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        PIL.Image.fromarray(picture).save(tmp_path / name)
    faces = datasets.mirror(datasets.balance(datasets.open(tmp_path), 5))
    assert len(faces) == 10
    assert {faces.images.original(index) for index in range(10)} == set(names)
    assert [faces.images.is_changed(index) for index in range(10)] == [False] * 3 + [True] * 7
