"""A saved model: a folder that a person can read, or a zip of it.

    model.json    what it is: format, labels, how faces become vectors, versions, a hash per file
    head.skops    the fitted head; opening it builds objects of a closed list of types, no others
    weights.npz   the backbone's weights, where they are not among those that ship

Every hash is checked before a file is opened.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
import shutil
import tempfile
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from ferembed.errors import ModelError, UnknownName, UntrustedModel
from ferembed.registry import unknown
from ferembed.weights import cache_folder, models_folder

FORMAT = 1
MANIFEST, HEAD, WEIGHTS = "model.json", "head.skops", "weights.npz"
_LARGEST = 4 << 30
_ALLOWED = frozenset({"ferembed.heads.CalibratedSVC", "sklearn.tree._tree.Tree"})


@dataclass(frozen=True)
class Bundle:
    """A saved model whose files were what its manifest says."""

    pipeline: dict[str, Any]
    fingerprint: str
    facts: dict[str, Any]
    head: Any


def write(
    path: Path,
    pipeline: dict[str, Any],
    fingerprint: str,
    facts: dict[str, Any],
    head: Any,
    weights: Path | None,
) -> None:
    """Write the model beside `path` and move it there: never is half a model under the name."""
    import skops.io

    path.parent.mkdir(parents=True, exist_ok=True)
    if path.is_dir() and any(path.iterdir()) and not (path / MANIFEST).exists():
        raise ModelError(f"{path} is a folder of other things; choose a name that is free.")
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=".saving-") as parent:
        folder = Path(parent) / "model"
        folder.mkdir()
        (folder / HEAD).write_bytes(skops.io.dumps(head, compression=zipfile.ZIP_DEFLATED))
        if weights is not None:
            shutil.copyfile(weights, folder / WEIGHTS)
        files = {
            file.name: {"bytes": file.stat().st_size, "sha256": _sha256(file.read_bytes())}
            for file in sorted(folder.iterdir())
        }
        manifest = {
            "format": FORMAT,
            "labels": head.classes_.tolist(),
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
        (folder / MANIFEST).write_text(json.dumps(manifest, indent=2, ensure_ascii=False) + "\n")
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
                f"{str(fact['sha256'])[:12]}.... The model is damaged: copy it again."
            )
    if HEAD not in manifest["files"]:
        raise ModelError(f"{place} is incomplete: its {MANIFEST} names no {HEAD}.")
    pipeline = dict(manifest["pipeline"])
    if pipeline.get("weights") == WEIGHTS:
        pipeline["weights"] = str(_placed(place, manifest, files))
    head = _open_head(place, files[HEAD], trusted)
    if list(head.classes_) != manifest["labels"]:
        raise ModelError(
            f"The head in {place} knows the labels {list(head.classes_)}, "
            f"its {MANIFEST} says {manifest['labels']}. The two do not belong together."
        )
    return Bundle(pipeline, manifest["fingerprint"], manifest["vectors"], head)


def find(path: str | os.PathLike[str]) -> Path:
    """Where a model lies."""
    if (place := Path(path)).exists():
        return place
    if str(path) == place.name and (models_folder() / place / MANIFEST).exists():
        return models_folder() / place
    if os.sep in str(path) or place.suffix:
        raise ModelError(f"There is no model at {path}.")
    raise UnknownName(unknown("model", str(path), shipped()) + " Or give the path of a saved one.")


def shipped() -> list[str]:
    """The names of the models that ship."""
    return sorted(file.parent.name for file in models_folder().glob(f"*/{MANIFEST}"))


def is_pickle(path: str | os.PathLike[str]) -> bool:
    """Whether a file is a pickle or one that joblib compressed: neither a folder nor a zip."""
    return Path(path).is_file() and not zipfile.is_zipfile(path)


def _files_of_folder(folder: Path) -> dict[str, bytes]:
    names = (MANIFEST, HEAD, WEIGHTS)
    return {name: (folder / name).read_bytes() for name in names if (folder / name).is_file()}


def _files_of_zip(path: Path) -> dict[str, bytes]:
    try:
        with zipfile.ZipFile(path) as archive:
            members = [m for m in archive.infolist() if m.filename in (MANIFEST, HEAD, WEIGHTS)]
            if sum(member.file_size for member in members) > _LARGEST:
                raise ModelError(f"{path} claims more than {_LARGEST >> 30} GiB: it is no model.")
            return {member.filename: archive.read(member) for member in members}
    except (zipfile.BadZipFile, OSError, RuntimeError) as error:
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
        if format == FORMAT:
            for key, kind in (
                ("labels", list),
                ("pipeline", dict),
                ("vectors", dict),
                ("files", dict),
                ("fingerprint", str),
            ):
                if not isinstance(manifest[key], kind):
                    raise TypeError(f"{key} is no {kind.__name__}")
    except (ValueError, KeyError, TypeError) as error:
        raise ModelError(f"{MANIFEST} of {place} cannot be understood: {error}.") from error
    if format != FORMAT:
        raise ModelError(
            f"{place} is of model format {format}; this version of ferembed reads format {FORMAT}. "
            "Load it with the version that saved it, or fit it again."
        )
    return dict(manifest)


def _open_head(place: Path, content: bytes, trusted: Sequence[str]) -> Any:
    import skops.io

    try:
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
    _check_trees(place, head)
    return head


def _check_trees(place: Path, head: Any) -> None:
    """Compiled code walks trees unchecked: a forged one would lead it outside of memory."""
    for tree in (getattr(member, "tree_", None) for member in getattr(head, "estimators_", ())):
        if tree is None:
            continue
        last, inner = tree.node_count, tree.children_left != -1
        below = np.concatenate([tree.children_left[inner], tree.children_right[inner]])
        parents = np.tile(np.flatnonzero(inner), 2)
        features = tree.feature[inner]
        sound = (
            (below > parents).all()
            and (below < last).all()
            and (features >= 0).all()
            and (features < head.n_features_in_).all()
            and len(tree.value) == last
        )
        if not sound:
            raise ModelError(f"The head in {place} holds a tree that leads nowhere: it was forged.")


def _placed(place: Path, manifest: dict[str, Any], files: dict[str, bytes]) -> Path:
    """The weights as a file: in the folder, or out of the zip into the cache."""
    if place.is_dir():
        return place / WEIGHTS
    path = cache_folder() / "weights" / f"{manifest['files'][WEIGHTS]['sha256']}.npz"
    if not path.exists() or _sha256(path.read_bytes()) != path.stem:
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_name(f"partial-{os.getpid()}-{path.name}")
        partial.write_bytes(files[WEIGHTS])
        os.replace(partial, path)
    return path


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
