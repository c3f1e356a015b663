"""Vectors: the backbones of cells, and the vectors of faces in files that workers share."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from ferembed import datasets
from ferembed.backbones import BACKBONES
from ferembed.benchmark.cell import OWN_LAST_LAYER, TRAIN_FIRST, Cell
from ferembed.benchmark.data_view import DataView
from ferembed.benchmark.records import Record
from ferembed.benchmark.tasks import Faces
from ferembed.embedder import Embedder
from ferembed.errors import DataError
from ferembed.pipeline import Pipeline
from ferembed.training import RECIPES, TrainingRecipe, train_backbone


class Vectors:
    """The networks, vectors, heads and pipelines of cells.

    `settings` are those of every embedder: store, engine, progress. `computed` counts the vectors
    that were not in the store.
    """

    def __init__(self, view: DataView, folder: Path, folds: int, settings: Record) -> None:
        self.view, self.folder, self.folds, self.settings = view, folder, folds, settings
        self.computed = 0
        self._networks: dict[Cell, Pipeline] = {}

    def recipe(self, cell: Cell) -> str:
        """A fingerprint of everything that the vectors depend on, apart from the faces."""
        embedder = Embedder(**self._vector_settings(cell))
        return embedder.recipe.fingerprint + (embedder.request.precision_tag or "")

    def faces(self, cell: Cell, split: str, file: Path) -> Faces:
        """The faces of a split, their vectors written to the file."""
        part = self.view.of_cell(cell).split(split)
        trained = len(part)
        if self.folds and cell.balance and split == "train":
            spare = self.view.spare(cell, part)
            part = part if spare is None else datasets.merge(part, spare)
        embedded = Embedder(**self._vector_settings(cell)).embed(part.images)
        self.computed += embedded.computed
        if not len(embedded.positions):
            raise DataError(f"No face of the {split} split can be read.")
        np.save(file, embedded.vectors)
        places = embedded.positions.tolist()
        originals = [part.images.original(place) for place in places]
        groups = np.array([self.view.groups[name] for name in originals])
        return Faces(
            vectors=file,
            labels=part.labels[embedded.positions],
            groups=groups,
            duplicates=self.view.have_duplicates(groups),
            changed=np.array([part.images.is_changed(place) for place in places]),
            spare=embedded.positions >= trained,
            digests=tuple(self.view.digests[name] for name in originals),
        )

    def head(self, cell: Cell) -> Any:
        """The head; fitted, if it is the network's own last layer."""
        if cell.head != OWN_LAST_LAYER:
            return cell.make_head()
        if cell.weights == TRAIN_FIRST:
            return self._network(cell).head_
        classes = set(self.view.data.classes)
        sets = BACKBONES[cell.backbone].label_sets
        same = next((name for name, labels in sets if set(labels) == classes), None)
        return Pipeline.from_networks(cell.backbone, label_set=same).head_

    def pipeline(self, cell: Cell, *splits: str) -> Pipeline:
        """The pipeline of a cell, fitted on these splits."""
        settings = self._vector_settings(cell)
        head = self.head(cell)
        if cell.head == OWN_LAST_LAYER:
            prior = None
            if cell.weights == TRAIN_FIRST:
                prior = self._network(cell).training_prior_
            return Pipeline.from_head(head, training_prior=prior, **settings)
        data = self.view.of_cell(cell)
        data = data.select(data.mask(*splits))
        pipeline = Pipeline(head=head, **settings)
        return pipeline.fit(data.images, data.labels, skip_unreadable=True)

    def _network(self, cell: Cell) -> Pipeline:
        """The network of a cell that is trained first, with its own last layer."""
        key = replace(cell.vectors, layer=None, preprocess="none")
        if key not in self._networks:
            facts = repr((key, self.view.facts["sha256"]))
            mark = hashlib.sha256(facts.encode()).hexdigest()
            folder = self.folder / "networks" / f"{cell.backbone}-{cell.seed}-{mark[:12]}"
            if not self.view.has_validation:
                raise DataError("Training a network needs a validation split: datasets.split.")
            recipe = replace(RECIPES.get(cell.backbone, TrainingRecipe()), seed=cell.seed)
            data, progress = self.view.of_cell(cell), self.settings["progress"]
            result = train_backbone(data, cell.backbone, folder, recipe, progress=progress)
            self._networks[key] = result.pipeline
        return self._networks[key]

    def _vector_settings(self, cell: Cell) -> Record:
        """The settings of an embedder or a pipeline for a cell."""
        trained = cell.weights == TRAIN_FIRST
        return {
            "backbone": cell.backbone,
            "layer": cell.layer,
            "weights": self._network(cell).weights if trained else cell.weights,
            "preprocess": cell.recipe,
            **self.settings,
        }
