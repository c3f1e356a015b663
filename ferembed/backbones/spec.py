"""BackboneSpec: the facts about a backbone; LoadRequest: one way to load it."""

from __future__ import annotations

import glob
import hashlib
import json
import re
import shlex
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

from ferembed._progress import Progress
from ferembed.backbones.backbone import Backbone
from ferembed.backbones.precision import Precision, recorded_precision
from ferembed.backbones.preprocess import Preprocess
from ferembed.errors import ModelError, UnknownName, WeightsError
from ferembed.inference.engines import choose_engine
from ferembed.registry import Registry, unknown_name_message
from ferembed.storage.folders import cache_folder
from ferembed.storage.weights import DownloadableWeights, Weights, read_weights, sha256_of

DRAWN_WEIGHTS = re.compile(r"random(?::(\d{0,18}))?")  # "random" or "random:SEED"
_MOST_CLASSES = 1000
NETWORK = "network.xml"  # the file of a network in OpenVINO's format; its weights are beside it


@dataclass(frozen=True, kw_only=True)
class BackboneSpec:
    """The facts about a backbone, known without loading it."""

    name: str
    summary: str
    preprocess: Preprocess
    layers: tuple[tuple[str, int], ...]  # usable as the embedding, with sizes; default first
    load: Callable[[LoadRequest], Backbone]
    parameters: int
    weights: Weights | None = None  # None if the user has to provide or train them
    onnx: Weights | None = None  # the same weights as an ONNX graph, for OpenVINO
    revision: int = 1  # increased when the same weights give different vectors
    build: Callable[..., Any] | None = None  # -> keras.Model; build(4) has four classes
    classifier: str | None = None  # the layer with one value per class; None if there is none
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
    """One way to load a backbone; `weights` is None (its own), a path, or "random[:seed]"."""

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
        """The seed of random weights; None if the weights are not random."""
        drawn = DRAWN_WEIGHTS.fullmatch(self.weights or "")
        return int(drawn[1] or 0) if drawn else None

    @property
    def dim(self) -> int:
        """The number of values in a vector."""
        dim = self.spec.dim(self.layer)
        layer = self.layer or self.spec.layers[0][0]
        return self.classes if layer == self.spec.classifier else dim

    @property
    def classes(self) -> int:
        """The number of classes that the weights were trained for."""
        classifier = self.spec.classifier
        if classifier is None:
            raise WeightsError(f"{self.name} has no classifier.")
        if self.weights is not None and self.seed is None:
            bias = f"{classifier}/bias"
            for found in read_weights(self.weights_path(), bias).values():
                if found.ndim == 1 and len(found) <= _MOST_CLASSES:
                    return len(found)
                raise WeightsError(
                    f"{self.weights} is not a file of weights for {self.name}: its {bias} has the "
                    f"shape {found.shape}; it has a number for each of up to {_MOST_CLASSES:,} "
                    "classes."
                )
        return self.spec.dim(classifier)

    def weights_path(self) -> Path:
        """The checked file of weights."""
        if self.weights is not None:
            path = Path(self.weights)
            if not path.is_file():
                raise WeightsError(
                    f"There is no file of weights at {path}. Give the path of weights trained or "
                    f"published for {self.name}, or 'random' for an untrained network."
                )
            return path
        if self.spec.weights is None:
            raise WeightsError(
                f"No trained weights ship for {self.name}. Give weights=PATH, an .npz file that "
                "training wrote, or weights='random' for an untrained network."
            )
        return self.spec.weights.path()

    def facts(self) -> dict[str, object]:
        """Every fact that changes a vector."""
        weights: str | None
        if self.seed is not None:
            weights = f"random:{self.seed}"
        elif self.weights is not None:
            weights = sha256_of(self.weights_path())
        else:  # None for a backbone without weights, and for one that cannot be loaded
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
    def precision(self) -> Precision | None:
        """The record about this network in reduced precision; None for weights of others."""
        spec = self.spec
        own = self.weights is None and self.preprocess in (None, spec.preprocess)
        return recorded_precision(spec.name, spec.onnx.sha256) if own and spec.onnx else None

    @property
    def chosen_engine(self) -> str:
        """The engine that runs the network on this machine."""
        ships = self.weights is None and self.spec.onnx is not None
        agreement = self.precision.agreement if self.precision else {}
        return choose_engine(self.engine, ships, agreement)

    @property
    def precision_tag(self) -> str | None:
        """The reduced precision of the engine and its calibration; None in full precision."""
        engine = self.engine
        if engine == "auto" and self.precision:
            engine = self.chosen_engine
        if engine == "openvino-int8" and self.spec.build is not None:
            file = self.quantized_file()
            if file.name == NETWORK:  # in a folder named by its calibration
                return file.parent.name
            return f"{file.stem}-{sha256_of(file.with_suffix('.bin'))[:16]}"
        return "bf16" if engine == "openvino-bf16" else None

    def quantized_file(self) -> Path:
        """The INT8 network: the latest that the user calibrated, else the one that ships."""
        made = self.cache_path("*")
        pattern = glob.escape(made.name[:-1]) + "*"
        files = [folder / NETWORK for folder in made.parent.glob(pattern)]
        whole = [file for file in files if file.exists()]
        if whole:
            return max(whole, key=lambda file: file.stat().st_mtime_ns)
        if self.precision and self.precision.int8 and self.spec.onnx:
            for file, sha256 in self.precision.int8.items():
                path = replace(self.spec.onnx, file=file, sha256=sha256).path()
            return path.with_suffix(".xml")
        which = f"--backbone {self.name}"
        if self.weights is not None:
            which += f" --weights {shlex.quote(self.weights)}"
        raise WeightsError(
            f"{self.name} is not ready for the engine 'openvino-int8': it must be calibrated "
            f"first. Run once: ferembed quantize FACES {which}, or --model MODEL for all "
            "networks of a model."
        )

    def cache_path(self, faces: str = "") -> Path:
        """The folder in the cache for OpenVINO's network, or for its INT8 version by `faces`."""
        facts = self.facts()
        made_of = {key: facts[key] for key in ("backbone", "revision", "weights")}
        made_of["layers"] = [layer for layer, _ in self.spec.layers]
        if faces:
            made_of["preprocess"] = facts["preprocess"]
            faces = f"-int8-{faces}"
        return cache_folder() / "networks" / f"{self.name}-{fingerprint(made_of)[:16]}{faces}"


