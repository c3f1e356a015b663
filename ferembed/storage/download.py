"""Download of a file over HTTP, resumed after an interruption."""

from __future__ import annotations

import hashlib
import urllib.error
import urllib.request
from collections.abc import Iterator
from http.client import HTTPException, HTTPResponse
from pathlib import Path

from ferembed._progress import Progress
from ferembed.errors import WeightsError

_CHUNK = 1 << 18
_TIMEOUT = 60.0  # seconds without a byte


def download(url: str, path: Path, size: int | None, progress: Progress) -> Path:
    """The path of the complete download beside `path`, for the caller to check and rename.

    Downloaded bytes are kept in a `.part` file named after the ETag of the server. A later call
    resumes there and never joins parts of two versions. Two processes that download at the same
    time write the same bytes to the same positions.
    """
    with _open(url) as whole:
        total = whole.length
        if size is not None and total not in (None, size):
            raise WeightsError(
                f"{url} has {total:,} bytes, expected {size:,}: the file has been replaced. "
                "Nothing was downloaded."
            )
        version = _etag(whole)
        tag = hashlib.sha256(f"{version or url} {total}".encode()).hexdigest()[:8]
        part = path.with_name(f"{path.name}.{tag}.part")
        have = part.stat().st_size if part.exists() else 0
        if total is None or have > total:
            part.unlink(missing_ok=True)
            have = 0
        if not have:
            _write(whole, part, 0, total, progress)
    if have and have != total:
        with _open(url, have) as rest:
            if _etag(rest) not in ("", version):
                raise WeightsError(f"{url} changed during the download. Start again.")
            # A server without support for ranges sends the whole file again.
            ranged = rest.headers.get("Content-Range", "").startswith(f"bytes {have}-")
            _write(rest, part, have if ranged else 0, total, progress)
    return part


def _open(url: str, start: int = 0) -> HTTPResponse:
    headers = {"User-Agent": "ferembed"} | ({"Range": f"bytes={start}-"} if start else {})
    try:
        response: HTTPResponse = urllib.request.urlopen(  # noqa: S310  (addresses of the registry)
            urllib.request.Request(url, headers=headers),  # noqa: S310
            timeout=_TIMEOUT,
        )
    except urllib.error.HTTPError as error:
        error.close()
        raise WeightsError(f"{url} cannot be downloaded: {error.code} {error.reason}.") from error
    except (OSError, HTTPException) as error:
        reason = getattr(error, "reason", error)
        reason = getattr(reason, "strerror", None) or reason or type(error).__name__
        raise WeightsError(f"{url} cannot be reached: {reason}.") from error
    return response


def _etag(response: HTTPResponse) -> str:
    """The ETag of the file, or its date of change; "" if the server sends neither."""
    return response.headers.get("ETag") or response.headers.get("Last-Modified") or ""


def _write(
    response: HTTPResponse, part: Path, done: int, total: int | None, progress: Progress
) -> None:
    try:
        part.parent.mkdir(parents=True, exist_ok=True)
        with part.open("r+b" if part.exists() else "wb") as file:
            file.seek(done)
            progress(done, total)
            for chunk in _chunks(response, part):
                file.write(chunk)
                done += len(chunk)
                progress(done, total)
    except OSError as error:
        raise WeightsError(
            f"{part} cannot be written beyond {done / 1e6:.1f} MB: {error.strerror}. The part that "
            "was downloaded is kept. Free some space and start again, or set $FEREMBED_WEIGHTS to "
            "another folder."
        ) from error
    if total is not None and done != total:
        raise _interrupted(part, f"got {done / 1e6:.1f} of {total / 1e6:.1f} MB")


def _chunks(response: HTTPResponse, part: Path) -> Iterator[bytes]:
    while True:
        try:
            chunk = response.read(_CHUNK)
        except (OSError, HTTPException) as error:
            raise _interrupted(part, str(error) or type(error).__name__) from error
        if not chunk:
            return
        yield chunk


def _interrupted(part: Path, reason: str) -> WeightsError:
    return WeightsError(
        f"The download was interrupted: {reason}. The downloaded part is kept in {part}. Start "
        "again to resume."
    )
