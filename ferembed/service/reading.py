"""Reader: detects faces in the pictures of all clients in threads, and classifies in batches."""

from __future__ import annotations

import asyncio
import copy
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import KW_ONLY, dataclass, field, replace
from functools import lru_cache
from math import ceil
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ferembed._threads import core_count
from ferembed.errors import ImageError, UnknownName
from ferembed.faces import Face, FaceRecipe
from ferembed.faces.frames import FrameSearch
from ferembed.images import Image, open_source
from ferembed.pipeline import Pipeline, Prediction
from ferembed.priors import parse_prior, prior_factors
from ferembed.registry import unknown_name_message
from ferembed.service.guard import busy
from ferembed.service.metrics import Metrics
from ferembed.service.settings import Settings

_FIRST_GUESS = 0.05  # seconds for a picture, until some were timed
_MOST_WAITING = 200_000_000  # bytes of faces that wait to be read
_MEMORY = 0.1  # the weight of the newest picture in the mean time


@dataclass(frozen=True)
class Upload:
    """A picture that a client sent, with its name for messages."""

    name: str
    content: bytes

    def __str__(self) -> str:
        return self.name

    def read_bytes(self) -> bytes:
        return self.content


@dataclass(frozen=True)
class ReadOptions:
    """The settings for reading a picture: the model, and the faces to find.

    Without a recipe each picture is a face. `kind` is "predictions" or "vectors".
    """

    model: str
    pipeline: Pipeline = field(repr=False)
    recipe: FaceRecipe | FrameSearch | None = None
    kind: str = "predictions"
    keep_image: bool = False

    def with_faces(self, detector: str, min_face: float | None) -> ReadOptions:
        """The options with the faces that a detector finds; "" is that of the model."""
        recipe = FaceRecipe.resolve(detector or self.pipeline.detector)
        if min_face is not None:
            recipe = replace(recipe, min_face=min_face)
        return replace(self, recipe=recipe)


@dataclass(frozen=True)
class Result:
    """The result of one picture: its faces, [] where there is none, or why it failed."""

    name: str
    size: tuple[int, int] = (0, 0)  # width, height
    _: KW_ONLY
    predictions: tuple[Prediction, ...] = ()
    vector: NDArray[np.float32] | None = None
    left_out: int = 0  # faces beyond the limit
    error: str = ""
    image: Image | None = field(default=None, repr=False)


@dataclass
class _Job:
    """A picture in progress: its detected faces, and the future of its result."""

    upload: Upload | None
    options: ReadOptions
    future: Future[Result]
    _: KW_ONLY
    found: Result | None = None
    crops: list[Image] = field(default_factory=list)
    faces: list[Face] = field(default_factory=list)


