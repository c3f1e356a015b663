"""Embedder: images -> (n, d) float32. The only module that knows everything left of the seam."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import chain, islice
from pathlib import Path
from typing import Any, TypeAlias, TypeVar

import numpy as np
from numpy.typing import NDArray

from ferembed._estimator import Estimator
from ferembed._prefetch import prefetch_map, prefetch_when_slow
from ferembed.backbones import DEFAULT_BACKBONE, LoadRequest, fingerprint, load_backbone, quantize
from ferembed.backbones.preprocess import Preprocess
from ferembed.errors import ImageError, ModelError, WeightsError
from ferembed.images import MAX_PIXELS, Image, LoadedSource, Source, open_source, source_name
from ferembed.storage.embeddings import EmbeddingSpec, EmbeddingStore, Vectors
from ferembed.storage.files import atomic_write

T = TypeVar("T")
OneOrList: TypeAlias = T | Sequence[T]

BATCH = 64  # images computed and stored together: what a kill can lose
_READ = 32  # files that a thread reads at a time
_CHUNK = 512  # images looked up together, or fewer that hold
_CHUNK_BYTES = 64 << 20  # this much
_ASKED = 300  # faces that tell the ranges of a network's numbers
_EPSILON = 1e-10


@dataclass(frozen=True)
class Failure:
    """An image that could not be used: where it stood, what it is called, and why."""

    position: int
    name: str
    reason: str


@dataclass(frozen=True)
class Embedded:
    """Vectors of the images at `positions`; those that failed stand in `failures` instead."""

    vectors: Vectors
    positions: NDArray[np.intp]
    failures: tuple[Failure, ...] = ()
    hits: int = 0  # vectors taken from the store; of joined ones each counts
    computed: int = 0
    damaged: int = 0  # found damaged in the store and computed again
    duplicates: int = 0  # of images that came more than once and were computed once
    unstored: int = 0  # computed vectors that the store could not take

    def save(self, path: str | os.PathLike[str], images: Sequence[Source]) -> None:
        """Write the vectors and the names of their images to an .npz."""
        names = np.array([source_name(images[i]) for i in self.positions])
        with atomic_write(Path(path)) as unfinished, unfinished.open("wb") as file:
            np.savez(file, vectors=self.vectors, names=names)


class Embedder(Estimator):
    """Faces in, vectors out; a vector once computed is taken from the store.

    >>> faces = np.zeros((2, 48, 48), np.uint8)
    >>> Embedder("cnn-a", weights="random", store="memory").transform(faces).shape
    (2, 64)

    Given lists, it joins vectors. Each is kept in the store by itself, under a recipe of its own.

    >>> both = Embedder("cnn-a", layer=["dense1", "dense2"], weights="random", store="memory")
    >>> both.transform(faces).shape
    (2, 128)

    Parameters
    ----------
    backbone : the name of a backbone (`ferembed models` lists them), or a list of names
    layer : which of its layers is the embedding; None for its default
    weights : None for those that ship or were fetched, the path of a file of them, or "random",
        "random:SEED"
    preprocess : a Preprocess of another recipe than the backbone's own
        (each of these three: one for all, or a list of one for each)
    normalize : scale each backbone's vector to unit length
    mirror_average : average the vectors of each face and its mirror image; twice as slow
    store : "disk" for the user's cache, "memory", "none", or the path of a file
    engine : "auto", "openvino" or "keras", which give the same vectors, or "openvino-bf16", twice
        as fast where the CPU has bfloat16, or "openvino-int8", faster still on most CPUs, once
        `quantize` has made the network ready: such vectors are kept apart from others in the store
    max_pixels : a larger picture is refused before it is decoded
    verbose : show progress on a terminal
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
        verbose: bool = False,
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
        self.verbose = verbose

    def fit(self, images: Any = None, labels: Any = None) -> Embedder:
        """Nothing is learned here; the embedder itself."""
        return self

    def fit_transform(self, images: Iterable[Source], labels: Any = None) -> Vectors:
        """The vectors, as `transform` gives them."""
        return self.transform(images)

    def transform(self, images: Iterable[Source]) -> Vectors:
        """(n, d) float32, a row per image. Unreadable images are an error, after all others."""
        embedded = self.embed(images)
        raise_failures(embedded)
        return embedded.vectors

    def embed(self, images: Iterable[Source]) -> Embedded:
        """The vectors of all images that can be read, and what failed of the others."""
        return self._joined(list(self.stream(images)))

    def stream(self, images: Iterable[Source], *, must_store: bool = False) -> Iterator[Embedded]:
        """The same, some hundred images at a time, in bounded memory.

        A store that cannot be written to is a StoreWarning, or with `must_store` a StoreError.
        """
        _refuse_one_alone(images)
        from tqdm import tqdm

        store = self.store
        if not isinstance(store, EmbeddingStore):
            store = EmbeddingStore.open(store)
        total = len(images) if isinstance(images, (Sequence, np.ndarray)) else None
        # disable=None: no bar where the output is not a terminal
        with tqdm(total=total, unit="img", disable=None if self.verbose else True) as bar:
            for chunk, failures in _chunks(images, self.max_pixels):
                part = self._embed_chunk(store, chunk, failures, must_store)
                bar.update(len(part.positions) + len(part.failures))
                yield part

    def warm_store(self, images: Iterable[Source]) -> Embedded:
        """Put the vectors into the store; what is returned counts them without holding them."""
        parts = self.stream(images, must_store=True)
        return self._joined([replace(part, vectors=part.vectors[:0]) for part in parts])

    def _joined(self, parts: Sequence[Embedded]) -> Embedded:
        return Embedded(
            np.concatenate(
                [np.empty((0, self.recipe.dim), np.float32), *(p.vectors for p in parts)]
            ),
            np.concatenate([np.empty(0, np.intp), *(part.positions for part in parts)]),
            tuple(chain.from_iterable(part.failures for part in parts)),
            sum(part.hits for part in parts),
            sum(part.computed for part in parts),
            sum(part.damaged for part in parts),
            sum(part.duplicates for part in parts),
            sum(part.unstored for part in parts),
        )

    def quantize(self, images: Sequence[Source]) -> tuple[Failure, ...]:
        """Make the networks ready for the engine "openvino-int8", with up to 300 of these faces.

        What is made stays in the user's cache. Those of the faces that cannot be read are returned.
        """
        _refuse_one_alone(images)
        chosen = sorted({i * len(images) // _ASKED for i in range(_ASKED)}) if len(images) else []
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
                quantize(request, faces(), self.verbose)
        except WeightsError as error:
            for failure in list(failures.values())[:1]:
                raise WeightsError(f"{error} Unusable: {failure.reason}") from None
            raise
        return tuple(failures.values())

    @property
    def recipe(self) -> EmbeddingSpec:
        """Everything that decides a vector beside the image."""
        recipes = [self._recipe(request) for request in self.requests]
        if len(recipes) == 1:
            return recipes[0]
        dim = sum(recipe.dim for recipe in recipes)
        return _recipe({"joined": [json.loads(recipe.facts) for recipe in recipes], "dim": dim})

    @property
    def requests(self) -> list[LoadRequest]:
        """How each backbone is asked for whose vectors are joined; most often it is one."""
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
        """How the backbone is asked for, where it is one."""
        (request,) = self.requests
        return request

    def _recipe(self, request: LoadRequest, **more: object) -> EmbeddingSpec:
        if self.mirror_average:  # under its first name, and only if set: fingerprints stay the same
            more["symmetric"] = True
        return _recipe({**request.facts(), "normalize": bool(self.normalize), **more})

    def _kept_under(self, request: LoadRequest) -> EmbeddingSpec:
        """The recipe of the store: heads take rounded vectors, too, but they are kept apart."""
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
        broken: dict[bytes, str] = {}

        def compute(
            request: LoadRequest, missing: list[int]
        ) -> Iterator[tuple[list[int], Vectors]]:
            network = load_backbone(request)

            def prepare(batch: list[int]) -> tuple[list[int], Vectors]:
                done: list[int] = []

                def faces() -> Iterator[Image]:
                    for i in batch:
                        try:
                            face = chunk[i].content.image(self.max_pixels)
                        except ImageError as error:
                            broken[keys[i]] = str(error).removeprefix(chunk[i].content.name)
                        else:
                            done.append(i)
                            yield face

                return done, network.preprocess(faces())

            batches = [missing[i : i + BATCH] for i in range(0, len(missing), BATCH)]
            for done, batch in prefetch_map(prepare, batches):
                if not done:
                    continue
                if self.mirror_average:
                    if batch.ndim < 4:
                        raise ModelError(
                            f"{request.name} measures faces and sees no picture that could be "
                            "mirrored: leave out mirror_average."
                        )
                    both = network.checked_forward(np.concatenate([batch, batch[:, :, ::-1]]))
                    vectors = both.reshape(2, len(batch), -1).mean(axis=0)
                else:
                    vectors = network.checked_forward(batch)
                if self.normalize:
                    squares = np.square(vectors).sum(axis=1, keepdims=True)
                    vectors /= np.sqrt(np.maximum(squares, _EPSILON))
                yield done, vectors

        fetched = [
            store.fetch(
                self._kept_under(request), keys, partial(compute, request), must_store=must_store
            )
            for request in self.requests
        ]
        present = np.logical_and.reduce([one.present for one in fetched])
        vectors = np.concatenate([one.vectors for one in fetched], axis=1)
        positions = np.array([image.position for image in chunk], np.intp)
        for i in np.flatnonzero(~present):
            name = chunk[i].content.name  # of equal pictures one was decoded
            failures.append(Failure(chunk[i].position, name, name + broken[keys[i]]))
        return Embedded(
            vectors[present],
            positions[present],
            tuple(sorted(failures, key=lambda failure: failure.position)),
            sum(one.hits for one in fetched),
            sum(one.computed for one in fetched),
            sum(one.damaged for one in fetched),
            sum(one.duplicates for one in fetched),
            sum(one.unstored for one in fetched),
        )

    def __sklearn_is_fitted__(self) -> bool:
        return True

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.requires_fit = False
        return tags


def is_list(value: object) -> bool:
    """Whether a parameter gives one value for each backbone rather than one for all."""
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
            f"Images come as a list, and {source_name(images)} is one alone: put it in [ ]."
        )


def raise_failures(embedded: Embedded) -> None:
    """An ImageError that names the images that failed, if any did."""
    failures = embedded.failures
    if failures:
        shown = "\n".join(f"  {failure.reason}" for failure in failures[:5])
        more = f"\n  and {len(failures) - 5} more" if len(failures) > 5 else ""
        if not len(embedded.positions):
            raise ImageError(f"None of the {len(failures)} images can be used:\n{shown}{more}")
        total = len(failures) + len(embedded.positions)
        raise ImageError(
            f"{len(failures)} of {total} images cannot be used; the vectors of the others are "
            f"kept. Leave these out and go on:\n{shown}{more}"
        )


@dataclass(slots=True)
class _Readable:
    """An image whose content is in memory, and the digest of that."""

    position: int
    content: LoadedSource
    key: bytes


def _chunks(
    images: Iterable[Source], max_pixels: int
) -> Iterator[tuple[list[_Readable], list[Failure]]]:
    """What to look up together. Files are read ahead, a few at a time."""

    def read(some: list[tuple[int, Source]]) -> list[_Readable | Failure]:
        found: list[_Readable | Failure] = []
        for position, image in some:
            try:
                content = open_source(image)
                found.append(_Readable(position, content, content.digest(max_pixels)))
            except ImageError as error:
                found.append(Failure(position, source_name(image), str(error)))
        return found

    # A generator may use one array for all its pictures.
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
