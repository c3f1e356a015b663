"""Bodies: pictures in forms and alone, and bodies that hold none."""

from __future__ import annotations

import numpy as np
import pytest

from tests.helpers.service import png, png_head, told


@pytest.mark.parametrize(
    ("request_", "status", "detail"),
    [
        ({"files": [("a", b"x")] * 33}, 413, "There are more than 32 pictures."),
        ({"data": {"lang": "es"}, "files": {"a": b"x"}}, 422, "A form may contain only pictures."),
        ({"files": {"a": (None, b"x")}}, 422, "A form may contain only pictures."),
        ({"content": b"x", "headers": {"content-type": "text/plain"}}, 415, "The content type is"),
        ({"content": b"x"}, 415, "The content type is ''"),
        ({"json": {"url": "http://example.org/a.jpg"}}, 415, "The content type is 'application/"),
        ({"content": b"x", "headers": {"content-type": "multipart/form-data"}}, 400, "The form ca"),
        (
            {"content": b"x", "headers": {"content-type": "multipart/form-data; boundary=a"}},
            400,
            "The form cannot be read",
        ),
        ({"content": b"", "headers": {"content-type": "image/png"}}, 422, "picture is empty"),
    ],
)
def test_a_body_that_holds_no_pictures_is_refused(client, request_, status, detail):
    answer = client.post("/v1/analyze", **request_)
    assert told(answer)[0] == status
    assert told(answer)[1].startswith(detail)


def test_several_pictures_to_draw_are_refused(client, jpeg):
    answer = client.post("/v1/annotate", files=[("a", jpeg)] * 2)
    assert told(answer) == (413, "There is more than one picture. Send one in a request.")


def test_a_picture_beyond_the_limit_is_refused_by_its_header(client):
    code, detail = told(client.post("/v1/analyze", files={"a": ("wide.png", png_head(5000, 4000))}))
    assert (code, detail) == (
        422,
        "wide.png has 5000 x 4000 = 20 million pixels; the limit is 4 million. Shrink it, or raise "
        "max_pixels.",
    )


def test_a_large_picture_is_read_without_a_file(server, jpeg):
    """The server may not write a byte; usually a form's parts over 1 MB become files."""
    rng = np.random.default_rng(0)
    noise = rng.integers(0, 256, (1200, 1600, 3), dtype=np.uint8)
    content = png(noise)
    assert 5_000_000 < len(content) < 8_000_000
    with server.client() as client:
        answer = client.post("/v1/analyze", files={"a": content})
    assert answer.status_code == 200
    assert answer.json()["pictures"][0]["width"] == 1600
