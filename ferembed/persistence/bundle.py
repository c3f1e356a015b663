"""A saved model: a folder that a person can read, or a zip of it.

    model.json    what it is: format, labels, how faces become vectors, versions, a hash per file
    head.skops    the fitted head; opening it builds objects of a closed list of types, no others
    head.npz      or, of a softmax head, its arrays: skops alone would take a third of a cold start
    weights.npz   the backbone's weights, where they are not among those that ship
                  (weights-1.npz and so on, where vectors of several are joined)

Every hash is checked before a file is opened.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import platform
import re
import shutil
import tempfile
import zipfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from ferembed.errors import ModelError, UnknownName, UntrustedModel
from ferembed.heads.softmax import Softmax
from ferembed.priors import checked_training_prior
from ferembed.registry import unknown_name_message
from ferembed.storage.files import atomic_write
from ferembed.storage.folders import cache_folder, models_folder

FORMAT = 4
MANIFEST, HEAD, ARRAYS, WEIGHTS = "model.json", "head.skops", "head.npz", "weights.npz"
_OUR_WEIGHTS = re.compile(r"weights(-[1-9]\d*)?\.npz")
_DRAWN_WEIGHTS = re.compile(r"random(:\d*)?")
_OF_ARRAYS = {
    "ApproximateNeighbors",
    "CalibratedSVC",
    "Forest",
    "FourierSVM",
    "Neighbors",
    "Softmax",
}
_ARRAYS = "classes_", "coef_", "intercept_", "n_iter_"
_DAMAGE = AttributeError, EOFError, KeyError, OSError, TypeError, ValueError
_LARGEST = 4 << 30
_PICKLES = (b"\x80", b"\x78", b"\x1f\x8b", b"BZ", b"\xfd7zXZ", b"\x5d\x00")
_MOVED = {  # what models saved earlier call a class -> where it is now
    "ferembed.heads.CalibratedSVC": "ferembed.heads.svm.CalibratedSVC",
    "ferembed.heads.Forest": "ferembed.heads.forest.Forest",
    "ferembed.heads.Neighbors": "ferembed.heads.neighbors.Neighbors",
    "ferembed.heads.Softmax": "ferembed.heads.softmax.Softmax",
    "ferembed.kernels.Kernel": "ferembed.heads.pairwise_svm.Kernel",
    "ferembed.kernels.Machine": "ferembed.heads.pairwise_svm.PairwiseSVM",
    "ferembed.softmax.Softmax": "ferembed.heads.softmax.Softmax",
}
_ALLOWED = frozenset(
    {
        *_MOVED.values(),
        "ferembed.heads.approximate_neighbors.ApproximateNeighbors",
        "ferembed.heads.fourier_svm.FourierSVM",
        "sklearn.tree._tree.Tree",
    }
)
_SCHEMA = "schema.json"  # where skops writes the classes


@dataclass(frozen=True)
class Bundle:
    """A saved model whose files were what its manifest says."""

    pipeline: dict[str, Any]
    fingerprint: str
    facts: dict[str, Any]
    head: Any
    training_prior: dict[str, float] | None = None


def write(
    path: Path,
    pipeline: dict[str, Any],
    fingerprint: str,
    facts: dict[str, Any],
    head: Any,
    training_prior: dict[str, float] | None = None,
) -> None:
    """Write the model beside `path` and move it there: never is half a model under the name.

    Of `pipeline` the entry "weights" names the files of one's own, which go along.
    """
    path = path.resolve()  # a link stays one
    path.parent.mkdir(parents=True, exist_ok=True)
    _check_free(path)
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=".saving-") as parent:
        folder = Path(parent) / "model"
        folder.mkdir()
        _write_head(head, folder)
        pipeline = {**pipeline, "weights": _take_along(pipeline["weights"], folder)}
        files = {
            file.name: {"bytes": file.stat().st_size, "sha256": _sha256(file.read_bytes())}
            for file in sorted(folder.iterdir())
        }
        manifest = {
            "format": FORMAT,
            "labels": head.classes_.tolist(),
            "training_prior": training_prior,
            "head": type(head).__name__,
            "pipeline": pipeline,
            "fingerprint": fingerprint,
            "vectors": facts,
            "versions": {
                "python": platform.python_version(),
                **{name: version(name) for name in ("ferembed", "numpy", "scikit-learn", "skops")},
            },
            "files": files,
        }
        text = json.dumps(manifest, indent=2, ensure_ascii=False) + "\n"
        (folder / MANIFEST).write_text(text, "utf-8")
        if path.suffix == ".ferembed":
            zipped = Path(parent) / "zip"
            with zipfile.ZipFile(zipped, "w") as archive:
                for name in (MANIFEST, *files):
                    archive.write(folder / name, name)
            os.replace(zipped, path)
        else:
            if path.exists():
                os.replace(path, Path(parent) / "old")
            os.replace(folder, path)


def _write_head(head: Any, folder: Path) -> None:
    if type(head) is Softmax:
        values = vars(head)
        arrays = {name: values[name] for name in _ARRAYS if name in values}
        try:
            settings = json.dumps(head.get_params())
        except TypeError:
            settings = ""
        if settings and json.loads(settings) == head.get_params():
            with (folder / ARRAYS).open("wb") as file:
                np.savez_compressed(file, settings=settings, **arrays)
            return
    import skops.io

    (folder / HEAD).write_bytes(skops.io.dumps(head, compression=zipfile.ZIP_DEFLATED))


def _take_along(weights: Any, folder: Path) -> Any:
    """What the manifest says of the weights, whose files are then in the folder."""

    def take(one: str | None, name: str) -> str | None:
        if one is None or _DRAWN_WEIGHTS.fullmatch(one):
            return one
        shutil.copyfile(one, folder / name)
        return name

    if isinstance(weights, list):
        return [take(one, f"weights-{i}.npz") for i, one in enumerate(weights, 1)]
    return take(weights, WEIGHTS)


def _check_free(path: Path) -> None:
    """A model is replaced by a model; whatever else is there is not lost."""
    zipped = path.suffix == ".ferembed"
    if path.is_dir():
        foreign = sorted(file.name for file in path.iterdir() if not _is_ours(file.name))
        if foreign or zipped:
            what = f"holds {foreign[0]}" if foreign else "is a folder"
            raise ModelError(f"{path} {what} and was left alone. Save under a name that is free.")
    elif path.exists() and not (zipped and zipfile.is_zipfile(path)):
        raise ModelError(f"{path} is no model and was left alone. Save under a name that is free.")


def read(path: str | os.PathLike[str], trusted: Sequence[str] = ()) -> Bundle:
    """The model at a path, or one that ships by its name."""
    place = find(path)
    files = _files_of_zip(place) if place.is_file() else _files_of_folder(place)
    manifest = _manifest(place, files)
    for name, fact in manifest["files"].items():
        if name not in files:
            raise ModelError(f"{place} is incomplete: {name} is missing. Copy the model again.")
        found = _sha256(files[name])
        if found != fact["sha256"]:
            raise ModelError(
                f"sha256 of {name} in {place} is {found[:12]}..., expected "
                f"{fact['sha256'][:12]}.... The model is damaged: copy it again."
            )
    pipeline = dict(manifest["pipeline"])
    weights = pipeline["weights"]
    own = {one for one in _listed(weights) if one and _OUR_WEIGHTS.fullmatch(one)}
    named = ARRAYS if ARRAYS in manifest["files"] else HEAD
    if missing := {named, *own} - manifest["files"].keys():
        raise ModelError(f"{place} is incomplete: its {MANIFEST} names no {min(missing)}.")
    placed = {name: str(_placed(place, name, manifest, files)) for name in own}
    found_at = [placed.get(one, one) for one in _listed(weights)]
    pipeline["weights"] = found_at if isinstance(weights, list) else found_at[0]
    if manifest["head"] not in _OF_ARRAYS:  # which are the same to every version
        _check_version(place, manifest["versions"].get("scikit-learn"))
    if named == ARRAYS:
        head = _of_arrays(place, files[ARRAYS])
    else:
        head = _open_head(place, files[HEAD], trusted)
    labels = getattr(head, "classes_", np.array([])).tolist()
    features = getattr(head, "n_features_in_", None)
    if labels != manifest["labels"] or features != manifest["vectors"].get("dim"):
        raise ModelError(
            f"The head in {place} knows the labels {labels} on vectors of {features}, its "
            f"{MANIFEST} says {manifest['labels']} on {manifest['vectors'].get('dim')}. "
            "The two do not belong together."
        )
    return Bundle(
        pipeline, manifest["fingerprint"], manifest["vectors"], head, manifest["training_prior"]
    )


def find(path: str | os.PathLike[str]) -> Path:
    """Where a model lies."""
    place = Path(path)
    ships = str(path) == place.name and (models_folder() / place / MANIFEST).exists()
    if (place / MANIFEST).exists() or (place.exists() and not ships):
        return place
    if ships:
        return models_folder() / place
    if os.sep in str(path) or place.suffix:
        raise ModelError(f"There is no model at {path}.")
    raise UnknownName(
        unknown_name_message("model", str(path), shipped()) + " Or give the path of a saved one."
    )


def shipped() -> list[str]:
    """The names of the models that ship."""
    return sorted(file.parent.name for file in models_folder().glob(f"*/{MANIFEST}"))


def is_pickle(path: str | os.PathLike[str]) -> bool:
    """Whether a file starts like a pickle, or like one that joblib compressed."""
    if not Path(path).is_file():
        return False
    with Path(path).open("rb") as file:
        return file.read(6).startswith(_PICKLES)


def _is_ours(name: str) -> bool:
    return name in (MANIFEST, HEAD, ARRAYS) or _OUR_WEIGHTS.fullmatch(name) is not None


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def _files_of_folder(folder: Path) -> dict[str, bytes]:
    return {
        file.name: file.read_bytes()
        for file in folder.iterdir()
        if _is_ours(file.name) and file.is_file()
    }


def _files_of_zip(path: Path) -> dict[str, bytes]:
    try:
        with zipfile.ZipFile(path) as archive:
            members = [m for m in archive.infolist() if _is_ours(m.filename)]
            if sum(member.file_size for member in members) > _LARGEST:
                raise ModelError(f"{path} claims more than {_LARGEST >> 30} GiB: it is no model.")
            return {member.filename: archive.read(member) for member in members}
    except ModelError:
        raise
    except Exception as error:  # zipfile meets damage in many ways
        raise ModelError(f"{path} is no readable .ferembed file: {error}.") from error


def _manifest(place: Path, files: dict[str, bytes]) -> dict[str, Any]:
    if MANIFEST not in files:
        raise ModelError(
            f"{place} is no saved model: it has no {MANIFEST}. "
            "Give the folder or the .ferembed file that Pipeline.save wrote."
        )
    try:
        manifest = json.loads(files[MANIFEST])
        format = manifest["format"]
        if format == 1:
            manifest["pipeline"], format = _of_format_1(manifest["pipeline"]), 2
        if format == 2:  # knew neither arrays for a head nor symmetric vectors
            manifest["pipeline"], format = {**manifest["pipeline"], "mirror_average": False}, 3
        if format == 3:  # did not know the class shares in training, and changed none
            manifest["pipeline"] = {**manifest["pipeline"], **_NO_PRIOR}
            manifest["training_prior"], format = None, FORMAT
        if format == FORMAT:
            manifest["pipeline"] = _with_present_names(manifest["pipeline"])
            _check_manifest(manifest)
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise ModelError(f"{MANIFEST} of {place} cannot be understood: {error}.") from error
    if format != FORMAT:
        raise ModelError(
            f"{place} is of model format {format}; this version of ferembed reads format {FORMAT}. "
            "Load it with the version that saved it, or fit it again."
        )
    return dict(manifest)


_KINDS: dict[str, tuple[type, ...]] = {
    "backbone": (str,),
    "detector": (dict,),
    "layer": (str, type(None)),
    "weights": (str, type(None)),
    "preprocess": (dict, type(None)),
    "normalize": (bool,),
    "mirror_average": (bool,),
    "prior": (str, dict, type(None)),
    "prior_strength": (int, float),
    "expressions": (int, type(None)),
}
_NO_PRIOR = {"prior": None, "prior_strength": 1.0, "expressions": None}
_RENAMED = {"symmetric": "mirror_average", "whole": "fallback_to_whole_image"}
_JOINED = {"backbone", "layer", "weights", "preprocess"}  # may be lists, to join vectors


def _of_format_1(pipeline: dict[str, Any]) -> dict[str, Any]:
    """What format 1 said of a pipeline, as later ones say it: it had a detector and a margin."""
    pipeline = dict(pipeline)
    found = {"detector": pipeline["detector"] or "none", "margin": pipeline.pop("margin")}
    return {**pipeline, "detector": found}


def _with_present_names(pipeline: dict[str, Any]) -> dict[str, Any]:
    """The settings under their present names; models up to format 4 may have earlier ones."""
    pipeline = {_RENAMED.get(name, name): value for name, value in pipeline.items()}
    if isinstance(detector := pipeline["detector"], dict):
        detector = {_RENAMED.get(name, name): value for name, value in detector.items()}
    return {**pipeline, "detector": detector}


def _check_manifest(manifest: dict[str, Any]) -> None:
    """A manifest sets what makes vectors and faces, and nothing else: no paths, no limits."""
    kinds: dict[str, type | tuple[type, ...]] = {
        "labels": list,
        "training_prior": (dict, type(None)),
        "pipeline": dict,
        "vectors": dict,
        "versions": dict,
        "files": dict,
        "fingerprint": str,
        "head": str,
    }
    for key, kind in kinds.items():
        if not isinstance(manifest[key], kind):
            raise TypeError(f"{key} is a {type(manifest[key]).__name__}")
    checked_training_prior(manifest["training_prior"], [*map(str, manifest["labels"])])
    if manifest["pipeline"].keys() != _KINDS.keys():
        odd = sorted(manifest["pipeline"].keys() ^ _KINDS.keys())
        raise KeyError(f"pipeline has or lacks {', '.join(odd)}")
    for key, value in manifest["pipeline"].items():
        values = _listed(value) if key in _JOINED else [value]
        if not values or not all(isinstance(one, _KINDS[key]) for one in values):
            raise TypeError(f"{key} is {value!r}")
    for one in _listed(manifest["pipeline"]["weights"]):
        if one is not None and not any(k.fullmatch(one) for k in (_OUR_WEIGHTS, _DRAWN_WEIGHTS)):
            raise ValueError(f"weights lie outside of the model, at {one!r}")
    for name, fact in manifest["files"].items():
        if not isinstance(fact, dict) or not isinstance(fact.get("sha256"), str):
            raise TypeError(f"the fact of {name} is {fact!r}")


def _check_version(place: Path, saved_by: Any) -> None:
    """scikit-learn opens what an older version saved, with a warning, but not a newer one's."""
    here = version("scikit-learn")
    saved, found = (re.findall(r"\d{1,9}", str(text))[:2] for text in (saved_by, here))
    if [*map(int, saved)] > [*map(int, found)]:
        raise ModelError(
            f"{place} was saved with scikit-learn {saved_by}, and here is {here}, which is older. "
            f"Run: pip install 'scikit-learn>={'.'.join(saved)}', or fit the model again."
        )


