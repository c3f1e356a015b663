from __future__ import annotations

import asyncio

import httpx

from tests.helpers.service import assert_equal, with_app


def test_an_app_can_be_made_of_any_pipeline(pipeline, jpeg):
    """As those who embed it do."""

    async def ask(client: httpx.AsyncClient) -> dict:
        return (await client.post("/v1/analyze", files={"a": jpeg})).json()

    answer = asyncio.run(with_app(pipeline, ask))
    assert answer["model"] == "mine"
    assert_equal(answer["pictures"][0]["faces"][0], pipeline.analyze(jpeg)[0])