def fingerprint(facts: dict[str, object]) -> str:
    """A hash of the facts: equal facts have equal hashes."""
    text = json.dumps(facts, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


BACKBONES: Registry[BackboneSpec] = Registry("backbone")
DEFAULT_BACKBONE = "fer-mobilenet"  # if none is named; the network of the model "default"


def load_backbone(request: LoadRequest) -> Backbone:
    """The backbone; loaded once per process, and again if its weights or calibration changed."""
    return _load(request, fingerprint({**request.facts(), "rounding": request.precision_tag}))


def fetch_weights(
    name: str,
    source: Path | None = None,
    progress: Progress = lambda done, total: None,
) -> Path:
    """The path of a backbone's weights, downloaded or copied from `source` if necessary."""
    spec = BACKBONES[name]
    if not isinstance(spec.weights, DownloadableWeights):
        if source is not None:
            raise WeightsError(f"The weights of {name} are not published as a file to copy.")
        return LoadRequest(name).weights_path()  # or an error that says what to do

    def check(path: Path) -> None:
        spec.load(LoadRequest(name, weights=str(path), engine="keras"))

    return spec.weights.fetch(source, check, progress)


@lru_cache(maxsize=8)
def _load(request: LoadRequest, facts: str) -> Backbone:
    return request.spec.load(request)
