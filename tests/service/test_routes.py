"""The API against a real server: its answers are the library's."""

from __future__ import annotations

import asyncio
import copy
import io

import httpx
import numpy as np
import PIL.Image
import pytest

from ferembed.faces import FACE_RECIPES
from ferembed.images import load_image
from ferembed.labels import EXPRESSIONS
from tests.helpers import clips
from tests.helpers.service import assert_equal, png, with_app


@pytest.fixture(scope="module")
def two_people() -> bytes:
    return png(clips.scene(20, 180, size=(320, 160)))


def test_a_form_of_pictures_gives_the_librarys_predictions(client, pipeline, jpeg, two_people):
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
        ({"prior": "happy=1"}, "The prior lacks angry, disgust"),
        ({"min_face": "-1"}, "min_face: Input should be greater than or equal to 0."),
    ],
)
def test_a_wrong_option_gets_the_librarys_message(client, jpeg, options, detail):
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


def test_a_large_photo_is_read_as_the_library_reads_it(pipeline, portrait):
    """It is decoded at a reduced size, and drawn at its own."""
    file = io.BytesIO()
    PIL.Image.fromarray(load_image(portrait)).resize((2560, 3000)).save(file, "JPEG")

    async def ask(client):
        sent = {"content": file.getvalue(), "headers": {"content-type": "image/jpeg"}}
        return [await client.post(f"/v1/{path}", **sent) for path in ("analyze", "annotate")]

    answer, drawn = asyncio.run(with_app(pipeline, ask))
    (picture,), (prediction,) = answer.json()["pictures"], pipeline.analyze(file.getvalue())
    assert (picture["width"], picture["height"]) == (2560, 3000)
    assert_equal(*picture["faces"], prediction)
    assert PIL.Image.open(io.BytesIO(drawn.content)).size == (2560, 3000)


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
