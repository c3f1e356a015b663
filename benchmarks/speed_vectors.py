"""Rows left of the seam: from a cold start and a photo to the vectors."""

from __future__ import annotations

import importlib.util
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.machine import gigaflops, matrix_products
from benchmarks.networks import multiplications
from benchmarks.rows import Bench, Row, row
from benchmarks.speed_heads import growth
from ferembed import Embedder, Pipeline, load_image
from ferembed.backbones import BACKBONES, LoadRequest, load_backbone
from ferembed.embedder import BATCH
from ferembed.heads import HEADS
from ferembed.images import open_source
from ferembed.media.demo import photo
from ferembed.storage.embeddings import DiskStore

KINDS = {"openvino": "float32", "openvino-bf16": "bfloat16", "openvino-int8": "int8"}
SCRIPT = """
import sys
import keras
import numpy as np
from mtcnn import MTCNN
from PIL import Image
photo = np.array(Image.open(sys.argv[1]).convert("RGB"))
x, y, wide, high = MTCNN().detect_faces(photo)[0]["box"]
face = Image.fromarray(photo[y : y + high, x : x + wide]).convert("L").resize((48, 48))
pixels = np.asarray(face, np.float32)[None, :, :, None] / 255
print(keras.models.load_model(sys.argv[2]).predict(pixels, verbose=0).argmax())
"""
FER = """
import sys
import cv2
from fer.fer import FER
print(FER().detect_emotions(cv2.imread(sys.argv[1])))
"""
PEAK = """
from pathlib import Path
def peak():  # in MB; not ru_maxrss, which begins with the parent's
    return float(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0]) / 1000
"""
FILLING = """
import sys
import numpy as np
from ferembed import Embedder
rng = np.random.default_rng(0)
faces = (rng.integers(0, 256, (48, 48), dtype=np.uint8) for _ in range(int(sys.argv[2])))
done, told = 0, 0
for part in Embedder("mini-vgg", store=sys.argv[1]).stream(faces):
    done += part.computed
    if done >= told:
        told += 20_000
        print(done, peak())
print(done, peak())
"""


def run(*arguments: str | Path, python: str = sys.executable, **environment: str) -> str:
    """The output of a new process."""
    return subprocess.run(
        [python, *map(str, arguments)],
        check=True,
        capture_output=True,
        text=True,
        env={**os.environ, **environment},
    ).stdout


def network(
    name: str, engine: str, batches: Sequence[int], goals: Sequence[str], rounds: int, faces: int
) -> Callable[[Bench], Row]:
    """A row of a network, against Keras' `predict` at the best of these batch sizes.

    Each round sees `faces` of its own, out of PublicTest, on which neither network has learned.
    """

    def measure(bench: Bench) -> Row:
        kind = KINDS[engine]
        ours, model, weights = _load_pair(bench, name, engine)
        data = bench.faces.split("validation")
        order = np.random.default_rng(0).permutation(len(data))[: rounds * faces]
        pixels = [open_source(data.images[i]).image() for i in order]
        parts = [pixels[i : i + faces] for i in range(0, len(pixels), faces)]
        prepared = [ours.preprocess(part) for part in parts]

        seconds = {
            size: _seconds(partial(model.predict, prepared[0], size, verbose=0)) for size in batches
        }
        size = min(seconds, key=lambda size: seconds[size])
        (vectors, reference), (by_us, by_them, by_products) = _embed_in_turns(
            bench, ours, partial(model.predict, batch_size=size, verbose=0), prepared, kind
        )
        norms = np.linalg.norm(vectors, axis=1) * np.linalg.norm(reference, axis=1)
        alike = (vectors * reference).sum(axis=1)[norms > 0] / norms[norms > 0]
        flops = 2 * multiplications(model) * faces
        rates = [flops / s / 1e9 for s in by_us]
        limits = [gigaflops(s) for s in by_products]
        pairs = zip(rates, limits, strict=True)
        labels = data.labels[order]
        return Row(
            what=f"embed {len(vectors):,} faces with {name}, {kind}, {faces} a round",
            against=f"Keras predict on the same graph, batch {size}",
            seconds_ours=by_us,
            seconds_theirs=by_them,
            goals=goals,
            facts={
                "faces_per_second": faces / statistics.median(by_us),
                "gflops": statistics.median(rates),
                "matrix_gflops": statistics.median(limits),
                "share_of_matrix_rate": statistics.median(rate / limit for rate, limit in pairs),
                "difference": float(np.abs(vectors - reference).max()),
                "cosine": float(alike.min()),
                "accuracy_points_lost": _points_lost(reference, vectors, labels),
                "weights": "random" if weights else "those that ship",
            },
        )

    return measure


