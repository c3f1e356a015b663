"""Tracking: faces followed from frame to frame, and their smoothed probabilities."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import exp

import numpy as np
from numpy.typing import NDArray

from ferembed.faces import Face
from ferembed.pipeline import Prediction

_Point = tuple[float, float]
MEMORY = 0.25  # seconds: the time constant of a face's speed, averaged and slowing down


class Tracker:
    """Gives each person in a video a number, which nobody else gets.

    >>> tracker = Tracker()
    >>> left, right = Face((10, 10, 50, 50), 1.0), Face((90, 10, 130, 50), 1.0)
    >>> tracker.follow([left, right], seconds=0.0), tracker.follow([right, left], seconds=0.04)
    ((1, 2), (2, 1))

    Each face is expected to move on as before, and is matched with the face that overlaps it most.

    Parameters
    ----------
    overlap : the smallest intersection over union of two boxes of one person
    patience : seconds that a person may be out of sight
    """

    def __init__(self, overlap: float = 0.3, patience: float = 1.0) -> None:
        self.overlap = overlap
        self.patience = patience
        self._tracks: dict[int, _Track] = {}
        self._last = 0
        self._now = -np.inf

    @property
    def active_ids(self) -> frozenset[int]:
        """The numbers of the people who are in sight or may come back."""
        return frozenset(self._tracks)

    def follow(self, faces: Sequence[Face], seconds: float) -> tuple[int, ...]:
        """The number of each face of the next frame that was searched."""
        known = {
            number: track
            for number, track in self._tracks.items()
            if track.seconds == self._now or seconds - track.seconds <= self.patience
        }
        numbers = self._matched(faces, {n: track.box(seconds) for n, track in known.items()})
        for face, number in zip(faces, numbers, strict=True):
            known[number] = (
                known[number].moved(face, seconds) if number in known else _Track(face, seconds)
            )
        self._tracks, self._now = known, seconds
        return numbers

    def extrapolated(self, number: int, seconds: float, size: tuple[int, int]) -> Face | None:
        """The expected face of a person at a time, in a frame of this width and height."""
        track = self._tracks[number]
        face = Face.clipped_to(size, track.box(seconds), track.face.score)
        return face and replace(face, found=track.face.found, detector=track.face.detector)

    def _matched(
        self, faces: Sequence[Face], boxes: Mapping[int, Sequence[float]]
    ) -> tuple[int, ...]:
        matched: dict[int, int] = {}
        if faces and boxes:
            from scipy.optimize import linear_sum_assignment

            shared = _overlaps([face.box for face in faces], list(boxes.values()))
            shared[shared < self.overlap] = 0
            rows, columns = linear_sum_assignment(shared, maximize=True)
            numbers = list(boxes)
            matched = {
                int(i): numbers[j] for i, j in zip(rows, columns, strict=True) if shared[i, j] > 0
            }
        for i in range(len(faces)):
            if i not in matched:
                self._last += 1
                matched[i] = self._last
        return tuple(matched[i] for i in range(len(faces)))


@dataclass(frozen=True)
class _Track:
    """The last position of a face, and its speed in pixels per second."""

    face: Face
    seconds: float
    velocity: _Point = (0.0, 0.0)

    def box(self, seconds: float) -> tuple[float, float, float, float]:
        """Its expected position: it keeps moving, slower the longer it is not seen."""
        reach = MEMORY * (1 - exp(-max(0.0, seconds - self.seconds) / MEMORY))
        across, down = self.velocity[0] * reach, self.velocity[1] * reach
        x1, y1, x2, y2 = self.face.box
        return x1 + across, y1 + down, x2 + across, y2 + down

    def moved(self, face: Face, seconds: float) -> _Track:
        """The same track once the face is seen again."""
        elapsed = seconds - self.seconds
        if elapsed <= 0:
            return _Track(face, seconds, self.velocity)
        weight = 1 - exp(-elapsed / MEMORY)
        here, there = _middle(face), _middle(self.face)
        vx, vy = (
            old + weight * ((new - before) / elapsed - old)
            for old, new, before in zip(self.velocity, here, there, strict=True)
        )
        return _Track(face, seconds, (vx, vy))


def _middle(face: Face) -> _Point:
    x1, y1, x2, y2 = face.box
    return (x1 + x2) / 2, (y1 + y2) / 2


def _overlaps(
    some: Sequence[Sequence[float]], others: Sequence[Sequence[float]]
) -> NDArray[np.float64]:
    """(n, m): the intersection over union of each box with each other box."""
    a, b = np.array(some, float)[:, None], np.array(others, float)[None]
    sides = np.minimum(a[..., 2:], b[..., 2:]) - np.maximum(a[..., :2], b[..., :2])
    shared = np.clip(sides, 0, None).prod(axis=-1)
    areas = [(boxes[..., 2:] - boxes[..., :2]).prod(axis=-1) for boxes in (a, b)]
    return np.asarray(shared / np.maximum(areas[0] + areas[1] - shared, 1e-9))


@dataclass(frozen=True)
class Person(Prediction):
    """A person in a frame: a prediction that is smoothed over time, and a number.

    `raw` has the probabilities of this frame alone. It is {} if the frame was not searched and the
    person is extrapolated from the frames before.
    """

    number: int = 0
    raw: Mapping[str, float] = field(default_factory=dict)

    @property
    def extrapolated(self) -> bool:
        """True if face and probabilities are from an earlier frame."""
        return not self.raw


class People:
    """The people of a video, followed by a tracker, and each one's probabilities over time.

    Parameters
    ----------
    smoothing : the time constant in seconds: so long after a change 63 % of it shows; 0 shows all
    tracker : the one that numbers the faces
    """

    def __init__(self, smoothing: float = 0.5, tracker: Tracker | None = None) -> None:
        if not 0 <= smoothing < float("inf"):
            raise ValueError(f"smoothing is {smoothing!r}; it is a number of seconds from 0.")
        self.smoothing = smoothing
        self.tracker = tracker or Tracker()
        self._people: dict[int, tuple[float, Person]] = {}
        self._here: tuple[int, ...] = ()

    def seen(self, predictions: Sequence[Prediction], seconds: float) -> tuple[Person, ...]:
        """The people in a frame that was searched, in the order of their numbers."""
        numbers = self.tracker.follow([prediction.face for prediction in predictions], seconds)
        people = {}
        for number, prediction in zip(numbers, predictions, strict=True):
            smooth = dict(prediction.probabilities)
            if number in self._people:
                before, person = self._people[number]
                elapsed = max(0.0, seconds - before)
                weight = 1 - exp(-elapsed / self.smoothing) if self.smoothing else 1.0
                smooth = {
                    label: weight * smooth[label] + (1 - weight) * old
                    for label, old in person.probabilities.items()
                }
            best = max(smooth, key=lambda label: smooth[label])
            raw = prediction.probabilities
            people[number] = seconds, Person(prediction.face, best, smooth, number, raw)
        self._here = tuple(sorted(numbers))
        kept = self.tracker.active_ids
        self._people = {n: p for n, p in {**self._people, **people}.items() if n in kept}
        return tuple(self._people[number][1] for number in self._here)

    def extrapolated(self, seconds: float, size: tuple[int, int]) -> tuple[Person, ...]:
        """The people of the last frame that was searched, in one of this width and height."""
        people = []
        for number in self._here:
            face = self.tracker.extrapolated(number, seconds, size)
            if face is not None:
                people.append(replace(self._people[number][1], face=face, raw={}))
        return tuple(people)
