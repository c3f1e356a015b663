"""Metrics for Prometheus."""

from __future__ import annotations

import os

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    generate_latest,
    multiprocess,
)

_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
_FACES = (1, 2, 4, 8, 16, 32, 64, 128)


class Metrics:
    """The metrics of one app. With several workers, their values are summed."""

    def __init__(self) -> None:
        registry = self._registry = CollectorRegistry()
        self.requests = Counter(
            "ferembed_requests", "Requests answered", ["path", "status"], registry=registry
        )
        self.latency = Histogram(
            "ferembed_request_seconds",
            "From the start of a request to the end of its response",
            ["path"],
            buckets=_SECONDS,
            registry=registry,
        )
        self.queue = Gauge(
            "ferembed_queue_pictures",
            "Pictures accepted and not yet processed",
            registry=registry,
            multiprocess_mode="livesum",
        )
        self.batch = Histogram(
            "ferembed_batch_faces", "Faces run together", buckets=_FACES, registry=registry
        )
        self.faces = Counter("ferembed_faces", "Faces read", ["label"], registry=registry)
        self.pictures = Counter(
            "ferembed_pictures", "Pictures by outcome", ["outcome"], registry=registry
        )
        self.streams = Gauge(
            "ferembed_streams",
            "Live streams that are open",
            registry=registry,
            multiprocess_mode="livesum",
        )
        self.frames = Counter(
            "ferembed_frames", "Frames of streams by outcome", ["outcome"], registry=registry
        )

    def text(self) -> bytes:
        """All metrics, in the text format of Prometheus."""
        if "PROMETHEUS_MULTIPROC_DIR" not in os.environ:
            return generate_latest(self._registry)
        together = CollectorRegistry()
        multiprocess.MultiProcessCollector(together)  # type: ignore[no-untyped-call]
        return generate_latest(together)
