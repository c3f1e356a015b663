"""Timelines made for tests."""

import numpy as np
import PIL.ImageColor

from ferembed.faces import Face
from ferembed.labels import EXPRESSIONS
from ferembed.media.timeline import Timeline
from ferembed.media.tracking import Person
from ferembed.media.video import Frame

IMAGE = np.zeros((4, 4, 3), np.uint8)


def person(number, label, labels=EXPRESSIONS):
    shares = {name: 0.9 if name == label else 0.1 / (len(labels) - 1) for name in labels}
    return Person(Face((0, 0, 4, 4), 1.0), label, shares, number, shares)


def timeline(*frames, rate=10, labels=EXPRESSIONS):
    """Of frames that are each given as {number: label}."""
    made = Timeline()
    for i, shown in enumerate(frames):
        people = tuple(person(number, label, labels) for number, label in shown.items())
        made.add(Frame(i, i / rate, IMAGE, people))
    return made


def colours(picture, row, at):
    """Of the band and of the middle of the area of a row, at a share of the whole time."""
    column = picture[:, 130 + int(at * 1040)]
    top = 56 + row * 112
    return tuple(column[top + 3]), tuple(column[top + 60])


HAPPY, SAD, NOBODY = (PIL.ImageColor.getrgb(colour) for colour in ("#f0e442", "#0072b2", "#eef0f3"))
