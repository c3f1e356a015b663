"""Who is who from frame to frame, and what each one shows over time."""

import dataclasses
from math import exp

import numpy as np
import pytest

from ferembed.faces import Face
from ferembed.media.tracking import People, Person, Tracker
from ferembed.pipeline import Prediction

RATE = 25


def face(x, y=50, side=60):
    return Face((round(x), round(y), round(x) + side, round(y) + side), 1.0)


def followed(frames, tracker=None, rate=RATE):
    tracker = tracker or Tracker()
    return [tracker.follow(faces, i / rate) for i, faces in enumerate(frames)]


def test_a_face_that_moves_keeps_its_number():
    assert set(followed([[face(10 + 6 * i)] for i in range(30)])) == {(1,)}


def test_the_order_in_which_faces_are_found_does_not_matter():
    here, there = face(10), face(200)
    frames = [[here, there] if i % 2 else [there, here] for i in range(8)]
    assert followed(frames) == [(1, 2), (2, 1)] * 4


def test_faces_that_jitter_keep_their_numbers():
    rng = np.random.default_rng(0)
    frames = []
    for _ in range(60):
        dx, dy, more = rng.integers(-5, 6, 3)
        frames.append([face(40 + dx, 60 + dy, 60 + more), face(120 + dy, 60 + more, 60 + dx)])
    assert set(followed(frames)) == {(1, 2)}


@pytest.mark.parametrize("apart", [0, 15, 30])
def test_faces_that_cross_keep_their_numbers(apart):
    tracker, numbers = Tracker(), set()
    for i in range(60):
        one, other = face(4 * i), face(242 - 4 * i, 50 + apart)
        seen = sorted([one, other], key=lambda face: face.box)
        number = dict(zip(seen, tracker.follow(seen, i / RATE), strict=True))
        numbers.add((number[one], number[other]))
    assert numbers == {(1, 2)}


def test_a_face_that_is_covered_while_two_cross_comes_back_as_itself():
    frames = []
    for i in range(60):
        left, right = face(4 * i), face(240 - 4 * i, 65)
        frames.append([left] if abs(left.box[0] - right.box[0]) < 20 else [left, right])
    numbers = followed(frames)
    assert {len(frame) for frame in numbers} == {1, 2}
    assert {frame for frame in numbers if len(frame) == 2} == {(1, 2)}


@pytest.mark.parametrize("missing", [1, 5, 20])
def test_a_short_gap_is_survived(missing):
    still = [[face(100)]] * 10 + [[]] * missing + [[face(103)]] * 3
    moving = [[face(100 + 3 * i)] if i < 15 or i > 20 else [] for i in range(30)]
    assert {n for frame in followed(still) for n in frame} == {1}
    assert {n for frame in followed(moving) for n in frame} == {1}


def test_after_a_long_gap_it_is_someone_new():
    frames = [[face(100)]] * 5 + [[]] * (RATE + 1) + [[face(100)]]
    assert followed(frames)[-1] == (2,)
    patient = Tracker(patience=2)
    assert followed(frames, patient)[-1] == (1,)


def test_however_slow_the_frames_come_no_frame_is_a_gap():
    assert set(followed([[face(100 + i)] for i in range(5)], rate=0.2)) == {(1,)}


def test_numbers_of_those_who_left_are_not_given_again():
    frames = [
        [face(10), face(200)],
        [face(10)],
        *[[]] * (2 * RATE),
        [face(10)],
        [face(10), face(200)],
    ]
    numbers = followed(frames)
    assert (numbers[0], numbers[1], numbers[-2], numbers[-1]) == ((1, 2), (1,), (3,), (3, 4))


def test_someone_who_enters_leaves_the_others_as_they_are():
    frames = [[face(100)], [face(200), face(100)], [face(0), face(100), face(200)]]
    assert followed(frames) == [(1,), (2, 1), (3, 1, 2)]