def _load_pair(bench: Bench, name: str, engine: str) -> tuple[Any, Any, str | None]:
    """Our network and Keras' model of the same layer and weights, "random" if none ship."""
    import keras

    spec = BACKBONES[name]
    weights = None if spec.weights and spec.weights.find() else "random"
    if engine == "openvino-int8":
        Embedder(name, weights=weights).quantize(bench.faces.split("train").images)
    ours = load_backbone(LoadRequest(name, weights=weights, engine=engine))
    exact: Any = load_backbone(LoadRequest(name, weights=weights, engine="keras"))
    layer = exact.model.get_layer(spec.layers[0][0])
    return ours, keras.Model(exact.model.inputs[0], layer.output), weights


def _embed_in_turns(
    bench: Bench, ours: Any, predict: Callable[[Any], Any], prepared: Sequence[Any], kind: str
) -> tuple[list[Any], Sequence[Sequence[float]]]:
    """The vectors by both networks, and the seconds of each and of matrix products.

    The rounds see the prepared inputs in order, after one that warms up on the first.
    """
    found: list[list[Any]] = [[], []]

    def by_ours(turn: Iterator[Any]) -> None:
        batch = next(turn)
        parts = [batch[i : i + BATCH] for i in range(0, len(batch), BATCH)]
        found[0].append(np.concatenate([ours.checked_forward(part) for part in parts]))

    def by_keras(turn: Iterator[Any]) -> None:
        found[1].append(predict(next(turn)))

    turns = [iter([prepared[0], *prepared]) for _ in range(2)]
    seconds = bench.rounds(
        partial(by_ours, turns[0]),
        partial(by_keras, turns[1]),
        matrix_products("float32" if kind == "float32" else "bfloat16"),
        times=len(prepared),
    )
    return [np.concatenate(some[1:]) for some in found], seconds


def _points_lost(exact: Any, rounded: Any, labels: Any) -> float:
    """By how much a head of the exact vectors, fitted on half of them, does worse on the others."""
    half = len(labels) // 2
    head = HEADS["softmax"].make().set_params(C=0.01).fit(exact[:half], labels[:half])
    scores = [head.score(vectors[half:], labels[half:]) for vectors in (exact, rounded)]
    return 100 * float(scores[0] - scores[1])


def _seconds(action: Callable[[], object]) -> float:
    return min(Bench.rounds(action, times=2)[0])


EXACT, ROUNDED = "difference <= 1e-4", ["cosine >= 0.9999", "accuracy_points_lost <= 0.2"]
SHARE = "share_of_matrix_rate >= 0.8"
for _name, _batches, _rounds, _faces, _times in (
    ("vggface2-resnet50", [32], 8, 128, (2.5, 5)),
    ("mini-vgg", [32, 64, 128, 256], 7, 512, (1.8, 3)),
    ("cnn-f", [32, 64, 128, 256], 7, 512, (1.8, 3)),
):
    _exact = [f"ratio >= {_times[0]}", EXACT, *([SHARE] if _faces == 128 else [])]
    _rounded = [f"ratio >= {_times[1]}", *ROUNDED]
    row(_name)(network(_name, "openvino", _batches, _exact, _rounds, _faces))
    row(f"{_name}-bf16")(network(_name, "openvino-bf16", _batches, _rounded, _rounds, _faces))

    if importlib.util.find_spec("nncf"):
        _small = ["accuracy_points_lost <= 0.5", *(["ratio >= 8"] if _faces == 128 else [])]
        row(f"{_name}-int8")(network(_name, "openvino-int8", _batches, _small, _rounds, _faces))


