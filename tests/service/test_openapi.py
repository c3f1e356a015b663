from __future__ import annotations

import json
import re


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
