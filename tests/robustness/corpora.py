"""Seeds of every kind of file that ferembed reads, and mutations of them: the same for a seed."""

from __future__ import annotations

import hashlib
import io
import json
import struct
import tempfile
import warnings
import zipfile
import zlib
from collections.abc import Callable, Iterator
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
from numpy.typing import NDArray

Rng = np.random.Generator
Pixels = NDArray[np.uint8]

PICTURES = (
    "JPEG", "PNG", "GIF", "BMP", "PPM", "DIB", "TIFF", "WEBP", "AVIF", "JPEG2000", "ICO", "PCX",
    "PSD", "TGA",
)  # fmt: skip
_SEEDS = 60  # whole files of a kind, to begin with
USAGES = ("Training", "PublicTest", "PrivateTest")
FER2013 = "fer2013.csv"  # lies beside tables of votes


def _picture(format: str, rng: Rng) -> bytes:
    pixels = rng.integers(0, 256, (24, 20, 3), np.uint8)
    picture = PIL.Image.fromarray(np.repeat(np.repeat(pixels, 2, 0), 2, 1))
    if format == "PSD":
        return _psd(np.asarray(picture))
    if rng.random() < 0.3 and format in ("PNG", "GIF", "TIFF", "WEBP"):
        picture = picture.convert("P" if format != "WEBP" else "RGBA")
    file = io.BytesIO()
    more: dict[str, Any] = {}
    if format == "GIF" or (format in ("WEBP", "TIFF", "AVIF") and rng.random() < 0.2):
        more = {"save_all": True, "append_images": [picture.rotate(90)]}
    elif format == "JPEG":
        more = {"progressive": bool(rng.random() < 0.3), "exif": _exif(int(rng.integers(0, 10)))}
    elif format == "TIFF":
        more = {"compression": (None, "tiff_lzw", "tiff_deflate", "jpeg")[int(rng.integers(4))]}
        picture = picture.convert("RGB")
    picture.save(file, format, **more)
    return file.getvalue()


def _exif(orientation: int) -> PIL.Image.Exif:
    exif = PIL.Image.Exif()
    exif[0x0112] = orientation
    return exif


def _psd(pixels: Pixels) -> bytes:
    """A Photoshop file of one layer; Pillow reads them and writes none."""
    height, width, channels = pixels.shape
    head = struct.pack(">4sH6xHIIHH", b"8BPS", 1, channels, height, width, 8, 3)
    return head + bytes(12) + struct.pack(">H", 0) + pixels.transpose(2, 0, 1).tobytes()


def _csv(rng: Rng) -> bytes:
    rows = ["emotion,pixels,Usage"]
    for label in range(7):
        pixels = " ".join(map(str, rng.integers(0, 256, 48 * 48)))
        rows.append(f"{label},{pixels},{USAGES[label % 3]}")
    return "\n".join(rows).encode() + b"\n"


def _votes(rng: Rng) -> bytes:
    names = "neutral,happiness,surprise,sadness,anger,disgust,fear,contempt,unknown,NF"
    rows = [f"Usage,Image name,{names}"]
    for index in range(7):
        votes = ",".join(map(str, rng.integers(0, 4, 10)))
        rows.append(f"{USAGES[index % 3]},fer{index:07d}.png,{votes}")
    return "\n".join(rows).encode() + b"\n"


def _grid(rng: Rng) -> bytes:
    """A grid that ships, but for the one whose weights do not."""
    grids = resources.files("ferembed.benchmark") / "grids"
    names = sorted(grid.name for grid in grids.iterdir() if grid.name != "vggface2.toml")
    return (grids / names[int(rng.integers(len(names)))]).read_bytes()


def _add(archive: zipfile.ZipFile, name: str, content: bytes) -> None:
    archive.writestr(zipfile.ZipInfo(name), content, zipfile.ZIP_DEFLATED)  # without a date


def _zip(rng: Rng) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for split in ("train", "test"):
            for label in ("happy", "sad"):
                _add(archive, f"{split}/{label}/a.png", _picture("PNG", rng))
    return file.getvalue()


def _video(rng: Rng) -> bytes:
    import cv2

    ending, code = ((".mp4", "mp4v"), (".avi", "MJPG"))[int(rng.integers(2))]
    with tempfile.TemporaryDirectory(prefix="ferembed-video-") as folder:
        path = f"{folder}/clip{ending}"
        four = cv2.VideoWriter_fourcc(*code)
        writer = cv2.VideoWriter(path, cv2.CAP_FFMPEG, four, 10.0, (32, 24))
        for _ in range(6):
            writer.write(rng.integers(0, 256, (24, 32, 3), np.uint8))
        writer.release()
        return Path(path).read_bytes()


