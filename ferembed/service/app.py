"""The API: create_app makes an ASGI app of a pipeline."""

# FastAPI evaluates annotations where it cannot see local names: no annotations from __future__ here

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from importlib.resources import files
from typing import Annotated, Any

import numpy as np
from fastapi import APIRouter, Depends, FastAPI, Query, Request
from fastapi.responses import JSONResponse, PlainTextResponse, Response

from ferembed import __version__
from ferembed.errors import FerembedError
from ferembed.faces import FaceRecipe
from ferembed.labels import display_name, reading_order
from ferembed.pipeline import Pipeline
from ferembed.service import answers, openapi
from ferembed.service.guard import Guard, Keys
from ferembed.service.metrics import Metrics
from ferembed.service.problems import Problem, add_problem_handlers, describe_problems
from ferembed.service.reading import How, Reader, Result
from ferembed.service.settings import Settings
from ferembed.service.stream import add_stream
from ferembed.service.uploads import uploads_of
from ferembed.translations import TEXTS

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
    app.include_router(_api(reader, settings, ready), responses=describe_problems(400, 401, 422))
    app.include_router(_health(metrics, ready))
    app.include_router(_page())
    add_stream(app, reader, settings, metrics, keys)
    if settings.allow_origin:
        from starlette.middleware.cors import CORSMiddleware

        app.add_middleware(
            CORSMiddleware,
            allow_origins=settings.allow_origin,
            allow_methods=["GET", "POST"],
            allow_headers=["Authorization", "Content-Type", "X-API-Key"],
        )
    app.add_middleware(Guard, settings=settings, metrics=metrics, keys=keys)
    openapi.complete_document(app, bool(settings.api_key_file))
    return app


class Readiness:
    """The state of the models: loading, loaded, or failed with a reason."""

    def __init__(self) -> None:
        self._problem = Problem(
            503, "The model is being loaded. Try again in 1 s.", {"Retry-After": "1"}
        )
        self._ready = False

    async def after(self, warm_up: Callable[[], None]) -> None:
        try:
            await asyncio.to_thread(warm_up)
            self._ready = True
        except FerembedError as error:
            logging.getLogger("uvicorn.error").error("The model cannot be used: %s", error)
            self._problem = Problem(503, f"The model cannot be used: {error}")

    def check(self) -> None:
        """Raise a Problem unless the models are loaded."""
        if not self._ready:
            raise self._problem


