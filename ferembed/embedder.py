"""Embedder: a scikit-learn transformer from images to vectors, (n, d) float32."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import chain, compress, islice
from pathlib import Path
from typing import Any, TypeAlias, TypeVar

import numpy as np
from numpy.typing import NDArray

from ferembed._estimator import Estimator
from ferembed._prefetch import prefetch_map, prefetch_when_slow
from ferembed._progress import Progress
from ferembed.backbones import (
    DEFAULT_BACKBONE,
    Backbone,
    LoadRequest,
    fingerprint,
    load_backbone,
    quantize,
)
from ferembed.backbones.preprocess import Preprocess
from ferembed.errors import ImageError, ModelError, WeightsError
from ferembed.images import MAX_PIXELS, Image, LoadedSource, Source, open_source, source_name
from ferembed.storage.arrays import write_arrays
from ferembed.storage.embeddings import EmbeddingSpec, EmbeddingStore, Fetched, Vectors
from ferembed.storage.files import atomic_write

T = TypeVar("T")
OneOrList: TypeAlias = T | Sequence[T]
See: TypeAlias = Callable[[int, LoadedSource], None]

BATCH = 64  # images computed and stored together; an interruption loses at most one batch
_READ = 32  # files that a thread reads at a time
_CHUNK = 512  # images looked up in the store together,
_CHUNK_BYTES = 64 << 20  # or fewer, up to this size
_CALIBRATION = 300  # faces that calibrate an INT8 network
_EPSILON = 1e-10


@dataclass(frozen=True)
class Failure:
    """An image that could not be used: its position, its name and the reason."""

    position: int
    name: str
    reason: str


@dataclass(frozen=True, kw_only=True)
class Embedded:
    """The vectors of the images at `positions`; images that failed are in `failures`.

    `digests` are those of the content of the images, one for each vector.
    """

    vectors: Vectors
    positions: NDArray[np.intp]
    digests: tuple[bytes, ...] = ()
    failures: tuple[Failure, ...] = ()
    hits: int = 0  # vectors found in the store; joined vectors are counted separately
    computed: int = 0
    damaged: int = 0  # damaged vectors in the store that were computed again
    duplicates: int = 0  # of images that came more than once and were computed once
    unstored: int = 0  # computed vectors that the store could not take

    def rows(self, count: int) -> Vectors:
        """(count, d): a row for each of `count` images, with NaN where an image failed."""
        rows = np.full((count, self.vectors.shape[1]), np.nan, np.float32)
        rows[self.positions] = self.vectors
        return rows

    def save(self, path: str | os.PathLike[str], images: Sequence[Source]) -> None:
        """Write the vectors and the names of their images to an .npz."""
        names = np.array([source_name(images[i]) for i in self.positions])
        with atomic_write(Path(path)) as unfinished:
            write_arrays(unfinished, {"vectors": self.vectors, "names": names}, packed=False)


class Embedder(Estimator):
    """Turns faces into vectors. Vectors that were computed before are read from the store.

    >>> faces = np.zeros((2, 48, 48), np.uint8)
    >>> Embedder("cnn-a", weights="random", store="memory").transform(faces).shape
    (2, 64)

    Lists of parameters join the vectors of several networks. Each is stored separately.

    >>> both = Embedder("cnn-a", layer=["dense1", "dense2"], weights="random", store="memory")
    >>> both.transform(faces).shape
    (2, 128)

    Parameters
    ----------
    backbone : the name of a backbone (`ferembed models` lists them), or a list of names
    layer : the layer whose output is the embedding; None for the default
    weights : None for those that ship or were downloaded, the path of a file, "random" or
        "random:SEED"
    preprocess : a Preprocess instead of the backbone's own
        (these three: one value for all backbones, or a list with one for each)
    normalize : scale each backbone's vector to unit length
    mirror_average : average the vectors of each face and its mirror image; twice as slow
    store : "disk" for the user's cache, "memory", "none", or the path of a file
    engine : "exact", "openvino" or "keras", which give the same vectors; "openvino-bf16", twice as
        fast on CPUs with bfloat16; "openvino-int8", faster still on most CPUs, for networks that
        ship in INT8 or after a call of `quantize`; "auto", the fastest of them that gives at least
        99.9 % of the validation faces the label of "exact". Vectors of a reduced precision are
        stored separately
    max_pixels : larger pictures are refused before they are decoded
    progress : is called with how many images are done, and of how many (None if unknown), such as
        a `ProgressBar()`
    """

    _sklearn_mixin = "TransformerMixin"

    def __init__(
        self,
        backbone: OneOrList[str] = DEFAULT_BACKBONE,
        *,
        layer: OneOrList[str | None] = None,
        weights: OneOrList[str | os.PathLike[str] | None] = None,
        preprocess: OneOrList[Preprocess | None] = None,
        normalize: bool = False,
        mirror_average: bool = False,
        store: str | os.PathLike[str] | EmbeddingStore = "disk",
        engine: str = "auto",
        max_pixels: int = MAX_PIXELS,
        progress: Progress | None = None,
    ) -> None:
        self.backbone = backbone
        self.layer = layer
        self.weights = weights
        self.preprocess = preprocess
        self.normalize = normalize
        self.mirror_average = mirror_average
        self.store = store
        self.engine = engine
        self.max_pixels = max_pixels
        self.progress = progress

    def fit(self, images: Any = None, labels: Any = None) -> Embedder:
        """Do nothing, as there is nothing to fit, and return the embedder."""
        return self

    def fit_transform(self, images: Iterable[Source], labels: Any = None) -> Vectors:
        """The vectors, as `transform` gives them."""
        return self.transform(images)

    def transform(self, images: Iterable[Source]) -> Vectors:
        """(n, d) float32, a row per image. Unreadable images are an error, after all others."""
        embedded = self.embed(images)
        raise_failures(embedded)
        return embedded.vectors

    def embed(self, images: Iterable[Source], *, see: See | None = None) -> Embedded:
        """The vectors of all images that can be read, and the failures of the others.

        `see` is called with the position and the content of each image that is read, for callers
        that want more of it than the vector.
        """
        return self._joined(list(self.stream(images, see=see)))

    def stream(
        self, images: Iterable[Source], *, must_store: bool = False, see: See | None = None
    ) -> Iterator[Embedded]:
        """The same, some hundred images at a time, in bounded memory.

        A store that cannot be written to is a StoreWarning, or with `must_store` a StoreError.
        """
        _refuse_one_alone(images)
        store = self.store
        if not isinstance(store, EmbeddingStore):
            store = EmbeddingStore.open(store)
        total = len(images) if isinstance(images, (Sequence, np.ndarray)) else None
        done = 0
        for chunk, failures in _chunks(images, self.max_pixels):
            part = self._embed_chunk(store, chunk, failures, must_store)
            done += len(part.positions) + len(part.failures)
            if self.progress:
                self.progress(done, total)
            if see:
                for image in chunk:
                    see(image.position, image.content)
            yield part
        if self.progress and total is None:
            self.progress(done, done)

    def warm_store(self, images: Iterable[Source]) -> Embedded:
        """Compute the vectors into the store. The result has counts and failures, no vectors."""
        parts = self.stream(images, must_store=True)
        return self._joined([replace(part, vectors=part.vectors[:0]) for part in parts])

    def _joined(self, parts: Sequence[Embedded]) -> Embedded:
        vectors = [np.empty((0, self.recipe.dim), np.float32), *(part.vectors for part in parts)]
        return Embedded(
            vectors=np.concatenate(vectors),
            positions=np.concatenate([np.empty(0, np.intp), *(part.positions for part in parts)]),
            digests=tuple(chain.from_iterable(part.digests for part in parts)),
            failures=tuple(chain.from_iterable(part.failures for part in parts)),
            **_totals(parts),
        )

    def quantize(self, images: Sequence[Source]) -> tuple[Failure, ...]:
        """Calibrate the networks for the engine "openvino-int8" on up to 300 of these faces.

        The INT8 networks are kept in the user's cache. Faces that cannot be read are returned.
        """
        _refuse_one_alone(images)
        chosen = (
            sorted({i * len(images) // _CALIBRATION for i in range(_CALIBRATION)})
            if len(images)
            else []
        )
        failures: dict[int, Failure] = {}

        def faces() -> Iterator[Image]:
            for i in chosen:
                try:
                    yield open_source(images[i]).image(self.max_pixels)
                except ImageError as error:
                    failures[i] = Failure(i, source_name(images[i]), str(error))

        requests = dict.fromkeys(replace(request, layer=None) for request in self.requests)
        networks = [request for request in requests if request.spec.build is not None]
        try:
            for request in networks or requests:
                quantize(request, faces(), self.progress)
        except WeightsError as error:
            for failure in list(failures.values())[:1]:
                raise WeightsError(f"{error} Unusable: {failure.reason}") from None
            raise
        return tuple(failures.values())

    @property
    def recipe(self) -> EmbeddingSpec:
        """All facts that determine a vector, except for the image."""
        recipes = [self._recipe(request) for request in self.requests]
        if len(recipes) == 1:
            return recipes[0]
        dim = sum(recipe.dim for recipe in recipes)
        return _recipe({"joined": [json.loads(recipe.facts) for recipe in recipes], "dim": dim})

    @property
    def requests(self) -> list[LoadRequest]:
        """One load request for each backbone whose vectors are joined."""
        given = {name: getattr(self, name) for name in ("backbone", "layer", "weights")}
        given["preprocess"] = self.preprocess
        lengths = {name: len(value) for name, value in given.items() if is_list(value)}
        count = max(lengths.values(), default=1)
        if set(lengths.values()) - {count} or not count:
            counts = ", ".join(f"{n} of {name}" for name, n in lengths.items())
            raise ModelError(f"There are {counts}. Give one for all, or a list of one for each.")
        columns = [value if is_list(value) else [value] * count for value in given.values()]
        return [
            LoadRequest(
                backbone,
                layer,
                None if weights is None else os.fspath(weights),
                preprocess,
                self.engine,
            )
            for backbone, layer, weights, preprocess in zip(*columns, strict=True)
        ]

    @property
    def request(self) -> LoadRequest:
        """The load request of the only backbone."""
        (request,) = self.requests
        return request

    def _recipe(self, request: LoadRequest, **more: object) -> EmbeddingSpec:
        if self.mirror_average:  # under its first name, and only if set: fingerprints stay the same
            more["symmetric"] = True
        return _recipe({**request.facts(), "normalize": bool(self.normalize), **more})

    def _stored_under(self, request: LoadRequest) -> EmbeddingSpec:
        """The spec in the store. Vectors of a reduced precision are stored separately."""
        rounded = request.precision_tag
        return self._recipe(request, precision=rounded) if rounded else self._recipe(request)

    def _embed_chunk(
        self,
        store: EmbeddingStore,
        chunk: list[_Readable],
        failures: list[Failure],
        must_store: bool,
    ) -> Embedded:
        keys = [image.key for image in chunk]
        reasons: dict[int, str] = {}  # of the images that could not be decoded, by place
        fetched = []
        for request in self.requests:
            compute = partial(self._compute, request, chunk, reasons)
            spec = self._stored_under(request)
            fetched.append(store.fetch(spec, keys, compute, must_store=must_store))
        present = np.logical_and.reduce([one.present for one in fetched])
        by_key = {keys[i]: reason for i, reason in reasons.items()}
        for i in np.flatnonzero(~present):
            name = chunk[i].content.name  # of equal pictures only one was decoded
            failures.append(Failure(chunk[i].position, name, name + by_key[keys[i]]))
        return Embedded(
            vectors=np.concatenate([one.vectors for one in fetched], axis=1)[present],
            positions=np.array([image.position for image in chunk], np.intp)[present],
            digests=tuple(compress(keys, present)),
            failures=tuple(sorted(failures, key=lambda failure: failure.position)),
            **_totals(fetched),
        )

    def _compute(
        self,
        request: LoadRequest,
        chunk: list[_Readable],
        reasons: dict[int, str],
        missing: list[int],
    ) -> Iterator[tuple[list[int], Vectors]]:
        """Batches of the places in the chunk that could be read, with their vectors.

        The other places get a reason in `reasons`.
        """
        network = load_backbone(request)
        prepare = partial(self._prepare_batch, network, chunk)
        batches = [missing[i : i + BATCH] for i in range(0, len(missing), BATCH)]
        for done, batch, broken in prefetch_map(prepare, batches):
            reasons |= broken
            if done:
                yield done, self._forward(request, network, batch)

    def _prepare_batch(
        self, network: Backbone, chunk: list[_Readable], places: list[int]
    ) -> tuple[list[int], Vectors, dict[int, str]]:
        """The places that could be decoded, their network input, and why the others failed."""
        done: list[int] = []
        broken: dict[int, str] = {}

        def faces() -> Iterator[Image]:
            for i in places:
                content = chunk[i].content
                try:
                    face = content.image(self.max_pixels)
                except ImageError as error:
                    broken[i] = str(error).removeprefix(content.name)
                else:
                    done.append(i)
                    yield face

        return done, network.preprocess(faces()), broken

    def _forward(self, request: LoadRequest, network: Backbone, batch: Vectors) -> Vectors:
        """The vectors of a batch, averaged with the mirror image and normalised by the settings."""
        if self.mirror_average:
            if batch.ndim < 4:
                raise ModelError(
                    f"{request.name} has no picture as input that could be mirrored. Leave out "
                    "mirror_average."
                )
            both = network.checked_forward(np.concatenate([batch, batch[:, :, ::-1]]))
            vectors = both.reshape(2, len(batch), -1).mean(axis=0)
        else:
            vectors = network.checked_forward(batch)
        if self.normalize:
            squares = np.square(vectors).sum(axis=1, keepdims=True)
            vectors /= np.sqrt(np.maximum(squares, _EPSILON))
        return np.asarray(vectors, np.float32)

    def __sklearn_is_fitted__(self) -> bool:
        return True

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.requires_fit = False
        return tags


def _totals(parts: Sequence[Embedded | Fetched]) -> dict[str, int]:
    """The sums of what was found, computed and so on."""
    names = ("hits", "computed", "damaged", "duplicates", "unstored")
    return {name: sum(getattr(part, name) for part in parts) for name in names}


def is_list(value: object) -> bool:
    """True if a parameter has one value for each backbone, not one for all."""
    return isinstance(value, (list, tuple))


def _recipe(facts: dict[str, object]) -> EmbeddingSpec:
    return EmbeddingSpec(
        fingerprint(facts), json.dumps(facts, sort_keys=True), int(str(facts["dim"]))
    )


def _refuse_one_alone(images: Any) -> None:
    if isinstance(images, np.ndarray):
        in_colour = images.ndim == 3 and images.shape[2] in (3, 4)
        alone = images.dtype.kind not in "OUS" and (images.ndim < 3 or in_colour)
    else:
        alone = isinstance(images, (str, bytes, os.PathLike)) or not isinstance(images, Iterable)
    if alone:
        raise ImageError(
            f"Images are given as a list, and {source_name(images)} is a single one: put it in [ ]."
        )


def raise_failures(embedded: Embedded) -> None:
    """Raise an ImageError that names the images that failed, if there are any."""
    failures = embedded.failures
    if failures:
        shown = "\n".join(f"  {failure.reason}" for failure in failures[:5])
        more = f"\n  and {len(failures) - 5} more" if len(failures) > 5 else ""
        if not len(embedded.positions):
            raise ImageError(f"None of the {len(failures)} images can be used:\n{shown}{more}")
        total = len(failures) + len(embedded.positions)
        raise ImageError(
            f"{len(failures)} of {total} images cannot be used; the vectors of the others are "
            f"stored. Leave these out and run again:\n{shown}{more}"
        )


@dataclass(slots=True)
class _Readable:
    """An image with its content in memory and the digest of the content."""

    position: int
    content: LoadedSource
    key: bytes


def _chunks(
    images: Iterable[Source], max_pixels: int
) -> Iterator[tuple[list[_Readable], list[Failure]]]:
    """Chunks of images to look up together, and failures. Files are read in advance by threads."""

    def read(some: list[tuple[int, Source]]) -> list[_Readable | Failure]:
        found: list[_Readable | Failure] = []
        for position, image in some:
            try:
                content = open_source(image)
                found.append(_Readable(position, content, content.digest(max_pixels)))
            except ImageError as error:
                found.append(Failure(position, source_name(image), str(error)))
        return found

    # A generator may reuse one array for all its pictures.
    kept = (image.copy() if isinstance(image, np.ndarray) else image for image in images)
    numbered = enumerate(kept)
    chunk: list[_Readable] = []
    failures: list[Failure] = []
    size = 0
    some = iter(lambda: list(islice(numbered, _READ)), [])
    for image in chain.from_iterable(prefetch_when_slow(read, some)):
        if isinstance(image, Failure):
            failures.append(image)
            continue
        chunk.append(image)
        size += image.content.nbytes
        if len(chunk) >= _CHUNK or size >= _CHUNK_BYTES:
            yield chunk, failures
            chunk, failures, size = [], [], 0
    if chunk or failures:
        yield chunk, failures
