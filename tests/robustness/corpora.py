"""Seeds of every kind of file that ferembed reads, and mutations of them: the same for a seed."""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import PIL.Image

Rng = np.random.Generator

PICTURES = ("JPEG", "PNG", "GIF", "BMP", "PPM", "TIFF", "WEBP", "JPEG2000", "ICO", "PCX", "TGA")
GRID = b"""title = "A grid"
about = "To be broken."

[[cells]]
head = "knn"
head__n_neighbors = [1, 5, 10]
backbone = "cnn-a"
"""


def _picture(format: str, rng: Rng) -> bytes:
    pixels = rng.integers(0, 256, (24, 20, 3), np.uint8)
    picture = PIL.Image.fromarray(np.repeat(np.repeat(pixels, 2, 0), 2, 1))
    if rng.random() < 0.3 and format in ("PNG", "GIF", "TIFF", "WEBP"):
        picture = picture.convert("P" if format != "WEBP" else "RGBA")
    file = io.BytesIO()
    more = {"save_all": True, "append_images": [picture.rotate(90)]} if format == "GIF" else {}
    picture.save(file, format, **more)
    return file.getvalue()


def _csv(rng: Rng) -> bytes:
    rows = ["emotion,pixels,Usage"]
    for label in range(7):
        pixels = " ".join(map(str, rng.integers(0, 256, 48 * 48)))
        rows.append(f"{label},{pixels},{('Training', 'PublicTest', 'PrivateTest')[label % 3]}")
    return "\n".join(rows).encode() + b"\n"


def _votes(rng: Rng) -> bytes:
    names = "neutral,happiness,surprise,sadness,anger,disgust,fear,contempt,unknown,NF"
    rows = [f"Usage,Image name,{names}"]
    for index in range(7):
        votes = ",".join(map(str, rng.integers(0, 4, 10)))
        rows.append(f"Training,fer{index:07d}.png,{votes}")
    return "\n".join(rows).encode() + b"\n"


def _zip(rng: Rng) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for split in ("train", "test"):
            for label in ("happy", "sad"):
                archive.writestr(f"{split}/{label}/a.png", _picture("PNG", rng))
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


def mutate_text(content: bytes, rng: Rng) -> bytes:
    """Words of a table or a grid replaced by odd ones, or bytes changed."""
    if rng.random() < 0.5:
        return mutate_bytes(content, rng)
    odd = (
        b"-1", b"nan", b"1e999", b"99999999999999999999", b'"', b"", b"=cmd", b"\xff\xfe", b"\0",
        b"[[[", b"{", b"inf", b"0x10", b"happy\x1b[2J", b"../../etc/passwd",
    )  # fmt: skip
    separators = b',\n =[]"'
    for _ in range(int(rng.integers(1, 4))):
        at = int(rng.integers(max(1, len(content))))
        end = at
        while end < len(content) and content[end] not in separators:
            end += 1
        content = content[:at] + odd[int(rng.integers(len(odd)))] + content[end:]
    return content


def mutate_model(folder: Path, out: Path, rng: Rng) -> None:
    """A saved model with some of its numbers or words changed, and sizes and hashes made to fit."""
    manifest = json.loads((folder / "model.json").read_text("utf-8"))
    arrays = dict(np.load(folder / "head.npz"))
    if rng.random() < 0.7:
        name = sorted(arrays)[int(rng.integers(len(arrays)))]
        array = arrays[name]
        if array.dtype.kind == "U":
            arrays[name] = np.array(str(array)[: int(rng.integers(1, 40))])
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
            mutate_bytes,
            f".{format.lower()}",
        )
        for format in PICTURES
    },
    "csv": (_csv, mutate_text, ".csv"),
    "zip": (_zip, mutate_bytes, ".zip"),
    "FER+ table": (_votes, mutate_text, ".csv"),
    "grid": (lambda rng: GRID, mutate_text, ".toml"),
}


def files(kind: str, count: int, seed: int, folder: Path) -> Iterator[Path]:
    """So many mutated files of a kind, written into the folder."""
    make, mutate, ending = KINDS[kind]
    rng = np.random.default_rng([seed, *kind.encode()])
    for number in range(count):
        path = folder / f"{number:06d}{ending}"
        path.write_bytes(mutate(make(rng), rng))
        yield path