def _api(reader: Reader, settings: Settings, ready: Readiness) -> APIRouter:
    api = APIRouter(prefix="/v1")
    models = list(reader.pipelines)
    model_name = Annotated[str, Query(description=f"One of {', '.join(models)}")]

    def predicting(
        model: model_name = "",
        prior: Annotated[
            str,
            Query(
                description="The expected share of each class: uniform, none (as in the training "
                "data), or happy=0.5,sad=0.5 with all classes; by default as the model was saved"
            ),
        ] = "",
        prior_strength: Annotated[
            float, Query(ge=0, le=1, description="Strength of the change to this prior")
        ] = 1.0,
    ) -> How:
        """The options of a request for predictions."""
        ready.check()
        return reader.how(model, prior=prior, prior_strength=prior_strength)

    def finding(
        how: Annotated[How, Depends(predicting)],
        detector: Annotated[
            str, Query(description="Of /v1/models; by default the model's own")
        ] = "",
        min_face: Annotated[
            float | None,
            Query(
                ge=0,
                le=10_000,
                description="Leave out smaller faces: below 1 a share of the picture's shorter "
                "side, from 1 on pixels; by default as the model does",
            ),
        ] = None,
    ) -> How:
        """The options of a request, those for detection included."""
        recipe = FaceRecipe.resolve(detector or how.pipeline.detector)
        if min_face is not None:
            recipe = replace(recipe, min_face=min_face)
        return replace(how, recipe=recipe)

    def language(
        lang: Annotated[str, Query(description=f"Of the names: {', '.join(TEXTS)}")] = "en",
    ) -> str:
        display_name("", lang)
        return lang

    async def read(request: Request, how: How, most: int | None = None) -> list[Result]:
        reader.admit(1)  # or the body need not be read
        uploads = await uploads_of(request, most or settings.max_pictures)
        reader.admit(len(uploads))
        results = await reader.read(uploads, how)
        if all(result.error for result in results):
            raise _unusable(results)
        return results

    refusals = describe_problems(408, 413, 415, 429, 503)
    pictures: dict[str, Any] = {"responses": refusals, "openapi_extra": openapi.PICTURES}

    @api.post("/analyze", response_model=openapi.Analysis, **pictures)
    async def analyze(
        request: Request,
        how: Annotated[How, Depends(finding)],
        lang: Annotated[str, Depends(language)],
    ) -> Response:
        """Detect the faces in pictures and predict their expressions."""
        results = await read(request, how)
        entries = [answers.entry(result, lang) for result in results]
        return JSONResponse({"model": how.model, "pictures": entries})

    @api.post("/classify", response_model=openapi.Classification, **pictures)
    async def classify(
        request: Request,
        how: Annotated[How, Depends(predicting)],
        lang: Annotated[str, Depends(language)],
    ) -> Response:
        """Predict the expression of each picture, which is a face already."""
        results = await read(request, how)
        entries = [
            {"picture": result.name, "error": result.error}
            if result.error
            else {"picture": result.name, **answers.shown(result.predictions[0], lang)}
            for result in results
        ]
        return JSONResponse({"model": how.model, "pictures": entries})

    @api.post("/embed", response_model=openapi.Vectors, **pictures)
    async def embed(request: Request, model: model_name = "") -> Response:
        """Return the vector of each picture, which is a face already.

        With `Accept: application/octet-stream` the response is rows of float32, little-endian, and
        the header Ferembed-Shape holds their number and length; every picture must be readable.
        """
        ready.check()
        how = reader.how(model, kind="vectors")
        results = await read(request, how)
        if request.headers.get("accept") != "application/octet-stream":
            entries = [
                {"picture": result.name, "error": result.error}
                if result.vector is None
                else {"picture": result.name, "vector": result.vector.tolist()}
                for result in results
            ]
            return JSONResponse({"model": how.model, "pictures": entries})
        vectors = [result.vector for result in results if result.vector is not None]
        if failed := [result for result in results if result.error]:
            raise _unusable(failed)
        rows = np.stack(vectors).astype("<f4")
        return Response(
            rows.tobytes(),
            media_type="application/octet-stream",
            headers={"Ferembed-Shape": ", ".join(map(str, rows.shape))},
        )

    @api.post("/annotate", responses=refusals, openapi_extra=openapi.DRAWN)
    async def annotate(
        request: Request,
        how: Annotated[How, Depends(finding)],
        lang: Annotated[str, Depends(language)],
    ) -> Response:
        """Return one picture as a PNG with the predictions drawn on it."""
        (result,) = await read(request, replace(how, keep_image=True), most=1)
        return Response(
            await reader.run(lambda: answers.drawn(result, lang)), media_type="image/png"
        )

    @api.get("/models", response_model=openapi.Models)
    async def list_models() -> Response:
        """The models of this server, and the detectors that can be chosen."""
        entries = [
            {
                "model": name,
                "backbone": pipeline.backbone,
                "detector": FaceRecipe.resolve(pipeline.detector).detector,
                "labels": [str(label) for label in pipeline.classes_],
            }
            for name, pipeline in reader.pipelines.items()
        ]
        names = ("max_bytes", "max_pixels", "max_pictures", "max_faces")
        limits = {name: getattr(settings, name) for name in names}
        detectors = await reader.run(answers.usable_detectors)
        return JSONResponse({"models": entries, "detectors": detectors, "limits": limits})

    @api.get("/labels", response_model=openapi.Labels)
    async def list_labels(
        lang: Annotated[str, Depends(language)], model: model_name = ""
    ) -> Response:
        """List the labels of a model and their names."""
        how = reader.how(model)
        labels = reading_order([str(label) for label in how.pipeline.classes_])
        names = [{"label": label, "name": display_name(label, lang)} for label in labels]
        return JSONResponse({"model": how.model, "labels": names})

    return api


def _unusable(results: Sequence[Result]) -> Problem:
    """A Problem with the error of each of these pictures."""
    return Problem(422, results[0].error, pictures=[answers.entry(result) for result in results])


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
