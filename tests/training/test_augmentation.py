from dataclasses import replace

import numpy as np

from ferembed.training import Augmentation

UNCHANGED = Augmentation(
    mirror=False, rotation=0, scale=0, shift=0, contrast=0, brightness=0, erasing=0
)


def test_augmented_faces_are_the_same_for_the_same_seed_and_others_for_another(faces):
    one, two, other = (
        Augmentation().apply(faces, np.random.default_rng(seed)) for seed in (1, 1, 2)
    )
    assert (one == two).all()
    assert (one != other).any()
    assert one.shape == faces.shape
    assert one.dtype == np.uint8


def test_no_augmentation_changes_nothing(faces):
    assert (UNCHANGED.apply(faces, np.random.default_rng(0)) == faces).all()


def test_each_kind_of_augmentation_changes_faces_as_described(faces):
    rng = np.random.default_rng(0)
    mirrored = replace(UNCHANGED, mirror=True).apply(faces, rng)
    same = (mirrored == faces).all(axis=(1, 2))
    flipped = (mirrored == faces[:, :, ::-1]).all(axis=(1, 2))
    assert (same | flipped).all()
    assert 4 < flipped.sum() < 20
    gray = np.full((50, 8, 8), 100, np.uint8)
    brighter = replace(UNCHANGED, brightness=40).apply(gray, rng)
    assert brighter.min() < 80
    assert brighter.max() > 120
    erased = replace(UNCHANGED, erasing=1).apply(faces, rng)
    assert ((erased != faces).mean(axis=(1, 2)) > 0.01).all()
    assert ((erased != faces).mean(axis=(1, 2)) < 0.25).all()