def test_a_distant_face_is_a_new_person():
    assert followed([[face(0)], [face(45)]]) == [(1,), (2,)]
    assert followed([[face(0)], [face(45)]], Tracker(overlap=0.1)) == [(1,), (1,)]
    assert followed([[], [face(5)], []]) == [(), (1,), ()]


def prediction(happy, x=100):
    shares = {"happy": happy, "sad": 1 - happy}
    return Prediction(face(x), max(shares, key=shares.get), shares)


def test_probabilities_follow_a_change_with_the_time_constant():
    people = People(smoothing=0.5)
    people.seen([prediction(0.0)], 0.0)
    for i in range(1, 51):
        (person,) = people.seen([prediction(1.0)], i / 100)
    assert person.probabilities["happy"] == pytest.approx(1 - exp(-1))
    assert sum(person.probabilities.values()) == pytest.approx(1)
    assert person.raw == {"happy": 1.0, "sad": 0.0}


def test_smoothing_does_not_depend_on_the_frames_that_are_skipped():
    def after(step):
        people = People(smoothing=0.3)
        people.seen([prediction(0.1)], 0.0)
        for i in range(step, 61, step):
            (person,) = people.seen([prediction(0.9)], i / 60)
        return person.probabilities["happy"]

    assert after(1) == pytest.approx(after(12))
    assert after(1) == pytest.approx(after(60))


def test_one_odd_frame_does_not_change_the_label():
    people = People(smoothing=0.5)
    shares = [0.8] * 10 + [0.1] + [0.8] * 3
    seen = [people.seen([prediction(p)], i / RATE)[0] for i, p in enumerate(shares)]
    assert {person.label for person in seen} == {"happy"}
    assert seen[10].raw["sad"] == 0.9
    raw = People(smoothing=0)
    seen = [raw.seen([prediction(p)], i / RATE)[0] for i, p in enumerate(shares)]
    assert [person.label for person in seen].count("sad") == 1
    assert seen[10].probabilities == seen[10].raw


def test_each_person_is_smoothed_alone():
    people = People()
    for i in range(10):
        pair = [prediction(0.9, 10), prediction(0.2, 200)]
        here = people.seen(pair if i % 2 else pair[::-1], i / RATE)
    assert [person.number for person in here] == [1, 2]
    assert sorted(p.probabilities["happy"] for p in here) == pytest.approx([0.2, 0.9])


def test_between_searched_frames_boxes_are_extrapolated():
    people = People()
    for i in range(11):
        (seen,) = people.seen([prediction(0.9, 100 + 5 * i)], i / RATE)
    (carried,) = people.extrapolated(11 / RATE, (640, 480))
    assert isinstance(carried, Person)
    assert not seen.extrapolated
    assert carried.extrapolated
    assert (carried.number, carried.label) == (1, "happy")
    assert carried.probabilities == seen.probabilities
    assert carried.raw == {}
    assert carried.box[0] == pytest.approx(155, abs=2)
    (later,) = people.extrapolated(10, (640, 480))
    assert later.box[0] < 185  # nobody sees it: it comes to rest
    (next_seen,) = people.seen([prediction(0.9, 170)], 14 / RATE)
    assert next_seen.number == 1


def test_people_extrapolated_out_of_the_picture_are_gone():
    people = People()
    for i in range(10):
        people.seen([prediction(0.9, 560 + 8 * i)], i / RATE)
    (edge,) = people.extrapolated(0.4, (640, 480))
    assert edge.box[2] == 640
    assert people.extrapolated(0.5, (630, 480)) == ()
    people.seen([], 1.0)
    assert people.extrapolated(1.04, (640, 480)) == ()


def test_a_person_is_frozen():
    (person,) = People().seen([prediction(0.9)], 0)
    with pytest.raises(dataclasses.FrozenInstanceError):
        person.number = 2


@pytest.mark.parametrize("smoothing", [-1, float("nan"), float("inf")])
def test_an_invalid_time_constant_is_an_error(smoothing):
    with pytest.raises(ValueError, match="smoothing is .*; it is a number of seconds from 0"):
        People(smoothing)