def _of_arrays(place: Path, content: bytes) -> Softmax:
    try:
        with np.load(io.BytesIO(content), allow_pickle=False) as file:
            head = Softmax(**json.loads(str(file["settings"])))
            for name in _ARRAYS:
                if name in file:
                    setattr(head, name, file[name])
        classes, features = head.coef_.shape
        if head.intercept_.shape != (classes,) or head.classes_.shape != (classes,):
            raise ValueError("its arrays do not fit each other")
        if not np.isfinite(head.coef_).all() or not np.isfinite(head.intercept_).all():
            raise ValueError("it holds numbers that are none")
    except Exception as error:  # NumPy meets damage in many ways
        raise ModelError(f"The head in {place} cannot be opened: {error}.") from error
    head.n_features_in_ = features
    return head


def _open_head(place: Path, content: bytes, trusted: Sequence[str]) -> Any:
    import skops.io

    try:
        content = _with_moved_classes(content)
        foreign = set(skops.io.get_untrusted_types(data=content)) - _ALLOWED - set(trusted)
        if foreign:
            raise UntrustedModel(
                f"The head in {place} holds types that are not on the list of what is safe: "
                f"{', '.join(sorted(foreign))}. It was not opened. If you know its maker, load it "
                f"with trusted={sorted(foreign)}."
            )
        head = skops.io.loads(content, trusted=sorted(_ALLOWED | set(trusted)))
    except UntrustedModel:
        raise
    except Exception as error:  # skops meets damage in many ways
        raise ModelError(f"The head in {place} cannot be opened: {error}.") from error
    try:
        sound = _is_sound(head)
    except (AttributeError, IndexError, RecursionError, TypeError, ValueError):
        sound = False
    if not sound:
        raise ModelError(
            f"The head in {place} holds a tree or a support vector machine that leads outside of "
            "memory: it was forged. It is not used."
        )
    return head