class Reader:
    """Reads pictures for many clients at once.

    Threads decode pictures and detect their faces. One thread classifies the faces in batches.
    While other pictures are being searched, it waits up to `batch_ms` for their faces.
    """

    def __init__(
        self, pipelines: Mapping[str, Pipeline], settings: Settings, metrics: Metrics
    ) -> None:
        self.pipelines = pipelines
        self._with_prior = lru_cache(maxsize=64)(self._make_with_prior)
        self._settings = settings
        self._metrics = metrics
        self._threads = ThreadPoolExecutor(core_count(), "ferembed-find")
        self._change = threading.Condition()
        self._waiting: deque[_Job] = deque()  # jobs whose faces are to be read
        self._waiting_bytes = 0
        self._searching = 0  # jobs whose faces are being looked for
        self._closed = False
        self._open = 0  # pictures accepted and not yet answered
        self._seconds = _FIRST_GUESS  # between two answers at full load
        self._last_answer = 0.0
        self._reading = threading.Thread(target=self._read_all, name="ferembed-read", daemon=True)
        self._reading.start()

    def read_options(
        self,
        model: str = "",
        detector: str | None = None,
        prior: str = "",
        min_face: float | None = None,
        **more: Any,
    ) -> ReadOptions:
        """The settings that a client asks for; "" stands for the first model, as it was saved.

        A detector of None takes each picture for a face.
        """
        model = model or next(iter(self.pipelines))
        if model not in self.pipelines:
            raise UnknownName(
                unknown_name_message("model of this server", model, list(self.pipelines))
            )
        strength = more.pop("prior_strength", 1.0)
        pipeline = self._with_prior(model, prior, strength) if prior else self.pipelines[model]
        options = ReadOptions(model, pipeline, **more)
        return options if detector is None else options.with_faces(detector, min_face)

    def _make_with_prior(self, model: str, prior: str, strength: float) -> Pipeline:
        pipeline = copy.copy(self.pipelines[model])
        pipeline.prior, pipeline.prior_strength = parse_prior(prior), strength
        labels = [str(label) for label in pipeline.classes_]
        prior_factors(pipeline.prior, strength, labels, pipeline.training_prior_)  # or refuse
        return pipeline

    def admit(self, count: int) -> None:
        """Raise a Problem with the time to try again if the queue has no room for the pictures."""
        if self._open and self._open + count > self._settings.queue:
            raise busy(max(1, ceil(self._open * self._seconds)))

    async def read(self, uploads: Iterable[Upload], options: ReadOptions) -> list[Result]:
        """The result for each picture, in order, with an error if it cannot be read."""
        futures = [self.submit(upload, options) for upload in uploads]
        return list(await asyncio.gather(*map(asyncio.wrap_future, futures)))

    def submit(
        self, upload: Upload, options: ReadOptions, *, is_queued: bool = True
    ) -> Future[Result]:
        """The future result of one picture.

        Frames of streams do not count in the queue: each stream has a limit of frames in progress.
        """
        job = _Job(upload, options, Future())
        if is_queued:
            with self._change:
                self._open += 1
                self._metrics.queue.set(self._open)
            job.future.add_done_callback(self._answered)
        self._threads.submit(self._find, job)
        return job.future

    async def run(self, work: Callable[[], Any]) -> Any:
        """The result of a slow function, such as drawing, run in a thread."""
        return await asyncio.get_running_loop().run_in_executor(self._threads, work)

    def warm_up(self) -> None:
        """Load the networks and run them once."""
        gray = np.full((160, 160, 3), 127, np.uint8)
        for pipeline in self.pipelines.values():
            FaceRecipe.resolve(pipeline.detector)(gray)
            noise = np.random.default_rng(0).integers(0, 256, (4, 96, 96, 3), dtype=np.uint8)
            for count in (1, len(noise)):
                pipeline.read(list(noise[:count]), [Face((0, 0, 96, 96), 1.0)] * count)

    def close(self) -> None:
        """Finish the accepted pictures, then end the threads."""
        self._threads.shutdown()
        with self._change:
            self._closed = True
            self._change.notify_all()
        self._reading.join()

    def _answered(self, future: Future[Result]) -> None:
        now = time.perf_counter()
        with self._change:
            if self._open > 1:  # else the time between two answers says nothing of the speed
                since = min(now - self._last_answer, self._settings.deadline)
                self._seconds += _MEMORY * (since - self._seconds)
            self._last_answer = now
            self._open -= 1
            self._metrics.queue.set(self._open)

    def _find(self, job: _Job) -> None:
        """Decode a picture and find its faces; runs in one of the threads."""
        upload, job.upload = job.upload, None
        if upload is None or not job.future.set_running_or_notify_cancel():
            return
        with self._change:
            self._searching += 1
        try:
            self._find_in(job, upload)
        except ImageError as error:
            job.found = Result(upload.name, error=str(error))
        except BaseException as error:
            job.future.set_exception(error)
        finally:
            with self._change:
                self._searching -= 1
                if not job.future.done():
                    self._waiting.append(job)
                    self._waiting_bytes += _size(job)
                self._change.notify_all()
                # Large faces are not decoded faster than they are read, or they fill the memory.
                while self._waiting_bytes > _MOST_WAITING:
                    self._change.wait()

    def _find_in(self, job: _Job, upload: Upload) -> None:
        options, most = job.options, self._settings.max_pixels
        opened = open_source(upload)
        if isinstance(options.recipe, FaceRecipe):
            image, size = opened.reduced(options.recipe.shorter_side, most)
            found = options.recipe(image, size)
        else:
            image = opened.image(most)
            size = image.shape[1], image.shape[0]
            found = options.recipe(image) if options.recipe else [(Face((0, 0, *size), 1.0), image)]
        left_out = max(0, len(found) - self._settings.max_faces)
        found = found[: self._settings.max_faces]
        job.faces, job.crops = [face for face, _ in found], [crop for _, crop in found]
        kept = None
        if options.keep_image:
            kept = image if image.shape[1] == size[0] else opened.image(most)
        job.found = Result(upload.name, size, left_out=left_out, image=kept)

    def _read_all(self) -> None:
        """Classify faces in batches; runs in a separate thread."""
        while jobs := self._next_jobs():
            groups: dict[tuple[int, str], list[_Job]] = {}
            for job in jobs:
                groups.setdefault((id(job.options.pipeline), job.options.kind), []).append(job)
            for together in groups.values():
                try:
                    self._read_together(together)
                except Exception as error:
                    for job in together:
                        if not job.future.done():
                            job.future.set_exception(error)

    def _next_jobs(self) -> list[_Job]:
        """The jobs of the next batch; [] when the reader is closed."""
        most = self._settings.batch_faces
        with self._change:
            while not self._waiting and not self._closed:
                self._change.wait()
            end = time.perf_counter() + self._settings.batch_ms / 1000
            while self._searching and sum(len(job.crops) for job in self._waiting) < most:
                left = end - time.perf_counter()
                if left <= 0:
                    break
                self._change.wait(left)
            jobs: list[_Job] = []
            count = 0
            while self._waiting and (not jobs or count + len(self._waiting[0].crops) <= most):
                job = self._waiting.popleft()
                self._waiting_bytes -= _size(job)
                count += len(job.crops)
                jobs.append(job)
            self._change.notify_all()
            return jobs

    def _read_together(self, jobs: Sequence[_Job]) -> None:
        """Process the faces of jobs with the same pipeline and kind."""
        pipeline, kind = jobs[0].options.pipeline, jobs[0].options.kind
        crops = [crop for job in jobs for crop in job.crops]
        results: Any = ()
        if crops:
            self._metrics.batch.observe(len(crops))
            if kind == "vectors":
                results = pipeline.embedder.transform(crops)
            else:
                faces = [face for job in jobs for face in job.faces]
                results = pipeline.read(crops, faces)
        start = 0
        for job in jobs:
            assert job.found is not None
            own = results[start : start + len(job.crops)]
            start += len(job.crops)
            result = job.found
            if len(own) and kind == "vectors":
                result = replace(result, vector=np.array(own[0]))
            elif len(own):
                result = replace(result, predictions=tuple(own))
            self._count(result)
            job.future.set_result(result)

    def _count(self, result: Result) -> None:
        self._metrics.pictures.labels("failed" if result.error else "read").inc()
        for prediction in result.predictions:
            self._metrics.faces.labels(prediction.label).inc()


def _size(job: _Job) -> int:
    return sum(crop.nbytes for crop in job.crops)
