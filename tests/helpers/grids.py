"""A small grid, and what it leaves behind."""

import json

HEADS_ALONE = """
title = "Small"

[[cells]]
backbone = "mini-vgg"
head = "knn"
head__n_neighbors = [1, 3]

[[cells]]
backbone = "mini-vgg"
head = "softmax"
"""
COUNTING = "sklearn.neighbors.KNeighborsClassifier"  # knows how many rows it has


def cells(folder):
    return {file: json.loads(file.read_text()) for file in (folder / "cells").iterdir()}
