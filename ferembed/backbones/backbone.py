"""Backbone: faces -> vectors; BackboneSpec: the facts about one, known without loading it."""

from __future__ import annotations

import glob
import hashlib
import json
import shlex
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import lru_cache
from itertools import islice
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from ferembed._progress import Progress
from ferembed.backbones.preprocess import Preprocess
from ferembed.errors import ModelError, UnknownName, WeightsError
from ferembed.images import Image
from ferembed.registry import Registry, unknown_name_message
from ferembed.storage.folders import cache_folder
from ferembed.storage.weights import DownloadableWeights, Weights, read_weights, sha256_of

NETWORK = "network.xml"  # of a folder that holds a network for OpenVINO; its numbers lie beside it
Vectors: TypeAlias = NDArray[np.float32]


class Backbone(ABC):
    """Turns faces into vectors. A new kind writes `forward` alone.

    >>> class Brightness(Backbone):
    ...     def forward(self, batch):
    ...         return batch.mean(axis=(1, 2))
    >>> Brightness(Preprocess(size=8), dim=1).embed([np.full((9, 9, 3), 255, np.uint8)])
    array([[1.]], dtype=float32)
    """

    def __init__(self, preprocess: Preprocess, dim: int) -> None:
        self.preprocess = preprocess
        self.dim = dim

    @abstractmethod
    def forward(self, batch: Vectors) -> Vectors:
        """(n, dim) from the (n, size, size, channels) that `preprocess` made."""

    def embed(self, faces: Iterable[Image], batch_size: int = 64) -> Vectors:
        """(n, dim) float32, a row per face; a face alone gives what it gives among others.

        The faces are drawn one by one and shrunk at once, so that a batch of large ones fits.
        """
        batches = [np.empty((0, self.dim), np.float32)]
        faces = iter(faces)
        while len(batch := self.preprocess(islice(faces, batch_size))):
            batches.append(self.checked_forward(batch))
        return np.concatenate(batches)

    def checked_forward(self, batch: Vectors) -> Vectors:
        """What `forward` gives for a batch, checked."""
        vectors = self.forward(batch)
        if vectors.shape != (len(batch), self.dim):
            raise WeightsError(
                f"{type(self).__name__} gave vectors of the shape {vectors.shape}, "
                f"expected {(len(batch), self.dim)}."
            )
        if not np.isfinite(vectors).all():
            raise WeightsError(
                f"{type(self).__name__} gave NaN or infinite values: its weights are damaged."
            )
        return np.asarray(vectors, np.float32)


@dataclass(frozen=True)
class BackboneSpec:
    """What is known about a backbone without loading it."""

    name: str
    summary: str
    preprocess: Preprocess
    layers: tuple[tuple[str, int], ...]  # that can be the embedding, with sizes; default first
    load: Callable[[LoadRequest], Backbone]
    parameters: int
    weights: Weights | None = None  # None: none ship, the user brings or trains them
    onnx: Weights | None = None  # the same weights as an ONNX graph, for the fast engine
    revision: int = 1  # raised when the same weights begin to give other vectors
    build: Callable[..., Any] | None = None  # -> keras.Model, of so many classes: build(4)
    classifier: str | None = None  # the layer of a value per class; None: build takes no classes
    # The names and classes of the label sets that share that layer, in the order of its columns.
    label_sets: tuple[tuple[str, tuple[str, ...]], ...] = ()

    def label_columns(self, label_set: str | None = None) -> tuple[slice, tuple[str, ...]]:
        """The columns and the classes of a label set of the classifier; None: of the first."""
        names = [name for name, _ in self.label_sets]
        label_set = label_set or names[0]
        if label_set not in names:
            raise UnknownName(unknown_name_message(f"label set of {self.name}", label_set, names))
        place = names.index(label_set)
        start = sum(len(classes) for _, classes in self.label_sets[:place])
        classes = self.label_sets[place][1]
        return slice(start, start + len(classes)), classes

    def dim(self, layer: str | None = None) -> int:
        """The size of a vector taken at the layer."""
        sizes = dict(self.layers)
        layer = layer or self.layers[0][0]
        if layer not in sizes:
            raise UnknownName(unknown_name_message(f"layer of {self.name}", layer, list(sizes)))
        return sizes[layer]


