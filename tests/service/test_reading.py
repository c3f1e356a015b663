"""Many clients at once: answers are never mixed, and a full queue refuses."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import httpx
import numpy as np

from tests.helpers import clips
from tests.helpers.service import KEY, assert_equal, png, told


def test_responses_of_many_clients_are_never_mixed(server, pipeline):
    rng = np.random.default_rng(3)
    heads = [clips.person(90)[:, :: rng.choice([-1, 1])] for _ in range(16)]
    tints = rng.uniform(0.4, 1.0, (16, 3))
    contents = [
        png(clips.scene(10 + 4 * i, size=(240, 140), head=np.uint8(head * tint)))
        for i, (head, tint) in enumerate(zip(heads, tints, strict=True))
    ]
    expected = [pipeline.analyze(content) for content in contents]

    def ask(number: int) -> None:
        with server.client() as client:
            for i in (number, (number + 5) % 16):
                answer = client.post("/v1/analyze", files={"a": contents[i]})
                faces = answer.json()["pictures"][0]["faces"]
                assert len(faces) == len(expected[i])
                for face, prediction in zip(faces, expected[i], strict=True):
                    assert_equal(face, prediction)

    with ThreadPoolExecutor(16) as pool:
        list(pool.map(ask, range(16)))
    with server.client() as client:
        text = client.get("/metrics").text
    sums = dict(line.split() for line in text.splitlines() if line.startswith("ferembed_batch_f"))
    mean = float(sums["ferembed_batch_faces_sum"]) / float(sums["ferembed_batch_faces_count"])
    assert mean > 1  # faces of several requests were run together


def test_a_full_queue_answers_429_at_once_and_says_when_to_try_again(small, pipeline, jpeg):
    expected = pipeline.analyze(jpeg)[0]

    def ask(_: int) -> httpx.Response:
        with small.client(headers={"X-API-Key": KEY}) as client:
            return client.post("/v1/analyze", files={"a": jpeg})

    with ThreadPoolExecutor(12) as pool:
        answers = list(pool.map(ask, range(12)))
    accepted = [answer for answer in answers if answer.status_code == 200]
    refused = [answer for answer in answers if answer.status_code == 429]
    assert len(accepted) + len(refused) == 12
    assert accepted
    assert refused
    for answer in accepted:
        assert_equal(answer.json()["pictures"][0]["faces"][0], expected)
    seconds = refused[0].headers["retry-after"]
    assert int(seconds) >= 1
    assert told(refused[0])[1] == (
        f"The server is busy: its queue is full. Try again in {seconds} s."
    )
