"""Timeline: the expressions of each person over a whole video, gathered frame by frame."""

from __future__ import annotations

from collections import Counter

import numpy as np
from numpy.typing import NDArray

from ferembed.media.video import Frame
from ferembed.translations import Translator

_BINS = 2048  # a longer video has longer bins, not more of them
_LONGEST_HOLD = 1.0  # seconds that a face counts as seen after its last frame


class Timeline:
    """The expressions of each person in a video over time.

    >>> from ferembed.faces import Face
    >>> from ferembed.media.tracking import Person
    >>> timeline = Timeline()
    >>> for index in range(5):
    ...     person = Person(Face((0, 0, 9, 9), 1.0), "happy", {"happy": 0.9, "sad": 0.1}, number=1)
    ...     timeline.add(Frame(index, index / 2, np.zeros((9, 9, 3), np.uint8), (person,)))
    >>> print(timeline.text("es"))
    Persona 1, 0.0 a 2.5 s: Alegría 100 %
    """

    def __init__(self) -> None:
        self.frames = 0
        self.seconds = 0.0  # to the end of the last frame
        self.labels: list[str] = []
        self._shown: dict[int, Counter[str]] = {}  # frames of each label, by person
        self._times: dict[int, tuple[float, float]] = {}
        self._bins: dict[int, dict[int, NDArray[np.float64]]] = {}  # sums, and the number of frames
        self._bin = 1 / 32  # seconds
        self._last: Frame | None = None
        self._interval = _LONGEST_HOLD  # the shortest between two frames

    @property
    def people(self) -> tuple[int, ...]:
        """The numbers of the people who were seen."""
        return tuple(sorted(self._shown))

    def add(self, frame: Frame) -> None:
        """Add the next frame; the people of the one before stay until then."""
        if self._last is not None:
            self._hold(self._last, frame.seconds)
            self._interval = min(self._interval, frame.seconds - self._last.seconds)
        self._last = frame
        self.frames += 1
        self.seconds = frame.seconds + (self._interval if self.frames > 1 else 0)
        for person in frame.people:
            self.labels = self.labels or list(person.probabilities)
            self._shown.setdefault(person.number, Counter())[person.label] += 1
            start, _ = self._times.get(person.number, (frame.seconds, 0.0))
            self._times[person.number] = start, self.seconds

    def _hold(self, frame: Frame, until: float) -> None:
        until = min(until, frame.seconds + _LONGEST_HOLD)
        while until / self._bin >= _BINS:
            self._bin *= 2
            for number, bins in self._bins.items():
                halved: dict[int, NDArray[np.float64]] = {}
                for position, sums in bins.items():
                    halved[position // 2] = halved.get(position // 2, 0) + sums
                self._bins[number] = halved
        first = int(frame.seconds / self._bin)
        for person in frame.people:
            bins = self._bins.setdefault(person.number, {})
            shares = [person.probabilities.get(label, 0.0) for label in self.labels]
            for position in range(first, max(first + 1, int(np.ceil(until / self._bin)))):
                bins[position] = bins.get(position, 0) + np.array([*shares, 1.0])

    def text(self, language: str = "en") -> str:
        """A line for each person: start, end, and the share of frames with each label."""
        tr = Translator(language)
        lines = []
        for number in self.people:
            start, end = self._times[number]
            shown = self._shown[number]
            shares = ", ".join(
                f"{tr.label(label)} {count / shown.total():.0%}".replace("%", " %")
                for label, count in shown.most_common()
                if count >= 0.005 * shown.total()
            )
            person = tr("person", number=number)
            lines.append(tr("person line", person=person, start=start, end=end, shares=shares))
        return "\n".join(lines) or tr("video no face")

    def most_seen(self, count: int) -> tuple[int, ...]:
        """The numbers of the people who were seen in most frames."""
        often = sorted(self.people, key=lambda number: -self._shown[number].total())
        return tuple(sorted(often[:count]))

    def shares(self, number: int, columns: int) -> NDArray[np.float64]:
        """(labels, columns): mean probabilities of a person over time, 0 where not in sight."""
        if self._last is not None:
            self._hold(self._last, self.seconds)
            self._last = None
        bins = self._bins.get(number, {})
        edges = np.arange(columns + 1) / columns * self.seconds / self._bin
        found = np.zeros((len(self.labels), columns))
        for x in range(columns):
            first = int(edges[x])
            inside = [bins[i] for i in range(first, max(first + 1, int(edges[x + 1]))) if i in bins]
            if inside:
                sums = np.sum(inside, axis=0)
                found[:, x] = sums[:-1] / sums[-1]
        return found