def _weights(rng: Rng) -> bytes:
    """An .h5 of Keras 2, as small as one can be."""
    import h5py

    file = io.BytesIO()
    with h5py.File(file, "w") as weights:
        weights.attrs["layer_names"] = [b"conv1", b"fc"]
        for layer, shape in (("conv1", (3, 3, 1, 2)), ("fc", (4, 2))):
            group = weights.create_group(layer)
            group.attrs["weight_names"] = [f"{layer}/kernel:0".encode()]
            kernel = rng.standard_normal(shape).astype(np.float32)
            packed = {"chunks": shape, "compression": "gzip"} if rng.random() < 0.5 else {}
            group.create_dataset(f"{layer}/kernel:0", data=kernel, **packed)
    return file.getvalue()


def _arrays(rng: Rng) -> bytes:
    file = io.BytesIO()
    save = np.savez_compressed if rng.random() < 0.5 else np.savez
    save(file, **{"conv/kernel": rng.standard_normal((3, 3, 1, 2)), "conv/bias": np.zeros(2)})
    return file.getvalue()


def mutate_bytes(content: bytes, rng: Rng) -> bytes:
    """A few bytes changed, taken away, doubled or moved, or numbers set to their limits."""
    data = bytearray(content)
    for _ in range(int(rng.integers(1, 6))):
        if not data:
            break
        at = int(rng.integers(len(data)))
        length = int(rng.integers(1, max(2, min(64, len(data)))))
        kind = rng.integers(6)
        if kind == 0:
            data[at] = int(rng.integers(256))
        elif kind == 1:
            data[at : at + 4] = [b"\xff\xff\xff\xff", b"\0\0\0\0", b"\x7f\xff\xff\xff"][
                int(rng.integers(3))
            ]
        elif kind == 2:
            del data[at : at + length]
        elif kind == 3:
            data[at:at] = data[at : at + length]
        elif kind == 4:
            del data[at:]
        else:
            data[at : at + length] = rng.integers(0, 256, length, np.uint8).tobytes()
    return bytes(data)


def mutate_png(content: bytes, rng: Rng) -> bytes:
    """Bytes of a PNG changed; half of the time its checksums are made to fit."""
    content = mutate_bytes(content, rng)
    if rng.random() < 0.5:
        return content
    data, at = bytearray(content), 8
    while at + 12 <= len(data):
        end = at + 8 + int.from_bytes(data[at : at + 4], "big")
        if end + 4 > len(data):
            break
        data[end : end + 4] = zlib.crc32(data[at + 4 : end]).to_bytes(4, "big")
        at = end + 4
    return bytes(data)


def mutate_zip(content: bytes, rng: Rng) -> bytes:
    """Bytes of a zip changed, or the name or content of a member, with a checksum that fits."""
    if rng.random() < 0.4:
        return mutate_bytes(content, rng)
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        members = [(name, archive.read(name)) for name in archive.namelist()]
    at = int(rng.integers(len(members)))
    name, inside = members[at]
    if rng.random() < 0.7:
        members[at] = name, mutate_bytes(inside, rng)
    else:
        members[at] = mutate_text(name.encode(), rng).decode("utf-8", "replace"), inside
    file = io.BytesIO()
    with warnings.catch_warnings(), zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        warnings.simplefilter("ignore")  # of two members with one name
        for name, inside in members:
            _add(archive, name or "x", inside)
    return file.getvalue()


def mutate_text(content: bytes, rng: Rng) -> bytes:
    """Words of a table or a grid replaced by odd ones, or bytes changed."""
    if rng.random() < 0.5:
        return mutate_bytes(content, rng)
    odd = (
        b"-1", b"nan", b"1e999", b"99999999999999999999", b'"', b"", b"=cmd", b"\xff\xfe", b"\0",
        b"[[[", b"{", b"inf", b"0x10", b"happy\x1b[2J", b"../../etc/passwd", b"null", b"[]",
        b'"x"', b"true", b"[null]", b"-0.5", b"1", b"[" * 3000, b"{a=" * 3000, b"9" * 5000,
    )  # fmt: skip
    separators = b',\n =[]"'
    for _ in range(int(rng.integers(1, 4))):
        at = int(rng.integers(max(1, len(content))))
        end = at
        while end < len(content) and content[end] not in separators:
            end += 1
        content = content[:at] + odd[int(rng.integers(len(odd)))] + content[end:]
    return content