@dataclass(frozen=True)
class LoadRequest:
    """One way to load a backbone. `weights`: None (what ships), a path, or "random[:seed]"."""

    name: str
    layer: str | None = None
    weights: str | None = None
    preprocess: Preprocess | None = None
    engine: str = "auto"

    def __post_init__(self) -> None:
        if not isinstance(self.preprocess, (Preprocess, type(None))):
            raise ModelError(f"preprocess is {self.preprocess!r}; it is a Preprocess, or None.")

    @property
    def spec(self) -> BackboneSpec:
        return BACKBONES[self.name]

    @property
    def seed(self) -> int | None:
        """The seed, where the weights are to be drawn at random."""
        kind, _, seed = (self.weights or "").partition(":")
        return int(seed or 0) if kind == "random" and (seed or "0").isdigit() else None

    @property
    def dim(self) -> int:
        """The size of a vector."""
        dim = self.spec.dim(self.layer)
        layer = self.layer or self.spec.layers[0][0]
        return self.classes if layer == self.spec.classifier else dim

    @property
    def classes(self) -> int:
        """How many classes the network tells apart: as many as its weights were trained for."""
        classifier = self.spec.classifier
        if classifier is None:
            raise WeightsError(f"{self.name} tells no classes apart: it has no classifier.")
        if self.weights is not None and self.seed is None:
            bias = f"{classifier}/bias"
            for found in read_weights(self.weights_path(), bias).values():
                if found.ndim == 1:
                    return len(found)
        return self.spec.dim(classifier)

    def weights_path(self) -> Path:
        """The checked file of weights."""
        if self.weights is not None:
            path = Path(self.weights)
            if not path.is_file():
                raise WeightsError(
                    f"There is no file of weights at {path}. Give the path of one that training "
                    f"{self.name} wrote or that is published for it, or 'random' for an untrained "
                    "network."
                )
            return path
        if self.spec.weights is None:
            raise WeightsError(
                f"No trained weights ship for {self.name}. Give weights=PATH of an .npz that "
                "training it wrote, or weights='random' for an untrained network."
            )
        return self.spec.weights.path()

    def facts(self) -> dict[str, object]:
        """Every fact that changes a vector."""
        weights: str | None
        if self.seed is not None:
            weights = f"random:{self.seed}"
        elif self.weights is not None:
            weights = sha256_of(self.weights_path())
        else:  # None where nothing ships: a backbone without weights, or one that will not load
            weights = self.spec.weights.digest if self.spec.weights else None
        layer = self.layer or self.spec.layers[0][0]
        return {
            "backbone": self.name,
            "revision": self.spec.revision,
            "layer": layer,
            "dim": self.dim,
            "weights": weights,
            "preprocess": (self.preprocess or self.spec.preprocess).facts(),
        }

    @property
    def precision_tag(self) -> str | None:
        """What the engine rounds numbers to, and by which ranges; None where it is exact."""
        if self.engine == "openvino-int8" and self.spec.build is not None:
            return self.quantized_path().name
        return "bf16" if self.engine == "openvino-bf16" else None

    def quantized_path(self) -> Path:
        """The folder of the network in integers; of several the one that was made last."""
        made = self.cache_path("*")
        pattern = glob.escape(made.name[:-1]) + "*"
        files = [folder / NETWORK for folder in made.parent.glob(pattern)]
        whole = [file for file in files if file.exists()]
        if not whole:
            which = f"--backbone {self.name}"
            if self.weights is not None:
                which += f" --weights {shlex.quote(self.weights)}"
            raise WeightsError(
                f"{self.name} is not ready for the engine 'openvino-int8': faces must tell the "
                f"ranges of its numbers first. Run once: ferembed quantize FACES {which}, or "
                "--model MODEL for all networks of a model."
            )
        return max(whole, key=lambda file: file.stat().st_mtime_ns).parent

    def cache_path(self, faces: str = "") -> Path:
        """The cache's folder for the network as OpenVINO reads it, or quantized by those faces."""
        facts = self.facts()
        made_of = {key: facts[key] for key in ("backbone", "revision", "weights")}
        made_of["layers"] = [layer for layer, _ in self.spec.layers]
        if faces:
            made_of["preprocess"] = facts["preprocess"]
            faces = f"-int8-{faces}"
        return cache_folder() / "networks" / f"{self.name}-{fingerprint(made_of)[:16]}{faces}"


def fingerprint(facts: dict[str, object]) -> str:
    """A hash that two sets of facts share exactly when they are equal."""
    text = json.dumps(facts, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


BACKBONES: Registry[BackboneSpec] = Registry("backbone")


def load_backbone(request: LoadRequest) -> Backbone:
    """The backbone, loaded once per process and again when its weights or ranges have changed."""
    return _load(request, fingerprint({**request.facts(), "rounding": request.precision_tag}))


def fetch_weights(
    name: str,
    source: Path | None = None,
    progress: Progress = lambda done, total: None,
) -> Path:
    """The weights of a backbone, fetched from where they are published, or from `source`."""
    spec = BACKBONES[name]
    if not isinstance(spec.weights, DownloadableWeights):
        if source is not None:
            raise WeightsError(f"The weights of {name} are not published as a file to copy.")
        return LoadRequest(name).weights_path()  # or why there are none, and what to do

    def check(path: Path) -> None:
        spec.load(LoadRequest(name, weights=str(path), engine="keras"))

    return spec.weights.fetch(source, check, progress)


@lru_cache(maxsize=8)
def _load(request: LoadRequest, facts: str) -> Backbone:
    return request.spec.load(request)