@row("stages")
def stages(bench: Bench) -> Row:
    """The CPU seconds of each stage of a cold embed."""
    data = bench.faces.split("train")
    images = [data.images[i] for i in range(2048)]
    backbone = load_backbone(LoadRequest("fer-mobilenet"))
    store = DiskStore(bench.scratch / "one-by-one.sqlite")
    recipe = Embedder("fer-mobilenet").recipe
    used: dict[str, list[float]] = {}

    def took(stage: str, action: Callable[[], Any]) -> Any:
        started = time.process_time()
        answer = action()
        used.setdefault(stage, []).append(time.process_time() - started)
        return answer

    def known(some: Any, missing: list[int]) -> list[tuple[list[int], Any]]:
        return [(missing, some[missing])]

    def one_by_one() -> None:
        store.prune()
        opened = took("reading", lambda: [open_source(image) for image in images])
        keys = took("digests", lambda: [one.digest() for one in opened])
        pixels = took("decoding", lambda: [one.image() for one in opened])
        starts = range(0, len(images), BATCH)
        batches = took(
            "preprocessing", lambda: [backbone.preprocess(pixels[i : i + BATCH]) for i in starts]
        )
        vectors = took("network", lambda: [backbone.checked_forward(batch) for batch in batches])

        def keep() -> None:
            for i, some in zip(starts, vectors, strict=True):
                store.fetch(recipe, keys[i : i + BATCH], partial(known, some))

        took("storing", keep)

    numbers = count()

    def embed() -> None:
        Embedder("fer-mobilenet", store=bench.scratch / f"{next(numbers)}.sqlite").transform(images)

    ours, theirs = bench.rounds(embed, one_by_one)
    whole = sum(map(statistics.median, used.values()))
    shares = {
        f"share_of_{stage}": statistics.median(seconds) / whole for stage, seconds in used.items()
    }
    return Row(
        what="embed 2,048 faces of a zip with fer-mobilenet, empty store",
        against="the same stages one after the other",
        seconds_ours=ours,
        seconds_theirs=theirs,
        goals=[f"{name} <= 0.15" for name in shares if name != "share_of_network"],
        facts=shares,
    )


@row("warm-store")
def warm_store(bench: Bench) -> Row:
    data = bench.faces.split("train")
    numbers = count()
    number = 0

    def embedder() -> Embedder:
        return Embedder("fer-mobilenet", store=bench.scratch / f"{number}.sqlite")

    def first() -> None:
        nonlocal number
        number = next(numbers)
        embedder().transform(data.images)

    def second() -> None:
        assert embedder().embed(data.images).computed == 0

    theirs, ours = bench.rounds(first, second, warm=0)
    pictures = sum(open_source(image).nbytes for image in data.images)
    seconds = statistics.median(ours)
    read = (pictures + 4 * embedder().recipe.dim * len(data)) / seconds / 1e6
    return Row(
        what=f"embed {len(data):,} faces of a zip with fer-mobilenet, all in the store",
        against="the first run",
        seconds_ours=ours,
        seconds_theirs=theirs,
        goals=["ratio >= 100", "share_of_page_cache_rate >= 0.6"],
        facts={
            "microseconds_per_face": 1e6 * seconds / len(data),
            "read_mb_per_s": read,
            "share_of_page_cache_rate": read / page_cache_rate(bench.data),
        },
    )


