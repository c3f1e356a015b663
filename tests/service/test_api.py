"""The API against a real server: its answers are the library's."""

from __future__ import annotations

import asyncio
import copy
import io
import json
import re

import cv2
import httpx
import numpy as np
import PIL.Image
import pytest

from ferembed.faces import FACE_RECIPES
from ferembed.images import load_image
from ferembed.labels import EXPRESSIONS
from ferembed.pipeline import Pipeline
from ferembed.service import Settings, create_app
from tests.helpers import clips
from tests.service.conftest import running


def png(pixels: np.ndarray) -> bytes:
    return cv2.imencode(".png", np.ascontiguousarray(pixels[..., ::-1]))[1].tobytes()


@pytest.fixture(scope="module")
def two_people() -> bytes:
    return png(clips.scene(20, 180, size=(320, 160)))


def assert_equal(face: dict, prediction) -> None:
    assert face["box"] == list(prediction.box)
    assert face["label"] == prediction.label
    assert face["probabilities"] == pytest.approx(dict(prediction.probabilities), abs=2e-6)


def test_a_form_of_pictures_is_answered_as_the_library_answers(client, pipeline, jpeg, two_people):
    form = [("picture", ("one.jpg", jpeg)), ("picture", ("two.png", two_people))]
    answer = client.post("/v1/analyze", files=form).json()
    assert answer["model"] == "default"
    assert [entry["picture"] for entry in answer["pictures"]] == ["one.jpg", "two.png"]
    for entry, content, count in zip(answer["pictures"], (jpeg, two_people), (1, 2), strict=True):
        predictions = pipeline.analyze(content)
        assert len(predictions) == len(entry["faces"]) == count
        for face, prediction in zip(entry["faces"], predictions, strict=True):
            assert_equal(face, prediction)
            assert face["score"] == pytest.approx(prediction.face.score, abs=1e-4)
            assert np.allclose(face["landmarks"], prediction.face.landmarks, atol=0.06)
    assert (answer["pictures"][1]["width"], answer["pictures"][1]["height"]) == (320, 160)


def test_a_raw_body_is_one_picture(client, jpeg):
    answers = [
        client.post("/v1/analyze", content=jpeg, headers={"content-type": kind}).json()
        for kind in ("image/jpeg", "application/octet-stream")
    ]
    assert answers[0] == answers[1]
    assert len(answers[0]["pictures"][0]["faces"]) == 1


def test_a_bad_picture_costs_the_others_nothing(client, jpeg):
    form = [("a", ("empty.jpg", b"")), ("b", ("me.jpg", jpeg)), ("c", ("text.jpg", b"hello"))]
    answer = client.post("/v1/analyze", files=form)
    assert answer.status_code == 200
    first, second, third = answer.json()["pictures"]
    assert first == {"picture": "empty.jpg", "error": "empty.jpg is empty (0 bytes)."}
    assert len(second["faces"]) == 1
    assert third["error"] == (
        "text.jpg is not a picture in a known format (it starts like text: 'hello')."
    )


def test_when_all_pictures_are_bad_the_answer_is_422(client):
    answer = client.post("/v1/analyze", files={"a": ("text.jpg", b"hello")})
    assert answer.status_code == 422
    assert answer.headers["content-type"] == "application/problem+json"
    problem = answer.json()
    assert (problem["status"], problem["title"]) == (422, "Cannot be used")
    assert problem["detail"].startswith("text.jpg is not a picture in a known format")
    assert problem["pictures"] == [{"picture": "text.jpg", "error": problem["detail"]}]


def test_options_choose_detector_language_and_size(client, jpeg, two_people):
    def analyze(**options):
        answer = client.post("/v1/analyze", params=options, files={"a": two_people})
        return answer.json()["pictures"][0]["faces"]

    whole = analyze(detector="none")
    assert [face["box"] for face in whole] == [[0, 0, 320, 160]]
    boxes = [list(face.box) for face, _ in FACE_RECIPES["haar"](load_image(two_people))]
    assert [face["box"] for face in analyze(detector="haar")] == boxes
    assert {face["name"] for face in analyze(lang="es")} <= {
        "Enfado", "Asco", "Miedo", "Alegría", "Tristeza", "Sorpresa", "Neutral",
    }  # fmt: skip
    assert len(analyze(min_face=20)) == 2
    assert analyze(min_face=300) == []


