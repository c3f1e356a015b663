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
    for options in document["paths"].values():
        for parameter in next(iter(options.values())).get("parameters", ()):
            assert parameter["schema"]["examples"], parameter
    for path, kinds in (
        ("/v1/embed", {"application/json", "application/octet-stream"}),
        ("/v1/annotate", {"image/png"}),
    ):
        assert set(document["paths"][path]["post"]["responses"]["200"]["content"]) == kinds
    body = document["paths"]["/v1/analyze"]["post"]["requestBody"]["content"]
    assert {"multipart/form-data", "image/jpeg", "application/octet-stream"} <= set(body)
