"""Reading of pictures as (H, W, 3) uint8 RGB, with EXIF rotation applied."""

from __future__ import annotations

import errno
import hashlib
import io
import os
import re
import struct
import threading
import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Protocol, TypeAlias, TypeGuard, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from ferembed.errors import ImageError, ImageTooLarge
from ferembed.storage.files import atomic_write, is_special_file

if TYPE_CHECKING:
    import PIL.Image

Image: TypeAlias = NDArray[np.uint8]


@runtime_checkable
class Readable(Protocol):
    """An object with the bytes of a file: pathlib.Path, zipfile.Path, a row of a data set."""

    def read_bytes(self) -> bytes: ...


@runtime_checkable
class ArrayLike(Protocol):
    """An object that NumPy can convert to an array."""

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]: ...


class LazyPicture(ABC):
    """A picture that is computed on request; its `str` is its name."""

    __slots__ = ()

    @abstractmethod
    def pixels(self) -> NDArray[np.uint8]: ...

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        pixels = self.pixels()
        return pixels if dtype is None else pixels.astype(dtype)


# A path, the bytes of a file, an array in RGB order (OpenCV's are BGR), or a PIL image.
Source: TypeAlias = (
    "str | os.PathLike[str] | bytes | NDArray[Any] | Readable | ArrayLike | PIL.Image.Image"
)

MAX_PIXELS = 100_000_000
# fmt: off
_COMMON = (
    ".bmp", ".gif", ".jfif", ".jpe", ".jpeg", ".jpg", ".pbm", ".pgm", ".png", ".pnm", ".ppm",
    ".tif", ".tiff", ".webp",
)
EXTENSIONS = frozenset({
    ".avif", ".dib", ".heic", ".heif", ".ico", ".j2k", ".jp2", ".pcx", ".psd", ".tga", *_COMMON,
})
_FORMATS = (
    "JPEG", "PNG", "GIF", "BMP", "PPM", "DIB", "TIFF", "WEBP", "AVIF", "HEIF", "JPEG2000", "ICO",
    "PCX", "PSD", "TGA",
)
# fmt: on
_REDUCIBLE = ("JPEG", "MPO")
_ORIENTATION = 0x0112  # in EXIF
_BAND = 1 << 20  # pixels that are converted at a time
_LONGEST_HEAD = 1 << 16  # bytes before the pixels of a PPM
_LONGEST_TEXT = 8 << 20  # bytes of a PPM that is written as text
# What decoding takes at most, where it is more than 10: measured with pictures of 36 megapixels.
_BYTES_PER_PIXEL = {"AVIF": 16, "HEIF": 16, "JPEG2000": 20, "WEBP": 16, "progressive JPEG": 12}
_DIGEST = hashlib.blake2b(digest_size=32, person=b"file")
_opening = threading.Lock()


def load_image(source: Source, max_pixels: int = MAX_PIXELS) -> Image:
    """The picture as (H, W, 3) uint8 RGB, owned by the caller.

    Transparency is laid on white; 16-bit pictures are scaled to 8; of an animation the first
    frame is taken. A picture of more than `max_pixels` is refused before it is decoded.
    """
    return open_source(source).image(max_pixels)


def size_of(source: Source, max_pixels: int = MAX_PIXELS) -> tuple[int, int]:
    """Width and height as given by `load_image`; only the head of a file is read."""
    if isinstance(source, (str, Path)) and Path(source).is_file():
        with _damage(str(source)), Path(source).open("rb") as file:
            return _size(file, str(source), max_pixels)
    opened = open_source(source)
    if isinstance(opened.content, bytes):
        return _size(io.BytesIO(opened.content), opened.name, max_pixels)
    height, width = opened.image(max_pixels).shape[:2]
    return width, height