@pytest.mark.parametrize(
    ("options", "detail"),
    [
        ({"detector": "mtcn"}, "No detector is called 'mtcn'. Did you mean 'mtcnn'?"),
        ({"lang": "fr"}, "No language is called 'fr'."),
        ({"model": "x"}, "No model of this server is called 'x'. Known: default."),
        ({"prior": "happy"}, "'happy' is not uniform, none, or one share for each class"),
        ({"prior": "happy=1,happy=2"}, "'happy=1,happy=2' is not uniform, none, or one share"),
        ({"prior": "happy=1"}, "The prior has or lacks angry, disgust"),
        ({"min_face": "-1"}, "min_face: Input should be greater than or equal to 0."),
    ],
)
def test_a_wrong_option_is_told_as_the_library_tells_it(client, jpeg, options, detail):
    answer = client.post("/v1/analyze", params=options, files={"a": jpeg})
    assert answer.status_code == 422
    assert answer.json()["detail"].startswith(detail)


def test_a_prior_is_taken_as_the_library_takes_it(pipeline, jpeg):
    knowing = copy.copy(pipeline).set_params(prior=None)
    knowing.training_prior_ = dict(zip(EXPRESSIONS, (4, 1, 4, 7, 5, 3, 5), strict=True))
    shares = dict.fromkeys(EXPRESSIONS, 1.0) | {"sad": 5.0}
    given = ("uniform", ",".join(f"{label}={share}" for label, share in shares.items()))

    async def ask(client: httpx.AsyncClient) -> list[dict]:
        answers = []
        for prior in (*given, ""):
            options = {"prior": prior, "prior_strength": "0.5"}
            answers.append(await client.post("/v1/analyze", params=options, files={"a": jpeg}))
        return [answer.json()["pictures"][0]["faces"][0] for answer in answers]

    faces = asyncio.run(with_app(knowing, ask))
    for face, prior in zip(faces, ("uniform", shares, None), strict=True):
        expected = copy.copy(knowing).set_params(prior=prior, prior_strength=0.5)
        assert_equal(face, expected.analyze(jpeg)[0])
    assert len({face["probabilities"]["sad"] for face in faces}) == 3


async def with_app(pipeline, ask):
    """What a function of a client gives that talks to an app of this pipeline."""
    app = create_app(pipeline, Settings(model=("mine",)))
    transport = httpx.ASGITransport(app)
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=transport, base_url="http://localhost") as client,
    ):
        while (await client.get("/readyz")).status_code == 503:
            await asyncio.sleep(0.01)
        return await ask(client)


def test_classify_takes_pictures_for_faces(client, pipeline, jpeg, two_people):
    form = [("a", jpeg), ("b", two_people), ("c", ("bad", b"x"))]
    answer = client.post("/v1/classify", files=form).json()
    rows = pipeline.predict_proba([jpeg, two_people])
    for entry, row in zip(answer["pictures"][:2], rows, strict=True):
        expected = dict(zip(pipeline.classes_.tolist(), row, strict=True))
        assert entry["probabilities"] == pytest.approx(expected, abs=2e-6)
        assert entry["label"] == max(expected, key=expected.get)
    assert answer["pictures"][2]["error"].startswith("bad is not a picture")


def test_vectors_come_as_json_or_as_floats(client, pipeline, jpeg, two_people):
    expected = pipeline.embedder.transform([jpeg, two_people])
    form = [("a", jpeg), ("b", two_people)]
    answer = client.post("/v1/embed", files=form).json()
    vectors = [entry["vector"] for entry in answer["pictures"]]
    assert np.allclose(vectors, expected, atol=1e-5)
    raw = client.post("/v1/embed", files=form, headers={"accept": "application/octet-stream"})
    assert raw.headers["ferembed-shape"] == ", ".join(map(str, expected.shape))
    rows = np.frombuffer(raw.content, "<f4").reshape(expected.shape)
    assert np.allclose(rows, expected, atol=1e-5)
    form.append(("c", ("bad", b"x")))
    raw = client.post("/v1/embed", files=form, headers={"accept": "application/octet-stream"})
    assert raw.status_code == 422  # rows of which nobody knows whose they are


