"""The bodies and responses of the OpenAPI document, with examples."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI
from pydantic import BaseModel, Field

from ferembed.service.problems import ProblemModel

DESCRIPTION = """Reads facial expressions in pictures.

Pictures are held in memory while they are read: they are not written, logged or kept. A label says
how a face looks to people who labelled such pictures. It does not say what somebody feels.
"""


class FaceModel(BaseModel):
    box: list[int] = Field(description="x1, y1, x2, y2 in pixels", examples=[[165, 66, 342, 302]])
    score: float = Field(description="confidence of the detector", examples=[0.9998])
    found: bool = Field(
        description="false if no face was detected and the whole picture is classified",
        examples=[True],
    )
    detector: str = Field(description="the detector that found it", examples=["mtcnn"])
    landmarks: list[list[float]] | None = Field(
        description="eyes, nose, corners of the mouth", examples=[[[213.4, 158.9], [292.2, 155.7]]]
    )
    label: str = Field(examples=["happy"])
    name: str = Field(description="the label in the language asked for", examples=["Alegría"])
    probabilities: dict[str, float] = Field(examples=[{"happy": 0.91, "neutral": 0.09}])


class PictureModel(BaseModel):
    """A picture that was read, or one that could not be and has an error."""

    picture: str = Field(description="its name in the form", examples=["party.jpg"])
    width: int | None = Field(None, examples=[512])
    height: int | None = Field(None, examples=[600])
    faces: list[FaceModel] | None = None
    faces_left_out: int | None = Field(None, description="beyond the limit", examples=[0])
    error: str | None = Field(None, examples=["party.jpg is empty (0 bytes)."])


class Analysis(BaseModel):
    model: str = Field(examples=["default"])
    pictures: list[PictureModel]


class FaceClass(BaseModel):
    picture: str = Field(examples=["face.png"])
    label: str | None = Field(None, examples=["happy"])
    name: str | None = Field(None, examples=["Happy"])
    probabilities: dict[str, float] | None = None
    error: str | None = None


class Classification(BaseModel):
    model: str = Field(examples=["default"])
    pictures: list[FaceClass]


class FaceVector(BaseModel):
    picture: str = Field(examples=["face.png"])
    vector: list[float] | None = Field(None, examples=[[0.1, 0.7]])
    error: str | None = None


class Vectors(BaseModel):
    model: str = Field(examples=["default"])
    pictures: list[FaceVector]


class ModelEntry(BaseModel):
    model: str = Field(examples=["default"])
    backbone: str | list[str] = Field(examples=["fer-mobilenet"])
    detector: str = Field(examples=["mtcnn"])
    labels: list[str] = Field(examples=[["angry", "happy", "neutral"]])


class Limits(BaseModel):
    max_bytes: int
    max_pixels: int
    max_pictures: int
    max_faces: int


class Models(BaseModel):
    models: list[ModelEntry]
    detectors: list[str] = Field(examples=[["mtcnn", "haar", "none"]])
    limits: Limits


class LabelName(BaseModel):
    label: str = Field(examples=["happy"])
    name: str = Field(examples=["Alegría"])


class Labels(BaseModel):
    model: str = Field(examples=["default"])
    labels: list[LabelName]


_BINARY = {"schema": {"type": "string", "format": "binary"}}
PICTURES: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "required": ["picture"],
                    "properties": {
                        "picture": {
                            "type": "array",
                            "items": {"type": "string", "format": "binary"},
                            "description": "one or many pictures, each a part with a file name",
                        }
                    },
                }
            },
            "image/jpeg": _BINARY,
            "image/png": _BINARY,
            "application/octet-stream": _BINARY,
        },
    }
}

VECTORS: dict[str, Any] = {
    **PICTURES,
    "responses": {"200": {"content": {"application/octet-stream": _BINARY}}},
}
DRAWN: dict[str, Any] = {
    **PICTURES,
    "responses": {"200": {"description": "The drawn picture", "content": {"image/png": _BINARY}}},
}


def complete_document(app: FastAPI, needs_key: bool) -> None:
    """Add the schema of problems and, if keys are needed, the security scheme."""
    make = app.openapi

    def openapi() -> dict[str, Any]:
        document = make()
        components = document.setdefault("components", {})
        components.setdefault("schemas", {})["ProblemModel"] = ProblemModel.model_json_schema()
        if needs_key:
            components["securitySchemes"] = {"key": {"type": "http", "scheme": "bearer"}}
            document["security"] = [{"key": []}]
        return document

    app.openapi = openapi  # type: ignore[method-assign]