def open_source(source: Source) -> LoadedSource:
    """The source with its content, read once, for a digest and for pixels."""
    name = source_name(source)
    if isinstance(source, bytes):
        return LoadedSource(name, source)
    if isinstance(source, str):
        source = Path(source)
    if _is_readable(source):
        try:
            if isinstance(source, Path) and is_special_file(source):
                raise OSError("it is a pipe or a device, which may have no end")
            return LoadedSource(name, source.read_bytes())
        except FileNotFoundError:
            raise ImageError(f"{name} does not exist.") from None
        except IsADirectoryError:
            raise ImageError(f"{name} is a folder, not a picture.") from None
        except PermissionError:
            raise ImageError(f"{name} may not be read: permission denied.") from None
        except (OSError, ValueError) as error:
            if isinstance(error, OSError) and error.errno in (errno.EMFILE, errno.ENFILE):
                raise  # the picture may be valid: no file can be opened
            raise ImageError(f"{name} cannot be read: {error}.") from error
    if isinstance(source, os.PathLike):
        return open_source(Path(source))
    if isinstance(source, np.ndarray) or hasattr(source, "getexif"):  # a PIL image
        return LoadedSource(name, source)
    if not isinstance(source, ArrayLike):
        raise ImageError(
            f"A picture is given as a path, bytes, an array or a PIL image, not as {name}."
        )
    return LoadedSource(name, np.asarray(source))


def save_picture(picture: PIL.Image.Image, path: Path) -> None:
    """Write a picture atomically, in the format of its ending; without a known ending, as PNG."""
    with atomic_write(path) as unfinished:
        picture.save(unfinished, format=None if path.suffix.lower() in _COMMON else "PNG")


def source_name(source: Source) -> str:
    """The name of a source in messages."""
    if isinstance(source, (str, LazyPicture)) or _is_readable(source):
        return str(source)
    if isinstance(source, bytes):
        return f"<{len(source)} bytes>"
    if isinstance(source, np.ndarray):
        return f"<array {'x'.join(map(str, source.shape))} {source.dtype}>"
    if isinstance(source, os.PathLike):
        return os.fspath(source)
    return f"<{type(source).__name__}>"


def _is_readable(source: object) -> TypeGuard[Readable]:
    # isinstance with a protocol is as slow as reading a small file.
    return hasattr(source, "read_bytes")


class LoadedSource:
    """A source with its content in memory: encoded bytes, an array, or a PIL image."""

    def __init__(self, name: str, content: Any) -> None:
        self.name = name
        self.content = content

    def digest(self, max_pixels: int = MAX_PIXELS) -> bytes:
        """A digest of the content, 32 bytes; encoded bytes are not decoded for it."""
        if isinstance(self.content, bytes):
            started = _DIGEST.copy()
            started.update(self.content)
            return started.digest()
        pixels = np.ascontiguousarray(self.image(max_pixels))
        shape = repr(pixels.shape).encode()
        return hashlib.blake2b(shape + pixels.tobytes(), digest_size=32, person=b"pixels").digest()

    @property
    def nbytes(self) -> int:
        """The approximate memory of the content."""
        if isinstance(self.content, bytes):
            return len(self.content)
        if isinstance(self.content, np.ndarray):
            return self.content.nbytes
        return 3 * int(self.content.width) * int(self.content.height)

    def image(self, max_pixels: int = MAX_PIXELS) -> Image:
        """The pixels, decoded at each call."""
        if isinstance(self.content, bytes):
            with _encoded(io.BytesIO(self.content), self.name, max_pixels) as picture:
                return _from_pil(picture, self.name, max_pixels)
        if isinstance(self.content, np.ndarray):
            return _from_array(self.content, self.name, max_pixels)
        with _damage(self.name):
            return _from_pil(self.content, self.name, max_pixels)

    def reduced(
        self, shorter_side: int | None, max_pixels: int = MAX_PIXELS
    ) -> tuple[Image, tuple[int, int]]:
        """The pixels, possibly at a reduced size, and the width and height of the full picture.

        A JPEG is decoded at a half, a quarter or an eighth of its size, as long as its shorter side
        keeps this many pixels. If `shorter_side` is None, it is decoded in full.
        """
        if shorter_side is not None and isinstance(self.content, bytes):
            with _encoded(io.BytesIO(self.content), self.name, max_pixels) as picture:
                if picture.format in _REDUCIBLE:
                    _check_cost(picture, self.name, max_pixels)
                    size = _turned_size(picture, picture.size)
                    picture.draft(None, (shorter_side, shorter_side))
                    return _from_pil(picture, self.name, max_pixels), size
        image = self.image(max_pixels)
        return image, (image.shape[1], image.shape[0])


