"""The routes under /v1: pictures in, predictions, vectors or a drawing out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Any

import numpy as np
from fastapi import APIRouter, Depends, Query, Request
from fastapi.responses import JSONResponse, Response

from ferembed.faces import FaceRecipe
from ferembed.labels import display_name
from ferembed.service import openapi, responses
from ferembed.service.problems import Problem, describe_problems
from ferembed.service.readiness import Readiness
from ferembed.service.reading import Reader, ReadOptions, Result
from ferembed.service.settings import Settings
from ferembed.service.uploads import uploads_of
from ferembed.translations import TEXTS

api = APIRouter(prefix="/v1")


@dataclass(frozen=True)
class Service:
    """The parts of an app that its routes use; it is `app.state.service`."""

    reader: Reader
    settings: Settings
    ready: Readiness

    async def read(
        self, request: Request, options: ReadOptions, most: int | None = None
    ) -> list[Result]:
        """Read the pictures of a request; a Problem if none can be read."""
        uploads = await uploads_of(request, most or self.settings.max_pictures)
        self.reader.admit(len(uploads))
        results = await self.reader.read(uploads, options)
        if all(result.error for result in results):
            raise _unusable(results)
        return results


async def service_of(request: Request) -> Service:
    service = request.app.state.service
    assert isinstance(service, Service)
    return service


def language_of(
    lang: Annotated[
        str, Query(description=f"Of the names: {', '.join(TEXTS)}", examples=["es"])
    ] = "en",
) -> str:
    display_name("", lang)
    return lang


OfService = Annotated[Service, Depends(service_of)]
Language = Annotated[str, Depends(language_of)]
ModelName = Annotated[
    str, Query(description="Of /v1/models; by default the first", examples=["default"])
]


def predicting(
    service: OfService,
    model: ModelName = "",
    prior: Annotated[
        str,
        Query(
            description="The expected share of each class: uniform, none (as in the training "
            "data), or happy=0.5,sad=0.5 with all classes; by default as the model was saved",
            examples=["uniform"],
        ),
    ] = "",
    prior_strength: Annotated[
        float,
        Query(ge=0, le=1, description="Strength of the change to this prior", examples=[0.5]),
    ] = 1.0,
) -> ReadOptions:
    """The options of a request for predictions."""
    service.ready.check()
    return service.reader.read_options(model, prior=prior, prior_strength=prior_strength)


def finding(
    options: Annotated[ReadOptions, Depends(predicting)],
    detector: Annotated[
        str, Query(description="Of /v1/models; by default the model's own", examples=["haar"])
    ] = "",
    min_face: Annotated[
        float | None,
        Query(
            ge=0,
            le=10_000,
            description="Leave out smaller faces: below 1 a share of the picture's shorter "
            "side, from 1 on pixels; by default as the model does",
            examples=[40],
        ),
    ] = None,
) -> ReadOptions:
    """The options of a request, those for detection included."""
    return options.with_faces(detector, min_face)


_REFUSALS = describe_problems(408, 413, 415, 429, 503)
_PICTURES: dict[str, Any] = {"responses": _REFUSALS, "openapi_extra": openapi.PICTURES}


@api.post("/analyze", response_model=openapi.Analysis, **_PICTURES)
async def analyze(
    request: Request,
    options: Annotated[ReadOptions, Depends(finding)],
    service: OfService,
    lang: Language,
) -> Response:
    """Detect the faces in pictures and predict their expressions."""
    results = await service.read(request, options)
    entries = [responses.entry(result, lang) for result in results]
    return JSONResponse({"model": options.model, "pictures": entries})


@api.post("/classify", response_model=openapi.Classification, **_PICTURES)
async def classify(
    request: Request,
    options: Annotated[ReadOptions, Depends(predicting)],
    service: OfService,
    lang: Language,
) -> Response:
    """Predict the expression of each picture, which is a face already."""
    results = await service.read(request, options)
    entries = [
        {"picture": result.name, "error": result.error}
        if result.error
        else {"picture": result.name, **responses.shown(result.predictions[0], lang)}
        for result in results
    ]
    return JSONResponse({"model": options.model, "pictures": entries})


@api.post(
    "/embed",
    response_model=openapi.Vectors,
    responses=_REFUSALS,
    openapi_extra=openapi.VECTORS,
)
async def embed(request: Request, service: OfService, model: ModelName = "") -> Response:
    """Return the vector of each picture, which is a face already.

    With `Accept: application/octet-stream` the response is rows of float32, little-endian, and
    the header Ferembed-Shape holds their number and length; every picture must be readable.
    """
    service.ready.check()
    options = service.reader.read_options(model, kind="vectors")
    results = await service.read(request, options)
    if request.headers.get("accept") != "application/octet-stream":
        entries = [
            {"picture": result.name, "error": result.error}
            if result.vector is None
            else {"picture": result.name, "vector": result.vector.tolist()}
            for result in results
        ]
        return JSONResponse({"model": options.model, "pictures": entries})
    vectors = [result.vector for result in results if result.vector is not None]
    if failed := [result for result in results if result.error]:
        raise _unusable(failed)
    rows = np.stack(vectors).astype("<f4")
    return Response(
        rows.tobytes(),
        media_type="application/octet-stream",
        headers={"Ferembed-Shape": ", ".join(map(str, rows.shape))},
    )


@api.post(
    "/annotate",
    response_class=Response,
    responses=_REFUSALS,
    openapi_extra=openapi.DRAWN,
)
async def annotate(
    request: Request,
    options: Annotated[ReadOptions, Depends(finding)],
    service: OfService,
    lang: Language,
) -> Response:
    """Return one picture as a PNG with the predictions drawn on it."""
    (result,) = await service.read(request, replace(options, keep_image=True), most=1)
    return Response(
        await service.reader.run(lambda: responses.drawn(result, lang)), media_type="image/png"
    )


@api.get("/models", response_model=openapi.Models)
async def list_models(service: OfService) -> Response:
    """The models of this server, and the detectors that can be chosen."""
    entries = [
        {
            "model": name,
            "backbone": pipeline.backbone,
            "detector": FaceRecipe.resolve(pipeline.detector).detector,
            "labels": [str(label) for label in pipeline.classes_],
        }
        for name, pipeline in service.reader.pipelines.items()
    ]
    names = ("max_bytes", "max_pixels", "max_pictures", "max_faces")
    limits = {name: getattr(service.settings, name) for name in names}
    detectors = await service.reader.run(responses.usable_detectors)
    return JSONResponse({"models": entries, "detectors": detectors, "limits": limits})


@api.get("/labels", response_model=openapi.Labels)
async def list_labels(service: OfService, lang: Language, model: ModelName = "") -> Response:
    """List the labels of a model and their names."""
    options = service.reader.read_options(model)
    labels = options.pipeline.labels
    names = [{"label": label, "name": display_name(label, lang)} for label in labels]
    return JSONResponse({"model": options.model, "labels": names})


def _unusable(results: Sequence[Result]) -> Problem:
    """A Problem with the error of each of these pictures."""
    return Problem(422, results[0].error, pictures=[responses.entry(result) for result in results])
