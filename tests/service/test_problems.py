from __future__ import annotations


def test_when_all_pictures_are_bad_the_answer_is_422(client):
    answer = client.post("/v1/analyze", files={"a": ("text.jpg", b"hello")})
    assert answer.status_code == 422
    assert answer.headers["content-type"] == "application/problem+json"
    problem = answer.json()
    assert (problem["status"], problem["title"]) == (422, "Cannot be used")
    assert problem["detail"].startswith("text.jpg is not a picture in a known format")
    assert problem["pictures"] == [{"picture": "text.jpg", "error": problem["detail"]}]


def test_an_unknown_path_is_a_problem_too(client):
    answer = client.get("/v1/nothing")
    assert answer.status_code == 404
    assert answer.json()["detail"] == "There is nothing at /v1/nothing. See /openapi.json."
    answer = client.get("/v1/analyze")
    assert answer.status_code == 405
    assert answer.json()["detail"] == "GET is not possible here; allowed: POST."