class _Silence:
    """Ignores warnings while any thread is inside; catch_warnings is not thread-safe."""

    def __init__(self) -> None:
        self._turn = threading.Lock()
        self._inside = 0

    def __enter__(self) -> None:
        with self._turn:
            if not self._inside:
                self._caught = warnings.catch_warnings()
                self._caught.__enter__()
                warnings.simplefilter("ignore")
            self._inside += 1

    def __exit__(self, *error: object) -> None:
        with self._turn:
            self._inside -= 1
            if not self._inside:
                self._caught.__exit__(None, None, None)


_silence = _Silence()


@contextmanager
def _encoded(file: BinaryIO, name: str, max_pixels: int) -> Iterator[PIL.Image.Image]:
    """The picture in a file; only its head is read at first."""
    import PIL.Image

    head = file.read(64)
    if not head:
        raise ImageError(f"{name} is empty (0 bytes).")
    file.seek(0)
    with _damage(name):
        if re.match(rb"P[1-6][\s#]", head):
            file = _checked_pnm(file, name)
        elif head.startswith(b"\0\0\1\0"):
            _check_icons(file, name, max_pixels)
        file.seek(0)
    with _damage(name), _silence:
        # Pillow's limit is global; that of ferembed is checked later, from the same head.
        with _opening:
            limit, PIL.Image.MAX_IMAGE_PIXELS = PIL.Image.MAX_IMAGE_PIXELS, None
            try:
                picture = _open_pillow(file)
            except PIL.UnidentifiedImageError:
                raise ImageError(
                    f"{name} is not a picture in a known format ({_looks_like(head)})."
                ) from None
            finally:
                PIL.Image.MAX_IMAGE_PIXELS = limit
        with picture:
            yield picture


def _checked_pnm(file: BinaryIO, name: str) -> BinaryIO:
    """A PPM that Pillow decodes in seconds: comments and text cost it a step for each byte."""
    start = file.read(_LONGEST_HEAD)
    header = re.sub(rb"#[^\n\r]*", b"", start).split(None, 4)
    if len(start) == _LONGEST_HEAD and len(header) < (3 if start[1:2] in b"14" else 4):
        raise ImageError(f"{name} is damaged: its head has more than {_LONGEST_HEAD:,} bytes.")
    file.seek(0)
    if start[1:2] not in b"123":
        return file
    text = file.read(_LONGEST_TEXT + 1)
    if len(text) > _LONGEST_TEXT:
        raise ImageTooLarge(
            f"{name} is a picture written as text of more than {_LONGEST_TEXT >> 20} MB. Save it "
            "as PNG."
        )
    return io.BytesIO(re.sub(rb"#[^\n\r]*", b"", text))


def _check_icons(file: BinaryIO, name: str, max_pixels: int) -> None:
    """An ImageTooLarge for an ICO that holds a larger picture than its list says.

    Pillow decodes it when it opens the file.
    """
    count = int.from_bytes(file.read(6)[4:], "little")
    places = [file.read(16)[12:] for _ in range(count)]
    for place in places:
        file.seek(int.from_bytes(place, "little"))
        head = file.read(24)
        if head.startswith(b"\x89PNG"):
            width, height = struct.unpack(">II", head[16:].ljust(8, b"\0"))
        else:  # a bitmap, whose height counts its mask, too
            width, height = struct.unpack("<ii", head[4:12].ljust(8, b"\0"))
        _check_size(abs(height), abs(width), name, max_pixels)


