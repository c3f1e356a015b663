import pytest

from ferembed.faces import Face

FACE = Face((10, 20, 30, 40), 0.9, ((15.0, 25.0), (25.0, 25.0)), detector="haar")


def test_a_box_is_clipped_to_the_photo():
    assert Face.clipped_to((100, 50), (-3.2, 9.6, 120, 60), 0.5).box == (0, 10, 100, 50)
    assert Face.clipped_to((100, 50), (100, 10, 120, 60), 0.5) is None
    assert Face.clipped_to((100, 50), (-9, 10, 0.4, 60), 0.5) is None


@pytest.mark.parametrize(
    ("box", "of_both", "of_smaller"),
    [
        ((10, 20, 30, 40), 1, 1),
        ((20, 20, 40, 40), 1 / 3, 1 / 2),
        ((10, 20, 20, 30), 1 / 4, 1),
        ((30, 20, 50, 40), 0, 0),
        ((90, 90, 95, 95), 0, 0),
    ],
)
def test_overlaps_of_boxes(box, of_both, of_smaller):
    other = Face(box, 1.0)
    for first, second in ((FACE, other), (other, FACE)):
        assert first.overlap(second) == pytest.approx(of_both)
        assert first.overlap_of_smaller(second) == pytest.approx(of_smaller)


def test_a_face_of_a_part_is_shifted_into_the_photo():
    moved = FACE.shifted(100, 200)
    assert moved.box == (110, 220, 130, 240)
    assert moved.landmarks == ((115.0, 225.0), (125.0, 225.0))
    assert (moved.score, moved.detector) == (0.9, "haar")
    assert Face((0, 0, 1, 1), 1.0).shifted(1, 1).landmarks is None


def test_a_face_is_scaled_with_its_photo_and_stays_inside():
    double = FACE.scaled((40, 50), (80, 100))
    assert double.box == (20, 40, 60, 80)
    assert double.landmarks == ((30.0, 50.0), (50.0, 50.0))
    assert FACE.scaled((30, 40), (30, 40)) is FACE
    # The sides of a photo are rounded, and the whole of it stays the whole.
    assert Face((0, 0, 201, 151), 1.0).scaled((201, 151), (801, 603)).box == (0, 0, 801, 603)
