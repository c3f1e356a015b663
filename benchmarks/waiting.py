"""Time what users wait for beside the package `fer`: photos, a folder, detection.

    python -m benchmarks.waiting photos.zip --fer-python /venv/bin/python

60 photos of 1280x720 are made of the choosing half of the photos, with 1 to 6 faces each on parts
of landscapes. Photos are answered in turns, one after the other, by ferembed with each detector
and by `fer` with facenet-pytorch's MTCNN and with its Haar detector, each in a process that is
warm. A film of one moving face is read by `ferembed predict` to a CSV, its start included, and by
`fer` frame by frame. Each row is written as soon as it is measured. YuNet must have been fetched.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image

from benchmarks.faces import Photos, landscapes
from benchmarks.machine import machine
from ferembed import Pipeline
from ferembed.faces import Face, FaceRecipe
from ferembed.images import Image, load_image
from ferembed.storage.files import atomic_write

RESULTS = Path(__file__).parent / "results" / "waiting.json"
OURS = "yunet", "mtcnn", "haar"
FRAMES = 300  # of the film
SMALLEST = 40  # pixels of the faces that are to be found


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("photos", help="a zip of labelled photos, as faces.py takes it")
    parser.add_argument("--fer-python", required=True, help="an interpreter that imports fer")
    parser.add_argument("--rounds", type=int, default=1, help="times that all photos are answered")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        paths = write_mosaics(options.photos, Path(folder))
        keep("found", found(paths))
        peers = {name: Fer(options.fer_python, name) for name in ("mtcnn", "haar")}
        for row in ("detect", "photo"):
            keep(row, in_turns(row, paths, peers, options.rounds))
        keep("4k", at_4k(paths[:10]))
        keep("folder", folder_of(paths, Path(folder)))
        film = write_film(options.photos, Path(folder) / "film.mp4")
        keep("video", video_of(film, peers))


def keep(name: str, row: dict[str, Any]) -> None:
    """Write a row; those measured here before stay."""
    here = machine()
    known = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    rows = known["rows"] if known.get("machine") == here else {}
    with atomic_write(RESULTS) as unfinished:
        unfinished.write_text(
            json.dumps({"machine": here, "rows": {**rows, name: row}}, indent=1) + "\n"
        )
    print(name, json.dumps(row), flush=True)


def write_mosaics(source: str, folder: Path) -> list[Path]:
    """60 photos of 1280x720 with 1 to 6 faces each."""
    import cv2

    photos = Photos.read(source)
    chosen = [photos.pixels[i] for i in np.flatnonzero(photos.choosing)]
    chosen = [photo for photo in chosen if min(photo.shape[:2]) >= 200]
    grounds = landscapes()
    rng = np.random.default_rng(0)
    order = iter(rng.permutation(len(chosen)))
    paths = []
    for number in range(60):
        count = number % 6 + 1
        wide = np.array(cv2.resize(grounds[number], (1280, 720)), np.uint8)
        columns = min(count, 3)
        room_x, room_y = 1280 // columns, 720 // -(-count // columns)
        for place in range(count):
            photo = chosen[next(order)]
            side = max(90, int(rng.uniform(0.25, 1) * (min(room_x, room_y) - 8)))
            scale = side / max(photo.shape[:2])
            small = cv2.resize(photo, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
            high, across = small.shape[:2]
            y = place // columns * room_y + int(rng.uniform(0, room_y - side - 1))
            x = place % columns * room_x + int(rng.uniform(0, room_x - side - 1))
            wide[y : y + high, x : x + across] = small
        paths.append(folder / f"{number:02}.jpg")
        PIL.Image.fromarray(wide).save(paths[-1], quality=92)
    return paths


def search(name: str, photo: Image, min_face: float | None = None) -> list[Face]:
    recipe = FaceRecipe(name) if min_face is None else FaceRecipe(name, min_face=min_face)
    return recipe.find(photo)


def found(paths: list[Path]) -> dict[str, Any]:
    """The share of faces of 40 pixels or more, as mtcnn finds without a limit, that are found."""
    photos = [load_image(path) for path in paths]
    known = [
        [face for face in search("mtcnn", photo, 0) if face.box[3] - face.box[1] >= SMALLEST]
        for photo in photos
    ]
    facts: dict[str, Any] = {"faces": sum(map(len, known))}
    for name in OURS:
        seen = [search(name, photo) for photo in photos]
        facts[name] = {
            "of_them": sum(
                any(face.overlap_of_smaller(other) > 0.6 for other in here)
                for faces, here in zip(known, seen, strict=True)
                for face in faces
            ),
            "in_all": sum(map(len, seen)),
        }
    return facts


class Fer:
    """The package `fer` with a detector, in a separate process."""

    def __init__(self, python: str, kind: str) -> None:
        script = str(Path(__file__).with_name("waiting_fer.py"))
        self.process = subprocess.Popen(
            [python, script, kind], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.given, self.printed = self.process.stdin, self.process.stdout
        while self.printed.readline().strip() != "ready":
            if self.process.poll() is not None:
                raise SystemExit(f"fer with {kind} does not start; see its message above.")

    def ask(self, command: str, path: Path) -> tuple[float, int]:
        """The seconds and the number of faces."""
        self.given.write(f"{command} {path}\n")
        self.given.flush()
        seconds, faces = self.printed.readline().split()
        return float(seconds), int(faces)


def in_turns(command: str, paths: list[Path], peers: dict[str, Fer], rounds: int) -> dict[str, Any]:
    """The median of a photo's milliseconds, each photo by each in turn, and the faces found."""
    pipelines = {name: Pipeline.load("default", store="none", detector=name) for name in OURS}
    for name in OURS:
        for path in paths[:6]:
            pipelines[name].analyze(path)
    seconds: dict[str, list[float]] = {}
    faces: dict[str, int] = {}
    for _ in range(rounds):
        for path in paths:
            photo = load_image(path)
            for name in OURS:
                started = time.perf_counter()
                if command == "detect":
                    count = len(search(name, photo))
                else:
                    count = len(pipelines[name].analyze(path))
                seconds.setdefault(name, []).append(time.perf_counter() - started)
                faces[name] = faces.get(name, 0) + count
            for name, peer in peers.items():
                took, count = peer.ask(command, path)
                seconds.setdefault(f"fer, {name}", []).append(took)
                faces[f"fer, {name}"] = faces.get(f"fer, {name}", 0) + count
    return {
        name: {
            "milliseconds": round(1000 * statistics.median(taken), 2),
            "mean": round(1000 * statistics.mean(taken), 2),
            "faces": faces[name] // rounds,
        }
        for name, taken in seconds.items()
    }


