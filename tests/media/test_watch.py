"""The people in videos."""

from itertools import pairwise

import cv2
import pytest

from ferembed.media.watch import watch
from tests.helpers import clips


def test_someone_who_walks_is_one_person(pipeline, clip):
    frames = list(watch(pipeline, clip))
    assert len(frames) == 20
    assert all(frame.searched for frame in frames)
    people = [frame.people[0] for frame in frames if frame.people]
    assert len(people) >= 18
    assert {person.number for person in people} == {1}
    lefts = [person.box[0] for person in people]
    assert lefts[-1] - lefts[0] == pytest.approx(38, abs=8)
    assert people[5].raw.keys() == people[5].probabilities.keys() == {"happy", "sad", "angry"}
    assert people[5].raw != people[5].probabilities


def test_two_people_keep_their_numbers_when_one_leaves_and_comes_back(pipeline, tmp_path):
    frames = [clips.scene(4 + i, 160 - i, size=(264, 120)) for i in range(6)]
    frames += [clips.scene(10, size=(264, 120))] * 6 + [clips.scene(10, 154, size=(264, 120))] * 6
    path = clips.write(tmp_path / "two.mp4", frames, fps=30)
    numbers = [tuple(p.number for p in f.people) for f in watch(pipeline, path)]
    assert set(numbers[:6]) == {(1, 2)}
    assert len(set(numbers[6:12])) == 1
    assert set(numbers[13:]) == {(1, 2)}


def test_between_searches_people_are_extrapolated(pipeline, clip):
    frames = list(watch(pipeline, clip, detect_every=4))
    assert [frame.index for frame in frames if frame.searched] == [0, 4, 8, 12, 16]
    for before, frame in pairwise(frames):
        if not frame.searched:
            assert [p.number for p in frame.people] == [p.number for p in before.people]
            assert all(p.extrapolated and p.raw == {} for p in frame.people)
    searched = [frame for frame in watch(pipeline, clip) if frame.people]
    places = {frame.index: frame.people[0].box[0] for frame in searched}
    for frame in frames[8:]:
        assert frame.people[0].box[0] == pytest.approx(places[frame.index], abs=8)


def test_invalid_settings_are_errors_before_anything_is_read(pipeline, clip):
    for detect_every in (0, 1.5, True):
        with pytest.raises(ValueError, match="detect_every is .*; it is a whole number above 0"):
            watch(pipeline, clip, detect_every=detect_every)
    with pytest.raises(ValueError, match="smoothing is -1"):
        watch(pipeline, clip, smoothing=-1)


class SetClock:
    """A clock that stands still but for sleep and work."""

    now = 1000.0

    def monotonic(self):
        return self.now

    def sleep(self, seconds):
        assert seconds > 0
        self.now += seconds


def test_in_real_time_a_slow_reader_skips_frames(blind, clip):
    clock, seen = SetClock(), []
    for frame in watch(blind, clip, realtime=True, clock=clock):
        seen.append((frame.index, round(clock.now - 1000, 3)))
        clock.now += 0.22  # of work, while 4.4 frames go by
    assert [index for index, _ in seen] == [0, 4, 8, 13, 17]
    assert all(0 <= now - index / 20 <= 0.051 for index, now in seen)


def test_in_real_time_a_fast_reader_waits(blind, clip):
    clock, seen = SetClock(), []
    for frame in watch(blind, clip, realtime=True, clock=clock):
        seen.append((frame.index, round(clock.now - 1000, 3)))
        clock.now += 0.01
    assert seen == [(i, pytest.approx(i / 20)) for i in range(20)]


def test_however_slow_a_frame_a_second_is_seen(blind, tmp_path):
    path = clips.write(tmp_path / "slow.mp4", [clips.scene(4)] * 30, fps=5)
    clock, seen = SetClock(), []
    for frame in watch(blind, path, realtime=True, clock=clock):
        seen.append(frame.index)
        clock.now += 60
    assert seen == [0, 5, 10, 15, 20, 25]


def test_frames_of_another_size_go_on(pipeline, tmp_path):
    small, large = clips.scene(10), clips.scene(30, size=(240, 160), head=clips.person(140))
    parts = [cv2.imencode(".jpg", f[:, :, ::-1])[1].tobytes() for f in [small] * 4 + [large] * 4]
    path = tmp_path / "sizes.mjpeg"
    path.write_bytes(b"".join(parts))
    frames = list(watch(pipeline, path))
    assert len(frames) == 8
    assert all(len(frame.people) == 1 for frame in frames)
