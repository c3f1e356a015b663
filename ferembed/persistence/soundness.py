"""Checks of a head.skops: the types of its objects, and the arrays of its trees.

By default only ferembed's own heads are opened. scikit-learn's compiled code reads the arrays of a
fitted model unchecked, so a forged file can crash the process or do worse. A caller who trusts the
maker of a file opens other types by naming them.
"""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Iterable
from typing import Any

import numpy as np

from ferembed.storage.arrays import check_header, check_packing

MOVED = {  # the class in models saved earlier -> the present class
    "ferembed.heads.CalibratedSVC": "ferembed.heads.svm.CalibratedSVC",
    "ferembed.heads.Forest": "ferembed.heads.forest.Forest",
    "ferembed.heads.Neighbors": "ferembed.heads.neighbors.Neighbors",
    "ferembed.heads.Softmax": "ferembed.heads.softmax.Softmax",
    "ferembed.kernels.Kernel": "ferembed.heads.pairwise_svm.Kernel",
    "ferembed.kernels.Machine": "ferembed.heads.pairwise_svm.PairwiseSVM",
    "ferembed.softmax.Softmax": "ferembed.heads.softmax.Softmax",
}
# Of what ferembed's own heads are made.
OURS = frozenset(
    {
        *MOVED,
        *MOVED.values(),
        "ferembed.heads.approximate_neighbors.ApproximateNeighbors",
        "ferembed.heads.fourier_svm.FourierSVM",
    }
)
SCHEMA = "schema.json"  # where skops writes the classes
_PLAIN = frozenset(
    {
        *(f"builtins.{name}" for name in ("str", "int", "float", "bool", "dict", "list", "tuple")),
        "numpy.ndarray",
        *(f"numpy.{name}" for name in ("bool", "bool_", "float16", "float32", "float64", "str_")),
        *(f"numpy.{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64)),
    }
)
_PLAIN_NODES = frozenset(
    {"DictNode", "JsonNode", "ListNode", "NdArrayNode", "ObjectNode", "TupleNode", "TypeNode"}
)
_CALLS = frozenset({"FunctionNode", "MethodNode", "OperatorFuncNode", "PartialNode"})
_MOST_NODES = 1_000_000


def foreign_types(content: bytes) -> tuple[set[str], set[str]]:
    """The types, and the functions, of a head.skops that are not what ferembed's heads are made of.

    Nothing is built. A ValueError says what is wrong with a file that cannot be read.
    """
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        members = archive.infolist()
        check_packing(sum(member.file_size for member in members), len(content))
        for member in members:
            if member.filename.endswith(".npy"):
                with archive.open(member) as file:
                    check_header(file, member.filename, member.file_size)
        schema = json.loads(archive.read(SCHEMA))
    types: set[str] = set()
    functions: set[str] = set()
    waiting, seen = [schema], 0
    while waiting:
        seen += 1
        if seen > _MOST_NODES:
            raise ValueError(f"it is made of more than {_MOST_NODES:,} parts")
        node = waiting.pop()
        if isinstance(node, list):
            waiting += node
        elif isinstance(node, dict):
            waiting += node.values()
            if "__class__" in node or "__loader__" in node:
                name = f"{node.get('__module__')}.{node.get('__class__')}"
                loader = node.get("__loader__")
                module, _, last = name.rpartition(".")
                of_science = module.partition(".")[0] in ("numpy", "scipy", "sklearn")
                if loader in _CALLS or not (name in _PLAIN or of_science or last[:1].isupper()):
                    functions.add(name)
                elif name not in OURS | _PLAIN or loader not in _PLAIN_NODES:
                    types.add(name)
    return types, functions


def is_sound(thing: Any, features: int | None = None, seen: set[int] | None = None) -> bool:
    """True if compiled code, which does not check trees and support vectors, stays in bounds.

    It knows these two alone: it is a second line of defence behind the list of types.
    """
    seen = set() if seen is None else seen
    if id(thing) in seen or isinstance(thing, (str, bytes, int, float, type(None))):
        return True
    seen.add(id(thing))
    from sklearn.svm._base import BaseLibSVM
    from sklearn.tree._tree import Tree

    if isinstance(thing, Tree):
        return _is_sound_tree(thing, features)
    if isinstance(thing, BaseLibSVM) and not _is_sound_machine(thing):
        return False
    inside: Iterable[Any]
    if isinstance(thing, dict):
        inside = thing.values()
    elif isinstance(thing, (list, tuple, set, frozenset)):
        inside = thing
    elif isinstance(thing, np.ndarray):
        inside = thing.ravel().tolist() if thing.dtype.hasobject else ()
    else:
        inside = vars(thing).values() if hasattr(thing, "__dict__") else ()
        own = getattr(thing, "n_features_in_", None)
        known = [number for number in (own, features) if isinstance(number, int)]
        features = min(known, default=None)
    return all(is_sound(one, features, seen) for one in inside)


def _is_sound_tree(tree: Any, features: int | None) -> bool:
    inner = tree.children_left != -1
    below = np.concatenate([tree.children_left[inner], tree.children_right[inner]])
    parents = np.tile(np.flatnonzero(inner), 2)
    tested = tree.feature[inner]
    return bool(
        features is not None
        and (below > parents).all()
        and (below < tree.node_count).all()
        and (tested >= 0).all()
        and (tested < min(features, tree.n_features)).all()
        and len(tree.value) == tree.node_count
    )


def _is_sound_machine(machine: Any) -> bool:
    if not hasattr(machine, "support_vectors_"):
        return True  # never fitted: it refuses to predict
    vectors, counts = machine.support_vectors_, machine._n_support
    classes = len(counts)
    return bool(
        not machine._sparse
        and machine.kernel != "precomputed"
        and vectors.ndim == 2
        and vectors.shape[1] == machine.n_features_in_
        and (counts >= 0).all()
        and counts.sum() == len(vectors) == len(machine.support_)
        and machine._dual_coef_.shape == (classes - 1, len(vectors))
        and len(machine._intercept_) == classes * (classes - 1) // 2
        and len(machine.classes_) == classes
    )
