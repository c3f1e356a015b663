"""The pictures in the body of a request. They stay in memory: nothing here writes a file."""

from __future__ import annotations

import re

from fastapi import Request
from python_multipart.exceptions import FormParserError
from starlette.datastructures import UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser

from ferembed.service.problems import Problem
from ferembed.service.reading import Upload

_LONGEST_NAME = 200


class _InMemory(MultiPartParser):
    spool_max_size = 1 << 62  # Starlette would write larger files to the disk


async def uploads_of(request: Request, most: int) -> list[Upload]:
    """The pictures of a form, or the body as one picture; a Problem if there is no picture."""
    content_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if content_type == "multipart/form-data":
        uploads = await _of_form(request, most)
    elif content_type.startswith("image/") or content_type == "application/octet-stream":
        body = b"".join([chunk async for chunk in request.stream()])
        uploads = [Upload("picture", body)]
    else:
        raise Problem(
            415,
            f"The content type is {content_type[:100]!r}. Send pictures as multipart/form-data, or "
            "one as image/jpeg, image/png or application/octet-stream.",
        )
    if not uploads:
        raise Problem(422, "There is no picture in the form. Add one: curl -F picture=@photo.jpg")
    return uploads


async def _of_form(request: Request, most: int) -> list[Upload]:
    parser = _InMemory(request.headers, request.stream(), max_files=most, max_fields=0)
    try:
        form = await parser.parse()
    except (MultiPartException, FormParserError) as error:  # the second by older Starlettes
        message = str(error)
        if "Too many files" in message:
            there = f"There are more than {most} pictures. Send {most} or fewer in a request."
            if most == 1:
                there = "There is more than one picture. Send one in a request."
            raise Problem(413, there) from None
        if "Too many fields" in message:
            raise Problem(
                422, "A form may contain only pictures. Put options into the URL: ?lang=es"
            ) from None
        raise Problem(400, f"The form cannot be read: {message.rstrip('.')}.") from None
    try:
        return [
            Upload(_name(part.filename, number), await part.read())
            for number, (_, part) in enumerate(form.multi_items(), 1)
            if isinstance(part, UploadFile)
        ]
    finally:
        await form.close()


def _name(given: str | None, number: int) -> str:
    """The client's name of a picture, for messages; it is never used as a path."""
    shown = re.sub(r"[\x00-\x1f\x7f\ud800-\udfff]", "?", given or "")[:_LONGEST_NAME]
    return shown or f"picture {number}"
