"""The API: create_app makes an ASGI app of a pipeline."""

# FastAPI evaluates annotations where it cannot see local names: no annotations from __future__ here

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from importlib.resources import files

from fastapi import APIRouter, FastAPI
from fastapi.responses import PlainTextResponse, Response

from ferembed import __version__
from ferembed.pipeline import Pipeline
from ferembed.service import openapi
from ferembed.service.guard import Guard, Keys
from ferembed.service.metrics import Metrics
from ferembed.service.problems import add_problem_handlers, describe_problems
from ferembed.service.readiness import Readiness
from ferembed.service.reading import Reader
from ferembed.service.routes import Service, api
from ferembed.service.settings import Settings
from ferembed.service.stream import add_stream

_TYPES = {".html": "text/html", ".js": "text/javascript", ".css": "text/css"}


def create_app(
    pipeline: Pipeline | Mapping[str, Pipeline], settings: Settings | None = None
) -> FastAPI:
    """The service as an ASGI app, for uvicorn or to be mounted in another app.

    Several pipelines come with the names by which requests choose between them; the first is used
    where a request names none.
    """
    settings = settings or Settings()
    pipelines = pipeline if isinstance(pipeline, Mapping) else {settings.model[0]: pipeline}
    metrics, keys = Metrics(), Keys(settings.api_keys())
    reader = Reader(pipelines, settings, metrics)
    ready = Readiness()

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[dict[str, float]]:
        warming = asyncio.create_task(ready.after(reader.warm_up))
        yield {"deadline": settings.deadline}  # the server's protocol looks there
        await warming
        await asyncio.to_thread(reader.close)

    app = FastAPI(
        title="ferembed",
        version=__version__,
        description=openapi.DESCRIPTION,
        docs_url=None,  # their pages load scripts from elsewhere
        redoc_url=None,
        lifespan=lifespan,
        separate_input_output_schemas=False,
    )
    add_problem_handlers(app)
    app.state.service = Service(reader, settings, ready)
    app.include_router(api, responses=describe_problems(400, 401, 422))
    app.include_router(_health(metrics, ready))
    app.include_router(_page())
    add_stream(app, reader, settings, metrics, keys)
    app.add_middleware(Guard, settings=settings, metrics=metrics, keys=keys, admit=reader.admit)
    if settings.allow_origin:  # outside of the guard: its refusals can be read by these sites, too
        from starlette.middleware.cors import CORSMiddleware

        app.add_middleware(
            CORSMiddleware,
            allow_origins=settings.allow_origin,
            allow_methods=["GET", "POST"],
            allow_headers=["Authorization", "Content-Type", "X-API-Key"],
            expose_headers=["Ferembed-Shape", "Retry-After"],
        )
    openapi.complete_document(app, bool(settings.api_key_file))
    return app


def _health(metrics: Metrics, ready: Readiness) -> APIRouter:
    health = APIRouter()

    @health.get("/healthz")
    async def healthz() -> dict[str, str]:
        """Answers while the process is alive."""
        return {"status": "alive"}

    @health.get("/readyz", responses=describe_problems(503))
    async def readyz() -> dict[str, str]:
        """Answers 200 once the models are loaded and have run."""
        ready.check()
        return {"status": "ready"}

    @health.get("/metrics", response_class=PlainTextResponse, responses=describe_problems(401))
    async def metrics_text() -> Response:
        """Counts and times for Prometheus."""
        return Response(metrics.text(), media_type="text/plain; version=0.0.4")

    return health


def _page() -> APIRouter:
    page = APIRouter(include_in_schema=False)

    def add(path: str, content: bytes, media_type: str) -> None:
        @page.get(path)
        async def serve() -> Response:
            return Response(content, media_type=f"{media_type}; charset=utf-8")

    for file in (files("ferembed.service") / "page").iterdir():
        path = "/" if file.name == "index.html" else f"/page/{file.name}"
        add(path, file.read_bytes(), _TYPES[f".{file.name.rpartition('.')[2]}"])
    return page