@row("growth-embed")
def growth_embed(bench: Bench) -> Row:
    """Real faces, and beyond those copies of them whose lowest bits are changed."""
    data = bench.faces.split("train")
    real = [open_source(image).image()[:, :, 0] for image in data.images]
    numbers = count()
    filled: dict[int, Path] = {}

    def fill(size: int, store: Path) -> None:
        faces = (real[i % len(real)] ^ np.uint8(i // len(real)) for i in range(size))
        Embedder("mini-vgg", store=store).warm_store(faces)

    def first(size: int) -> Callable[[], object]:
        def action() -> None:
            filled[size] = bench.scratch / f"{next(numbers)}.sqlite"
            fill(size, filled[size])

        return action

    embedded = growth(first, patience=300)
    again = growth(lambda size: partial(fill, size, filled[size]), list(filled))
    return Row(
        what="growth of embedding with mini-vgg: into a new store, and again from it",
        against="",
        seconds_ours=list(embedded["seconds"].values()),
        facts={"embed": embedded, "embed again": again},
    )


def page_cache_rate(path: Path) -> float:
    """Megabytes a second that a file is read with that was read just before."""
    size = path.stat().st_size
    return size / _seconds(path.read_bytes) / 1e6


@row("one-face")
def one_face(bench: Bench) -> Row:
    """A face of 48x48 in memory, with what ships, and with the reference's own parts."""
    from sklearn.ensemble import RandomForestClassifier

    data = bench.faces.split("train")
    some = [open_source(data.images[i]).image() for i in range(0, len(data), len(data) // 2000)]
    labels = data.labels[:: len(data) // 2000]
    names = "fast", "default", "accurate"
    fast, default, accurate = (Pipeline.load(name, store="none") for name in names)
    same = Pipeline("cnn-f", "forest", weights="random", store="none").fit(some, labels)
    reference: Any = load_backbone(LoadRequest("cnn-f", weights="random", engine="keras"))
    import keras

    model = keras.Model(reference.model.inputs[0], reference.model.get_layer("dense1").output)
    forest = RandomForestClassifier(n_estimators=300, random_state=0)
    forest.fit(model.predict(reference.preprocess(some), verbose=0), labels)
    face = some[0]

    def by_keras() -> None:
        forest.predict_proba(model.predict(reference.preprocess([face]), verbose=0))

    ours, larger, largest, parts, theirs = bench.rounds(
        lambda: fast.predict_proba([face]),
        lambda: default.predict_proba([face]),
        lambda: accurate.predict_proba([face]),
        lambda: same.predict_proba([face]),
        by_keras,
        times=100,
        warm=10,
    )
    return Row(
        what="predict one face, model fast in memory",
        against="Keras predict with cnn-f, then scikit-learn's forest of 300 trees",
        seconds_ours=ours,
        seconds_theirs=theirs,
        goals=["ratio >= 20", "seconds <= 0.002"],
        facts={
            "seconds_of_the_default_model": statistics.median(larger),
            "seconds_of_the_accurate_model": statistics.median(largest),
            "seconds_with_cnn_f_and_forest": statistics.median(parts),
        },
    )


@row("cold-predict")
def cold_predict(bench: Bench) -> Row:
    """Whole processes, from `python` to the printed answer.

    $FER_PYTHON may name the Python of an environment that has the package fer, which needs another
    OpenCV than ours. deepface cannot run offline: it fetches its weights when it first runs.
    """
    reference: Any = load_backbone(LoadRequest("cnn-f", weights="random", engine="keras"))
    reference.model.save(bench.scratch / "model.keras")
    predict: list[str | Path] = [
        "-m",
        "ferembed.cli",
        "predict",
        photo(),
        "--store",
        "none",
        "--detector",
    ]
    actions = [
        lambda: run(*predict, "haar"),
        lambda: run("-c", SCRIPT, photo(), bench.scratch / "model.keras", TF_CPP_MIN_LOG_LEVEL="3"),
        lambda: run(*predict, "mtcnn"),
    ]
    if "FER_PYTHON" in os.environ:
        actions.append(lambda: run("-c", FER, photo(), python=os.environ["FER_PYTHON"]))
    ours, theirs, *others = bench.rounds(*actions)
    facts = {}
    for name, seconds in zip(("ferembed_with_mtcnn", "fer"), others, strict=False):
        facts[f"seconds_of_{name}"] = statistics.median(seconds)
        pairs = zip(seconds, ours, strict=True)
        facts[f"times_ours_of_{name}"] = statistics.median(other / us for other, us in pairs)
    return Row(
        what="ferembed predict photo.jpg --detector haar, new process",
        against="a script with TensorFlow, the mtcnn package and Keras",
        seconds_ours=ours,
        seconds_theirs=theirs,
        goals=["ratio >= 5", "seconds <= 1"],
        facts=facts,
    )


@row("mtcnn")
def mtcnn(bench: Bench) -> Row:
    """The matplotlib portrait and its mirror image, side by side."""
    import cv2
    from mtcnn import MTCNN

    from ferembed.faces.mtcnn_openvino import Cascade

    portrait = cv2.resize(load_image(photo()), (615, 720), interpolation=cv2.INTER_AREA)
    both = np.concatenate([portrait, portrait[:, ::-1]], axis=1)
    wide: Any = cv2.copyMakeBorder(both, 0, 0, 25, 25, cv2.BORDER_REPLICATE)
    ours, theirs = Cascade(), MTCNN()
    found: dict[str, Any] = {}

    def by_package() -> None:
        found["theirs"] = theirs.detect_faces(wide, output_type="numpy", box_format="xyxy")[:, 1:]

    def by_us() -> None:
        found["ours"] = ours(wide)

    fast, slow = bench.rounds(by_us, by_package, times=9)
    same = found["ours"].shape == found["theirs"].shape
    return Row(
        what=f"detect faces in a photo of {wide.shape[1]}x{wide.shape[0]}",
        against="the package mtcnn",
        seconds_ours=fast,
        seconds_theirs=slow,
        goals=["ratio >= 3", "pixels_apart <= 0.5"],
        facts={
            "faces": len(found["ours"]),
            "pixels_apart": float(np.abs(found["ours"][:, :4] - found["theirs"][:, :4]).max())
            if same
            else float("inf"),
        },
    )


@row("memory")
def memory(bench: Bench) -> Row:
    """The most that a process held while so many faces went through it."""
    bare = float(run("-c", f"{PEAK}\nprint(peak())"))
    started = time.perf_counter()
    lines = run("-c", PEAK + FILLING, bench.scratch / "store.sqlite", "200000").splitlines()
    seconds = time.perf_counter() - started
    peaks = {int(done): float(megabytes) for done, megabytes in map(str.split, lines)}
    early = next(peak for done, peak in peaks.items() if done >= 20_000)
    return Row(
        what="embed a stream of 200,000 faces into the store with mini-vgg",
        against="",
        seconds_ours=[seconds],
        goals=["megabytes <= 1000", "megabytes_grown <= 50"],
        facts={
            "megabytes": peaks[200_000] - bare,
            "megabytes_grown": peaks[200_000] - early,  # after the first 20,000
        },
    )


@row("import")
def importing(bench: Bench) -> Row:
    ours, bare = bench.rounds(
        lambda: run("-c", "import ferembed"), lambda: run("-c", "pass"), times=15
    )
    return Row(
        what="python -c 'import ferembed', new process",
        against="",
        seconds_ours=ours,
        goals=["seconds <= 0.15", "megabytes <= 60"],
        facts={
            "seconds_of_python_alone": statistics.median(bare),
            "megabytes": float(run("-c", f"import ferembed\n{PEAK}\nprint(peak())")),
        },
    )