def test_annotate_gives_the_picture_drawn(client, pipeline, jpeg):
    answer = client.post("/v1/annotate", content=jpeg, headers={"content-type": "image/jpeg"})
    assert answer.headers["content-type"] == "image/png"
    drawn = np.asarray(PIL.Image.open(io.BytesIO(answer.content)))
    original = load_image(jpeg)
    x1, y1, _, _ = pipeline.analyze(jpeg)[0].box
    assert drawn.shape == original.shape
    assert not np.array_equal(drawn[y1, x1], original[y1, x1])
    assert np.array_equal(drawn[-1, -1], original[-1, -1])


def test_models_and_labels_are_listed(client):
    answer = client.get("/v1/models").json()
    (model,) = answer["models"]
    assert (model["model"], model["backbone"]) == ("default", "fer-mobilenet")
    assert {"haar", "mtcnn", "none"} <= set(answer["detectors"])
    assert answer["limits"]["max_pixels"] == 4_000_000
    labels = client.get("/v1/labels", params={"lang": "es"}).json()["labels"]
    assert [entry["label"] for entry in labels] == [*EXPRESSIONS]
    assert labels[3] == {"label": "happy", "name": "Alegría"}


def test_health_and_metrics_are_there(client, jpeg):
    assert client.get("/healthz").json() == {"status": "alive"}
    assert client.get("/readyz").json() == {"status": "ready"}

    def count(name: str) -> float:
        found = re.search(rf"^{re.escape(name)} (\S+)$", client.get("/metrics").text, re.M)
        return float(found[1]) if found else 0.0

    name = 'ferembed_requests_total{path="/v1/analyze",status="200"}'
    before, read = count(name), count('ferembed_pictures_total{outcome="read"}')
    client.post("/v1/analyze", files=[("a", jpeg), ("b", jpeg)])
    assert count(name) == before + 1
    assert count('ferembed_pictures_total{outcome="read"}') == read + 2
    assert count("ferembed_queue_pictures") == 0
    assert count("ferembed_batch_faces_count") > 0


def test_the_openapi_document_has_every_route_and_examples(client):
    document = client.get("/openapi.json").json()
    assert {"/v1/analyze", "/v1/classify", "/v1/embed", "/v1/annotate"} <= set(document["paths"])
    schemas = document["components"]["schemas"]
    used = set(re.findall(r'"#/components/schemas/(\w+)"', json.dumps(document)))
    assert used <= schemas.keys()
    face = schemas["FaceModel"]["properties"]
    assert face["label"]["examples"] == ["happy"]
    body = document["paths"]["/v1/analyze"]["post"]["requestBody"]["content"]
    assert {"multipart/form-data", "image/jpeg", "application/octet-stream"} <= set(body)


def test_what_is_not_there_is_a_problem_too(client):
    answer = client.get("/v1/nothing")
    assert answer.status_code == 404
    assert answer.json()["detail"] == "There is nothing at /v1/nothing. See /openapi.json."
    answer = client.get("/v1/analyze")
    assert answer.status_code == 405
    assert answer.json()["detail"] == "GET is not possible here; allowed: POST."


def test_answers_carry_the_headers_of_a_careful_server(client):
    for path in ("/", "/v1/models", "/v1/nothing"):
        headers = client.get(path).headers
        assert headers["content-security-policy"].startswith("default-src 'none'; script-src 'sel")
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["cache-control"] == "no-store"
        assert "access-control-allow-origin" not in headers
        assert "server" not in headers


@pytest.mark.slow
def test_several_models_are_served_and_chosen(tmp_path, jpeg):
    with running(tmp_path / "log", "--model", "fast", "--model", "default") as server:
        with server.client() as client:
            answers = {
                name: client.post("/v1/analyze", params={"model": name}, files={"a": jpeg}).json()
                for name in ("", "fast", "default")
            }
        assert answers[""] == answers["fast"] != answers["default"]
        for name in ("fast", "default"):
            (prediction,) = Pipeline.load(name, store="none").analyze(jpeg)
            assert_equal(answers[name]["pictures"][0]["faces"][0], prediction)


def test_an_app_can_be_made_of_any_pipeline(pipeline, jpeg):
    """As those who embed it do."""

    async def ask(client: httpx.AsyncClient) -> dict:
        return (await client.post("/v1/analyze", files={"a": jpeg})).json()

    answer = asyncio.run(with_app(pipeline, ask))
    assert answer["model"] == "mine"
    assert_equal(answer["pictures"][0]["faces"][0], pipeline.analyze(jpeg)[0])
