"""Vectors that a cluster wrote, and the heads that are fitted on them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("distributed")

from ferembed import Embedder, Pipeline, cluster, datasets, pipeline
from ferembed.backbones import BACKBONES
from ferembed.errors import DataError, LabelError, ModelError

EMBEDDER = Embedder("cnn-a", weights="random", store="none", normalize=True)


@pytest.fixture(scope="module")
def vectors(client: Any, faces_on_disk: Path, tmp_path_factory: pytest.TempPathFactory) -> Any:
    out = tmp_path_factory.mktemp("vectors") / "out"
    cluster.embed(datasets.open(faces_on_disk), EMBEDDER, client, out, size=8)
    return datasets.open_vectors(out)


def test_a_pipeline_fitted_on_vectors_equals_one_fitted_on_the_faces(
    vectors: Any, faces_on_disk: Path
) -> None:
    data = datasets.open(faces_on_disk).split("train")
    mine = Pipeline.for_vectors(vectors, "softmax", store="none").fit(vectors.split("train"))
    local = Pipeline(head="softmax", **EMBEDDER.get_params())
    local.fit(data.images, data.labels, skip_unreadable=True)
    faces = datasets.open(faces_on_disk).split("validation").images
    np.testing.assert_array_equal(mine.predict_proba(faces), local.predict_proba(faces))
    assert mine.training_prior_ == local.training_prior_


def test_many_vectors_are_read_in_batches_by_heads_that_can(
    vectors: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pipeline, "_IN_MEMORY", 10)
    monkeypatch.setattr(type(vectors), "__array__", None)
    mine = Pipeline.for_vectors(vectors, "softmax").fit(vectors)
    assert mine.classes_.tolist() == ["angry", "happy", "sad"]
    with pytest.raises(TypeError):  # a forest wants all at once
        Pipeline.for_vectors(vectors, "forest").fit(vectors)


def test_vectors_that_do_not_fit_in_memory_are_refused(
    vectors: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ferembed.datasets.vectors._physical_memory", lambda: 1000.0)
    with pytest.raises(DataError, match=r"sample\(ROWS\), or a head that reads them in batches"):
        Pipeline.for_vectors(vectors, "forest").fit(vectors)
    assert len(vectors.sample(3)) == 3


def test_vectors_of_another_recipe_are_refused(vectors: Any) -> None:
    with pytest.raises(ModelError, match=r"weights was 'random:0', here 'random:1'"):
        Pipeline("cnn-a", "softmax", weights="random:1", normalize=True).fit(vectors)
    with pytest.raises(LabelError, match="bring their labels: give no others"):
        Pipeline.for_vectors(vectors, "softmax").fit(vectors, ["happy"] * 60)


def test_a_custom_preprocessing_is_saved_in_the_manifest(
    client: Any, faces_on_disk: Path, tmp_path: Path
) -> None:
    from dataclasses import replace

    own = replace(BACKBONES["cnn-a"].preprocess, equalize="histogram")
    embedder = Embedder("cnn-a", weights="random", preprocess=own, store="none")
    cluster.embed(datasets.open(faces_on_disk), embedder, client, tmp_path / "out")
    vectors = datasets.open_vectors(tmp_path / "out")
    assert Pipeline.for_vectors(vectors, "softmax").fit(vectors).preprocess == own


def test_vectors_without_labels_fit_nothing(
    client: Any, faces_on_disk: Path, tmp_path: Path
) -> None:
    photos = sorted(map(str, faces_on_disk.rglob("0*.png")))
    cluster.embed(photos, EMBEDDER, client, tmp_path / "out")
    vectors = datasets.open_vectors(tmp_path / "out")
    pipeline = Pipeline.for_vectors(vectors, "softmax")
    with pytest.raises(DataError, match="60 of 60 vectors in .* have no label"):
        pipeline.fit(vectors)
