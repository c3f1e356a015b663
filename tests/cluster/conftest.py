"""A cluster of two processes that all tests of this folder share."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

pytest.importorskip("distributed")


@pytest.fixture(scope="session")
def client() -> Iterator[Any]:
    from ferembed import cluster

    with cluster.connect("local:2") as client:
        yield client
