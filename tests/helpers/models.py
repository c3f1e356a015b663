"""Models saved for tests, and their copies with other content."""

import hashlib
import io
import json

import numpy as np

from ferembed import Pipeline
from ferembed.persistence.bundle import ARRAYS, HEAD, MANIFEST
from ferembed.persistence.soundness import foreign_types


def forge(source, out, change=lambda arrays: None, content=None, name=ARRAYS, manifest=None):
    """A copy of a model with another head, whose size and hash are made to fit."""
    out.mkdir(exist_ok=True)
    facts = json.loads((source / MANIFEST).read_text())
    if content is None:
        arrays = dict(np.load(source / ARRAYS))
        change(arrays)
        packed = io.BytesIO()
        np.savez_compressed(packed, **arrays)
        content = packed.getvalue()
    (out / name).write_bytes(content)
    facts["files"] = {name: {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}}
    if manifest:
        manifest(facts)
    (out / MANIFEST).write_text(json.dumps(facts))
    return out


def fitted(faces, labels, head="knn", **options):
    options = {"weights": "random", **options}
    made = Pipeline("cnn-a", head, store="memory", **options)
    neighbors = {"head__n_neighbors": 3}
    small = {
        "knn": neighbors,
        "approximate-knn": neighbors,
        "bagged-svm": {"head__max_samples": 20},
    }
    return made.set_params(**small.get(head, {})).fit(faces, labels)


def rewrite(folder, change):
    manifest = json.loads((folder / MANIFEST).read_text())
    change(manifest)
    (folder / MANIFEST).write_text(json.dumps(manifest))


def types_of(folder):
    """Every type in a head that is not ferembed's own: what its maker would name as trusted."""
    return sorted(set().union(*foreign_types((folder / HEAD).read_bytes())))
