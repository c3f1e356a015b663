"""The live stream against a real server: people are followed, old frames are dropped."""

from __future__ import annotations

import json
import time
from contextlib import ExitStack

import cv2
import numpy as np
import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect

from ferembed.faces import FaceRecipe
from ferembed.faces.frames import FrameSearch
from ferembed.images import load_image
from ferembed.media.tracking import People
from tests.helpers import clips
from tests.helpers.service import KEY, ask, open_stream, refusal, say_and_hear


def frame(*places: int) -> bytes:
    pixels = clips.scene(*places, size=(320, 240))[..., ::-1]
    return cv2.imencode(".jpg", np.ascontiguousarray(pixels))[1].tobytes()


def frame_by_frame(pipeline):
    """A function from the next frame to its predictions, as the library makes them of a video."""
    search = FrameSearch(FaceRecipe.resolve(pipeline.detector))

    def analyze(content):
        found = search(load_image(content))
        return pipeline.read([crop for _, crop in found], [face for face, _ in found])

    return analyze


def test_people_are_followed_and_smoothed_as_the_library_does(server, pipeline):
    contents = [frame(20, 180), frame(26, 174), frame(32, 168)]
    with open_stream(server, lang="es") as socket:
        assert json.loads(socket.recv(timeout=60))["ready"]
        answers = [ask(socket, content) for content in contents]
    people, analyze = People(), frame_by_frame(pipeline)
    for answer, content in zip(answers, contents, strict=True):
        expected = people.seen(analyze(content), answer["seconds"])
        assert [face["number"] for face in answer["faces"]] == [1, 2]
        for face, person in zip(answer["faces"], expected, strict=True):
            assert face["box"] == list(person.box)
            assert face["label"] == person.label
            # The server knows the seconds to more digits than it tells.
            assert face["probabilities"] == pytest.approx(dict(person.probabilities), abs=0.01)
            assert face["raw"] == pytest.approx(dict(person.raw), abs=2e-6)
    assert [answer["frame"] for answer in answers] == [1, 2, 3]
    assert answers[-1]["dropped"] == 0
    assert (answers[0]["width"], answers[0]["height"]) == (320, 240)


def test_people_are_extrapolated_between_searched_frames(server, pipeline):
    contents = [frame(20 + 6 * i) for i in range(5)]
    with open_stream(server, every=2) as socket:
        socket.recv(timeout=60)
        answers = [ask(socket, content) for content in contents]
    assert [answer["searched"] for answer in answers] == [True, False, True, False, True]
    people, analyze = People(), frame_by_frame(pipeline)
    for answer, content in zip(answers, contents, strict=True):
        if answer["searched"]:
            expected = people.seen(analyze(content), answer["seconds"])
        else:
            expected = people.extrapolated(answer["seconds"], (320, 240))
            assert answer["faces"][0]["raw"] == {}
        for face, person in zip(answer["faces"], expected, strict=True):
            assert face["number"] == person.number
            assert np.abs(np.subtract(face["box"], person.box)).max() <= 1


def test_the_newest_frame_is_read_and_skipped_ones_are_counted(server):
    count = 40
    with open_stream(server, smoothing=0) as socket:
        socket.recv(timeout=60)
        for i in range(count):
            socket.send(frame(3 * i))
        answers = []
        while not answers or answers[-1]["frame"] < count:
            answers.append(json.loads(socket.recv(timeout=60)))
    numbers = [answer["frame"] for answer in answers]
    assert numbers == sorted(set(numbers))
    assert answers[-1]["dropped"] == count - len(answers) > 0


def test_each_connection_has_people_of_its_own(server, pipeline):
    with open_stream(server) as one, open_stream(server) as other:
        sockets = {one: People(), other: People()}
        for socket in sockets:
            socket.recv(timeout=60)
        for socket, places in ((one, (20, 180)), (other, (180,)), (one, (20,)), (other, (180,))):
            answer = ask(socket, content := frame(*places))
            expected = sockets[socket].seen(pipeline.analyze(content), answer["seconds"])
            numbers = [person.number for person in expected]
            assert [face["number"] for face in answer["faces"]] == numbers


def test_a_bad_frame_is_reported_and_the_next_one_is_read(server):
    with open_stream(server) as socket:
        socket.recv(timeout=60)
        assert ask(socket, b"nothing")["error"].startswith("frame 1 is not a picture")
        assert len(ask(socket, frame(20))["faces"]) == 1
        assert ask(socket, frame())["faces"] == []


def test_options_can_be_changed_as_it_runs(server):
    with open_stream(server) as socket:
        socket.recv(timeout=60)
        assert len(ask(socket, frame(20))["faces"]) == 1
        socket.send(json.dumps({"detector": "none", "lang": "es"}))
        assert json.loads(socket.recv(timeout=60))["ready"]
        assert ask(socket, frame(20))["faces"][0]["box"] == [0, 0, 320, 240]


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"detector": "x"}, "No detector is called 'x'."),
        ({"model": "x"}, "No model of this server is called 'x'."),
        ({"lang": "x"}, "No language is called 'x'."),
        ({"path": "/etc/passwd"}, "The options cannot be read: path: Extra inputs"),
        ({"smoothing": -1}, "The options cannot be read: smoothing: Input should be"),
    ],
)
def test_wrong_options_end_the_stream(server, options, error):
    code, told = refusal(server, **options)
    assert code == 4400
    assert told.startswith(error)


def test_a_message_that_is_no_json_ends_the_stream(server):
    assert refusal(server, "[")[0] == 4400
    assert refusal(server, frame(20))[0] == 4400


def test_a_page_of_another_site_is_refused(server):
    url = f"ws://127.0.0.1:{server.port}/v1/stream"
    refused = ({"origin": "https://evil.example"}, {"additional_headers": {"Host": "evil.example"}})
    for options in refused:  # the second has two hosts
        with pytest.raises(InvalidStatus, match="403"):
            connect(url, **options).__enter__()
    with connect(url, origin=server.url):
        pass


def test_a_frame_that_is_too_large_ends_the_stream(server):
    with open_stream(server) as socket:
        socket.recv(timeout=60)
        with pytest.raises(ConnectionClosed):
            say_and_hear(socket, bytes(8_000_001))
    with open_stream(server) as socket:
        assert json.loads(socket.recv(timeout=60))["ready"]


def test_there_are_so_many_streams_and_no_more(server):
    time.sleep(0.5)  # the server notices that others have gone
    with ExitStack() as stack:
        for _ in range(8):
            socket = stack.enter_context(open_stream(server))
            assert json.loads(socket.recv(timeout=60))["ready"]
        with connect(f"ws://127.0.0.1:{server.port}/v1/stream") as socket:
            assert json.loads(socket.recv(timeout=60)) == {
                "error": "The server has reached its limit of live streams (--max-streams).",
                "code": 4429,
            }
    time.sleep(0.5)
    with open_stream(server) as socket:
        assert json.loads(socket.recv(timeout=60))["ready"]


def test_a_stream_needs_the_key_too(small):
    assert refusal(small) == (4401, "The key is wrong or missing.")
    assert refusal(small, key="wrong")[0] == 4401
    with open_stream(small, key=KEY) as stream:
        assert "ready" in stream.recv(timeout=60)