def _with_moved_classes(content: bytes) -> bytes:
    """The skops file with the classes of `_MOVED` named by the modules in which they are now."""
    with zipfile.ZipFile(io.BytesIO(content)) as old:
        schema = json.loads(old.read(_SCHEMA), object_hook=_moved)
        made = io.BytesIO()
        with zipfile.ZipFile(made, "w") as new:
            for member in old.infolist():
                if member.filename != _SCHEMA:
                    new.writestr(member, old.read(member))
            new.writestr(_SCHEMA, json.dumps(schema))
    return made.getvalue()


def _moved(node: dict[str, Any]) -> dict[str, Any]:
    name = f"{node.get('__module__')}.{node.get('__class__')}"
    if name in _MOVED:
        node["__module__"], _, node["__class__"] = _MOVED[name].rpartition(".")
    return node


def _is_sound(thing: Any, features: int | None = None, seen: set[int] | None = None) -> bool:
    """Whether compiled code, which walks trees and support vectors unchecked, stays in bounds."""
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
    return all(_is_sound(one, features, seen) for one in inside)


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
        and vectors.ndim == 2
        and vectors.shape[1] == machine.n_features_in_
        and (counts >= 0).all()
        and counts.sum() == len(vectors) == len(machine.support_)
        and machine._dual_coef_.shape == (classes - 1, len(vectors))
        and len(machine._intercept_) == classes * (classes - 1) // 2
        and len(machine.classes_) == classes
    )


def _placed(place: Path, name: str, manifest: dict[str, Any], files: dict[str, bytes]) -> Path:
    """A file of weights: in the folder, or out of the zip into the cache."""
    if place.is_dir():
        return place / name
    path = cache_folder() / "weights" / f"{manifest['files'][name]['sha256']}.npz"
    if not path.exists() or _sha256(path.read_bytes()) != path.stem:
        with atomic_write(path) as unfinished:
            unfinished.write_bytes(files[name])
    return path


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
