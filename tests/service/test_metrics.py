from __future__ import annotations

import re


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
