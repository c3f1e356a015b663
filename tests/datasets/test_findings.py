import pytest

from ferembed.datasets.findings import Finding, Picture, dropped


@pytest.mark.parametrize(
    ("pictures", "traits"),
    [
        ([("sad", "train"), ("sad", "train")], ()),
        ([("sad", "train"), ("fear", "train")], ("contradictory labels",)),
        ([("sad", "train"), ("sad", "test")], ("across splits",)),
        ([("sad", "train"), ("fear", "test")], ("contradictory labels", "across splits")),
    ],
)
def test_a_group_has_the_traits_of_its_labels_and_splits(pictures, traits):
    group = tuple(Picture(index, str(index), *one) for index, one in enumerate(pictures))
    assert Finding("exact duplicates", group, (0,)).traits == traits


def test_kinds_and_traits_choose_what_is_dropped():
    found = [
        ("blank", (), [1]),
        ("exact duplicates", ("across splits",), [2, 3]),
        ("near-duplicates", (), [3, 4]),
    ]
    assert dropped(found) == {1, 2, 3, 4}
    assert dropped(found, ["blank"]) == {1}
    assert dropped(found, ["across splits"]) == {2, 3}
    assert dropped(found, []) == set()