def _open_pillow(file: BinaryIO) -> PIL.Image.Image:
    """The picture, if it is in a format of pixels.

    Others may be programs: Pillow has Ghostscript run what is PostScript, or holds some inside.
    """
    import PIL.Image

    PIL.Image.preinit()
    known = [name for name in _FORMATS if name in PIL.Image.OPEN]
    try:
        return PIL.Image.open(file, formats=known)
    except PIL.UnidentifiedImageError:
        PIL.Image.init()
        more = [name for name in _FORMATS if name in PIL.Image.OPEN]
        return PIL.Image.open(file, formats=more)


def _size(file: BinaryIO, name: str, max_pixels: int) -> tuple[int, int]:
    with _encoded(file, name, max_pixels) as picture:
        tags = getattr(picture, "tag_v2", None)  # of a TIFF, whose size some Pillows turn at once
        _check_cost(picture, name, max_pixels)
        return _turned_size(picture, (tags[256], tags[257]) if tags else picture.size)


def _turned_size(picture: PIL.Image.Image, size: tuple[int, int]) -> tuple[int, int]:
    """The width and height once the picture is turned as its EXIF entry says."""
    on_its_side = picture.getexif().get(_ORIENTATION) in range(5, 9)
    return (size[1], size[0]) if on_its_side else size


@contextmanager
def _damage(name: str) -> Iterator[None]:
    try:
        yield
    except ImageError:
        raise
    except MemoryError:
        raise ImageTooLarge(f"{name} does not fit in memory.") from None
    except Exception as error:  # Pillow's plugins raise many types of errors for damaged files
        reason = str(error).rstrip(".") or type(error).__name__
        raise ImageError(f"{name} is damaged: {reason}.") from error


def _looks_like(head: bytes) -> str:
    if head.startswith(b"PK\3\4"):
        return "it is a zip: ferembed data describe says what is in it, or wrong with it"
    if b"\0" not in head and all(byte >= 32 or byte in b"\t\n\r" for byte in head):
        return f"it starts like text: {head[:24].decode('latin-1')!r}"
    return f"its first bytes are {head[:8].hex(' ')}"


