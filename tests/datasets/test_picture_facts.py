import numpy as np
import pytest

from ferembed.datasets.picture_facts import gather_facts, join_facts
from tests.helpers.datasets import encoded, smooth

IMAGES = [
    smooth(1),
    np.full((48, 48), 200, np.uint8),  # blank
    b"no picture",
    smooth(1),
    encoded(np.roll(smooth(1), 1, axis=1)),
    smooth(2),
]


@pytest.mark.parametrize("cut", [0, 1, 3, 6])
def test_looks_of_parts_are_those_of_the_whole(cut):
    def find(image):
        return [] if image.std() < 1 else ["a face"]

    whole = gather_facts(IMAGES, True, find)
    joined = join_facts([gather_facts(part, True, find) for part in (IMAGES[:cut], IMAGES[cut:])])
    assert joined.unreadable == whole.unreadable
    assert list(whole.unreadable) == [2]
    assert joined.faceless == whole.faceless == [1]
    assert joined.pixels == whole.pixels
    for name in ("blank", "sizes", "thumbs", "digests", "groups"):
        assert (getattr(joined, name) == getattr(whole, name)).all(), name


def test_exact_duplicates_share_a_digest_and_near_ones_a_group():
    facts = gather_facts(IMAGES, True, None)
    assert facts.digests.tolist() == [0, 1, 2, 0, 3, 4]
    first, blank, unreadable, exact, near, other = facts.groups
    assert first == exact == near
    assert len({first, blank, unreadable, other}) == 4
    alone = gather_facts(IMAGES, False, None)
    assert (alone.groups == alone.digests).all()
