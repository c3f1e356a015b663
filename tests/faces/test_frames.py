"""The search of frames that follow each other, on a real portrait that moves."""

import numpy as np
import pytest

from ferembed.faces import DETECTORS, Face, FaceRecipe
from ferembed.faces.frames import MOST, WHOLE_EVERY, FrameSearch
from ferembed.images import load_image


@pytest.fixture
def searched(monkeypatch):
    """The sizes of the pictures that the detector is given."""
    sizes = []
    detector = DETECTORS["mtcnn"]()

    def counting(photo, min_face=0):
        sizes.append(photo.shape[:2])
        return detector(photo, min_face)

    monkeypatch.setitem(DETECTORS._things, "mtcnn", lambda: counting)
    return sizes


def frame(portrait, places, size=(720, 1280)):
    """A gray frame with a portrait at each place."""
    import cv2

    small = cv2.resize(load_image(portrait), (300, 351))
    canvas = np.full((*size, 3), 90, np.uint8)
    for x, y in places:
        canvas[y : y + small.shape[0], x : x + 300] = small
    return canvas


def sides(face):
    x1, y1, x2, y2 = face.box
    return x2 - x1, y2 - y1


def test_a_moving_face_is_found_as_by_a_search_of_each_frame(portrait, searched):
    search, recipe = FrameSearch(FaceRecipe("mtcnn", align="eyes")), FaceRecipe("mtcnn")
    for step in range(2 * WHOLE_EVERY):
        picture = frame(portrait, [(100 + 12 * step, 150 + 3 * step)])
        searched.clear()
        [(face, crop)] = search(picture)
        assert searched == [picture.shape[:2]] if step % WHOLE_EVERY == 0 else len(searched) == 1
        assert step % WHOLE_EVERY == 0 or max(searched[0]) <= 256
        [known] = recipe.find(picture)
        assert face.overlap(known) > 0.7, step
        assert np.ravel(face.landmarks) == pytest.approx(np.ravel(known.landmarks), abs=8)
        assert (
            crop.shape[0] == crop.shape[1] == max(np.diff(np.reshape(face.box, (2, 2)), axis=0)[0])
        )


def test_a_face_that_is_gone_or_has_jumped_costs_a_search_of_the_whole_frame(portrait, searched):
    search = FrameSearch(FaceRecipe("mtcnn"))
    assert len(search(frame(portrait, [(100, 100)]))) == 1
    [(face, _)] = search(frame(portrait, [(800, 200)]))
    assert face.box[0] > 800
    assert searched[-1] == (720, 1280)
    assert search(frame(portrait, [])) == []
    assert search(frame(portrait, [])) == []
    assert searched[-1] == (720, 1280)


def test_a_new_face_is_found_in_the_next_frame_that_is_searched_as_a_whole(portrait):
    search = FrameSearch(FaceRecipe("mtcnn"))
    search(frame(portrait, [(100, 100)]))
    counts = [len(search(frame(portrait, [(100, 100), (700, 150)]))) for _ in range(WHOLE_EVERY)]
    assert counts == [1] * (WHOLE_EVERY - 1) + [2]
    assert len(search(frame(portrait, [(100, 100), (700, 150)]))) == 2


def test_many_faces_and_recipes_of_whole_frames_are_searched_whole(portrait, searched, monkeypatch):
    picture = frame(portrait, [(100, 100)])
    search = FrameSearch(FaceRecipe("mtcnn", width=640))
    sizes = [(search(picture), searched[-1])[1] for _ in range(3)]
    assert sizes == [(360, 640)] * 3
    search = FrameSearch(FaceRecipe("mtcnn"))
    search(picture)
    search._last = (Face((100, 100, 300, 300), 1.0),) * (MOST + 1)
    search(picture)
    assert searched[-1] == (720, 1280)