def _from_pil(picture: PIL.Image.Image, name: str, max_pixels: int) -> Image:
    _check_cost(picture, name, max_pixels)
    picture.load()
    _check_size(picture.height, picture.width, name, max_pixels)  # some are larger than they say
    orientation = picture.getexif().get(_ORIENTATION)  # which loading a TIFF may have done
    turned = orientation in range(5, 9)
    size = (picture.width, picture.height) if turned else (picture.height, picture.width)
    image = np.empty((*size, 3), np.uint8)
    target = _unturned(image, orientation)
    to_rgb = _rgb_of(picture)
    rows = max(1, _BAND // picture.width)
    for top in range(0, picture.height, rows):  # so that copies are of a band, not of the whole
        box = (0, top, picture.width, min(top + rows, picture.height))
        target[top : box[3]] = to_rgb(picture.crop(box))
    return image


def _unturned(image: Image, orientation: object) -> Image:
    """A view of the final image in the orientation of the file, by its EXIF entry."""
    swapped = image.transpose(1, 0, 2)
    views = {
        2: image[:, ::-1],
        3: image[::-1, ::-1],
        4: image[::-1],
        5: swapped,
        6: swapped[::-1],
        7: swapped[::-1, ::-1],
        8: swapped[:, ::-1],
    }
    return views.get(orientation, image) if isinstance(orientation, int) else image


def _rgb_of(picture: PIL.Image.Image) -> Callable[[PIL.Image.Image], NDArray[np.uint8]]:
    """A function that converts a band of this picture to RGB."""
    import PIL.Image

    if picture.mode.startswith("I") or picture.mode == "F":
        # Numbers to 255 are 8 bits, however wide they are stored; larger ones are 16.
        eight = picture.mode == "I" and _highest(picture) <= 255

        def from_numbers(band: PIL.Image.Image) -> NDArray[np.uint8]:
            pixels = np.asarray(band)
            if band.mode != "F" and not eight:
                pixels = np.clip(pixels, 0, 65535).astype(np.uint16)
            return _from_array(pixels, "it", pixels.size)

        return from_numbers
    clear = picture.mode in ("RGBA", "LA", "PA", "RGBa", "La") or "transparency" in picture.info

    def from_colours(band: PIL.Image.Image) -> NDArray[np.uint8]:
        if clear:
            rgba = band.convert("RGBA")
            white = PIL.Image.new("RGBA", rgba.size, (255, 255, 255, 255))
            band = PIL.Image.alpha_composite(white, rgba)
        return np.asarray(band.convert("RGB"))

    return from_colours


def _highest(picture: PIL.Image.Image) -> float:
    low_and_high: Any = picture.getextrema()
    return float(low_and_high[1])


def _check_cost(picture: PIL.Image.Image, name: str, max_pixels: int) -> None:
    """An ImageTooLarge for what would be too large once decoded, from the head of the file alone.

    At the limit of pixels a picture takes 10 bytes a pixel, and formats that need more have a
    lower limit.
    """
    height, width = picture.height, picture.width
    _check_size(height, width, name, max_pixels)
    kind = picture.format or ""
    if kind in ("JPEG", "MPO") and "progressive" in picture.info:
        kind = "progressive JPEG"
    limit = max_pixels * 10 // _BYTES_PER_PIXEL.get(kind, 10)
    if height * width > limit:
        raise ImageTooLarge(
            f"{name} has {width} x {height} = {_count(height * width)} pixels; the limit for "
            f"{kind}, which takes more memory than others, is {_count(limit)}. Shrink it, or raise "
            "max_pixels."
        )


def _from_array(pixels: NDArray[Any], name: str, max_pixels: int) -> Image:
    gray_or_colour = pixels.ndim == 2 or (pixels.ndim == 3 and pixels.shape[2] in (1, 3, 4))
    if not gray_or_colour or 0 in pixels.shape:
        raise ImageError(
            f"{name} is no picture: an array has the shape (H, W), (H, W, 1), (H, W, 3) or "
            "(H, W, 4), in RGB order."
        )
    _check_size(pixels.shape[0], pixels.shape[1], name, max_pixels)
    if pixels.ndim == 2:
        pixels = pixels[:, :, None]
    if pixels.dtype == np.uint16:
        pixels = (pixels.astype(np.uint32) + 128) // 257
    elif pixels.dtype == np.bool_:
        pixels = pixels * np.uint8(255)
    elif pixels.dtype.kind == "f":
        if not np.isfinite(pixels).all():
            raise ImageError(f"{name} holds NaN or infinite values.")
        if pixels.min() < 0 or pixels.max() > 1:
            raise ImageError(
                f"{name} holds values from {pixels.min():g} to {pixels.max():g}; a floating-point "
                "picture runs from 0 to 1. Convert one of 0 to 255 with .astype('uint8')."
            )
        pixels = np.rint(pixels * 255)
    elif pixels.dtype.kind in "iu":
        if pixels.min() < 0 or pixels.max() > 255:
            raise ImageError(
                f"{name} holds values from {pixels.min()} to {pixels.max()}; "
                "pass 8-bit values, or 16-bit ones as uint16."
            )
    else:
        raise ImageError(f"{name} holds {pixels.dtype} values, not numbers.")
    if pixels.shape[2] == 4:
        alpha = pixels[:, :, 3:].astype(np.float32) / 255
        pixels = np.rint(pixels[:, :, :3] * alpha + 255 * (1 - alpha))
    image = np.empty((*pixels.shape[:2], 3), np.uint8)
    image[:] = pixels
    return image


def _check_size(height: int, width: int, name: str, max_pixels: int) -> None:
    if height * width > max_pixels:
        raise ImageTooLarge(
            f"{name} has {width} x {height} = {_count(height * width)} pixels; the limit is "
            f"{_count(max_pixels)}. Shrink it, or raise max_pixels."
        )


def _count(pixels: int) -> str:
    return f"{pixels / 1e6:.0f} million" if pixels >= 1e6 else f"{pixels:,}"