def mutate_journal(content: bytes, rng: Rng) -> bytes:
    """Entries of a journal with one of their values replaced, or bytes changed."""
    if rng.random() < 0.4:
        return mutate_text(content, rng)
    entries = [json.loads(line) for line in content.splitlines()]
    odd = (None, -1, 1e308, 10**30, float("nan"), "x" * 1000, "", [], {}, [None], True, [1] * 5)
    place: Any = entries[int(rng.integers(len(entries)))]
    while True:
        keys: list[Any] = list(place) if isinstance(place, dict) else list(range(len(place)))
        key = keys[int(rng.integers(len(keys)))]
        if not isinstance(place[key], (dict, list)) or not place[key] or rng.random() < 0.2:
            place[key] = odd[int(rng.integers(len(odd)))]
            return b"".join(json.dumps(entry).encode() + b"\n" for entry in entries)
        place = place[key]


def mutate_model(folder: Path, out: Path, rng: Rng) -> None:
    """A saved model with some of its numbers or words changed, and sizes and hashes made to fit."""
    manifest = json.loads((folder / "model.json").read_text("utf-8"))
    arrays = dict(np.load(folder / "head.npz"))
    if rng.random() < 0.7:
        name = sorted(arrays)[int(rng.integers(len(arrays)))]
        array = arrays[name]
        if array.dtype.kind == "U":
            deep = "[" * 5000 if rng.random() < 0.1 else ""
            arrays[name] = np.array(deep + str(array)[: int(rng.integers(1, 40))])
        elif rng.random() < 0.3:
            arrays[name] = array.reshape(-1)[: int(rng.integers(0, array.size + 1))]
        else:
            raw = mutate_bytes(array.tobytes(), rng)[: array.nbytes].ljust(array.nbytes, b"\xff")
            arrays[name] = np.frombuffer(raw, array.dtype).reshape(array.shape)
    else:
        facts = manifest[("pipeline", "vectors")[int(rng.integers(2))]]
        values = (None, -1, 1e308, 10**30, "x" * 1000, [], {}, [1] * 100, True, "random:9")
        facts[sorted(facts)[int(rng.integers(len(facts)))]] = values[int(rng.integers(len(values)))]
    file = io.BytesIO()
    np.savez_compressed(file, **arrays)
    content = file.getvalue()
    fact = {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
    manifest["files"] = {"head.npz": fact}
    out.mkdir()
    (out / "head.npz").write_bytes(content)
    (out / "model.json").write_text(json.dumps(manifest), "utf-8")


KINDS: dict[str, tuple[Callable[[Rng], bytes], Callable[[bytes, Rng], bytes], str]] = {
    **{
        f"picture {format}": (
            lambda rng, format=format: _picture(format, rng),
            mutate_png if format == "PNG" else mutate_bytes,
            f".{format.lower()}",
        )
        for format in PICTURES
    },
    "csv": (_csv, mutate_text, ".csv"),
    "zip": (_zip, mutate_zip, ".zip"),
    "FER+ table": (_votes, mutate_text, ".csv"),
    "video": (_video, mutate_bytes, ".avi"),
    "weights h5": (_weights, mutate_bytes, ".h5"),
    "weights npz": (_arrays, mutate_zip, ".npz"),
    "grid": (_grid, mutate_text, ".toml"),
}


def seed_file(kind: str, folder: Path) -> Path:
    """A file of a kind as it is before it is mutated."""
    make, _, ending = KINDS[kind]
    rng = np.random.default_rng(0)
    if kind == "FER+ table":
        (folder / FER2013).write_bytes(_csv(rng))
    path = folder / f"seed{ending}"
    path.write_bytes(make(rng))
    return path


def files(kind: str, count: int, seed: int, folder: Path) -> Iterator[Path]:
    """So many mutated files of a kind, written into the folder."""
    make, mutate, ending = KINDS[kind]
    rng = np.random.default_rng([seed, *kind.encode()])
    if kind == "FER+ table":
        (folder / FER2013).write_bytes(_csv(rng))
    seeds = [make(rng) for _ in range(min(count, _SEEDS))]
    for number in range(count):
        path = folder / f"{number:06d}{ending}"
        path.write_bytes(mutate(seeds[number % len(seeds)], rng))
        yield path