def at_4k(paths: list[Path]) -> dict[str, Any]:
    """Detection at 3840x2160 and at 1280x720, in turns."""
    import cv2

    taken: dict[str, list[float]] = {}
    for path in paths:
        small = load_image(path)
        large = np.asarray(cv2.resize(small, (3840, 2160)), np.uint8)
        for name in OURS:
            for title, photo in (("1280x720", small), ("3840x2160", large)):
                search(name, photo)
                started = time.perf_counter()
                search(name, photo)
                key = f"{name} {title}"
                taken.setdefault(key, []).append(time.perf_counter() - started)
    return {name: round(1000 * statistics.median(each), 2) for name, each in taken.items()}


def write_film(source: str, path: Path) -> Path:
    """A film of 1280x720 at 30 frames a second: a photo of one face that moves."""
    import cv2

    photos = Photos.read(source)
    chosen = (photos.pixels[i] for i in np.flatnonzero(photos.choosing))
    photo = next(one for one in chosen if min(one.shape[:2]) >= 300)
    face = np.array(cv2.resize(photo, (360, 360)))
    ground = np.array(cv2.resize(landscapes()[3], (1280, 720)))
    film = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"mp4v"), 30, (1280, 720))
    for number in range(FRAMES):
        frame = ground.copy()
        x, y = int(300 + 200 * np.sin(number / 40)), int(150 + 60 * np.cos(number / 30))
        frame[y : y + 360, x : x + 360] = face
        film.write(np.ascontiguousarray(frame[:, :, ::-1]))
    film.release()
    return path


def video_of(film: Path, peers: dict[str, Fer]) -> dict[str, Any]:
    """Frames a second, each in turn; `ferembed predict` starts and writes a CSV in its time."""
    row: dict[str, Any] = {}
    for name in OURS:
        command = [sys.executable, "-m", "ferembed.cli", "predict", str(film), "--quiet"]
        command += ["--detector", name, "--output", str(film.with_suffix(f".{name}.csv"))]
        started = time.perf_counter()
        subprocess.run(command, check=True)
        seconds = time.perf_counter() - started
        row[name] = {"frames_per_second": round(FRAMES / seconds, 1)}
    for name, peer in peers.items():
        seconds, _ = peer.ask("video", film)
        row[f"fer, {name}"] = {"frames_per_second": round(FRAMES / seconds, 1)}
    return row


def folder_of(paths: list[Path], folder: Path) -> dict[str, Any]:
    """`ferembed predict` on 200 photos: seconds, and how many cores worked."""
    many = folder / "many"
    many.mkdir()
    for number in range(200):
        os.link(paths[number % len(paths)], many / f"{number:03}.jpg")
    row = {}
    for name in ("yunet", "mtcnn"):
        command = [sys.executable, "-m", "ferembed.cli", "predict", str(many), "--quiet"]
        command += ["--detector", name, "--output", str(folder / f"{name}.csv")]
        before, started = os.times(), time.perf_counter()
        process = subprocess.Popen(command)
        status = process.wait()
        elapsed, after = time.perf_counter() - started, os.times()
        if status:
            raise SystemExit(f"ferembed predict failed with {status}.")
        used = after.children_user + after.children_system
        used -= before.children_user + before.children_system
        row[name] = {
            "seconds": round(elapsed, 2),
            "cores": round(used / elapsed, 2),
        }
    return row


if __name__ == "__main__":
    main()
