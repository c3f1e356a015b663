"""Errors of the API as application/problem+json (RFC 9457)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from ferembed.errors import FerembedError

_TITLES = {
    400: "Bad request",
    401: "Wrong or missing key",
    403: "Not allowed",
    404: "Not found",
    405: "Method not allowed",
    408: "The client is too slow",
    413: "Too large",
    415: "Unsupported content type",
    422: "Cannot be used",
    429: "Too many requests",
    500: "Internal error",
    503: "Not available",
}


class Problem(Exception):
    """The refusal of a request: the status, and what to do about it."""

    def __init__(
        self,
        status: int,
        detail: str,
        headers: Mapping[str, str] | None = None,
        **more: Any,
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail
        self.headers = headers
        self.more = more

    def response(self) -> Response:
        title = _TITLES.get(self.status, "Error")
        content = {"type": "about:blank", "title": title, "status": self.status}
        return JSONResponse(
            {**content, "detail": self.detail, **self.more},
            self.status,
            headers=dict(self.headers or {}),
            media_type="application/problem+json",
        )


class ProblemModel(BaseModel):
    """The body of an error, for the OpenAPI document."""

    type: str = "about:blank"
    title: str
    status: int
    detail: str = Field(examples=["party.jpg is empty (0 bytes)."])


def describe_problems(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """The `responses` of a route that can fail with these statuses."""
    schema = {"$ref": "#/components/schemas/ProblemModel"}
    return {
        status: {
            "description": _TITLES[status],
            "content": {"application/problem+json": {"schema": schema}},
        }
        for status in statuses
    }


def add_problem_handlers(app: FastAPI) -> None:
    """Turn every error of the app into a problem; errors of ferembed keep their messages."""

    async def problem(request: Request, error: Exception) -> Response:
        assert isinstance(error, Problem)
        return error.response()

    async def of_library(request: Request, error: Exception) -> Response:
        return Problem(422, str(error)).response()

    async def of_http(request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        return Problem(error.status_code, _sentence(error, request), error.headers).response()

    async def of_hanging_up(request: Request, error: Exception) -> Response:
        return Problem(400, "The connection was closed before the body was complete.").response()

    async def of_validation(request: Request, error: Exception) -> Response:
        assert isinstance(error, RequestValidationError)
        found = [f"{'.'.join(map(str, one['loc'][1:]))}: {one['msg']}" for one in error.errors()]
        return Problem(422, "; ".join(found) + ".").response()

    async def of_bugs(request: Request, error: Exception) -> Response:
        return Problem(
            500, "Internal error. The log of the server contains the traceback."
        ).response()

    app.add_exception_handler(Problem, problem)
    app.add_exception_handler(FerembedError, of_library)
    app.add_exception_handler(HTTPException, of_http)
    app.add_exception_handler(ClientDisconnect, of_hanging_up)
    app.add_exception_handler(RequestValidationError, of_validation)
    app.add_exception_handler(Exception, of_bugs)


def _sentence(error: HTTPException, request: Request) -> str:
    if error.status_code == 404:
        return f"There is nothing at {request.url.path[:200]}. See /openapi.json."
    if error.status_code == 405:
        allowed = (error.headers or {}).get("Allow", "")
        return f"{request.method} is not possible here; allowed: {allowed}."
    return str(error.detail)
