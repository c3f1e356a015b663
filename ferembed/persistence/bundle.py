"""A saved model: a folder that a person can read, or a zip of it.

    model.json    what it is: format, labels, how faces become vectors, versions, a hash per file
    head.npz      the fitted head as arrays, where it is one of ferembed's own
    head.skops    any other head; it is opened only when the caller names its types as trusted
    weights.npz   the backbone's weights, where they are not among those that ship
                  (weights-1.npz and so on, where vectors of several are joined)

Every file is named in model.json with its size and hash, and both are checked before it is opened.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import platform
import re
import shutil
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np

from ferembed.backbones.spec import DRAWN_WEIGHTS
from ferembed.errors import ModelError, UnknownName, UntrustedModel
from ferembed.persistence.head_arrays import OWN_HEADS, check, pack, unpack
from ferembed.persistence.soundness import MOVED, OURS, SCHEMA, foreign_types, is_sound
from ferembed.priors import checked_training_prior
from ferembed.registry import unknown_name_message
from ferembed.storage.arrays import check_packing, write_arrays
from ferembed.storage.files import (
    atomic_write,
    is_special_file,
    naming,
    replace_durably,
    temporary,
)
from ferembed.storage.folders import cache_folder, models_folder
from ferembed.storage.weights import sha256_of

FORMAT = 4
MANIFEST, HEAD, ARRAYS, WEIGHTS = "model.json", "head.skops", "head.npz", "weights.npz"
_OUR_WEIGHTS = re.compile(r"weights(-[1-9]\d{0,2})?\.npz")
_LONGEST_MANIFEST = 4 << 20  # bytes
_MOST_JOINED = 32  # backbones whose vectors are joined
_MOST_LABELS = 1000
_PICKLES = (b"\x80", b"\x78", b"\x1f\x8b", b"BZ", b"\xfd7zXZ", b"\x5d\x00")


@dataclass(frozen=True)
class Bundle:
    """A saved model, after its files were checked against its manifest."""

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
    parent = temporary(path)
    folder = parent / "model"
    try:
        with naming(path, parent):
            folder.mkdir(parents=True)
            _fill(folder, pipeline, fingerprint, facts, head, training_prior)
            if path.suffix == ".ferembed":
                zipped = parent / "zip"
                with zipfile.ZipFile(zipped, "w") as archive:
                    names = sorted(file.name for file in folder.iterdir() if file.name != MANIFEST)
                    for name in (MANIFEST, *names):
                        archive.write(folder / name, name)
                replace_durably(zipped, path)
            else:
                _replace_folder(folder, path)
    finally:
        shutil.rmtree(parent, ignore_errors=True)


def _replace_folder(folder: Path, path: Path) -> None:
    """Move a new model to its place. A stop between the two moves leaves the old one readable."""
    previous = _previous(path)
    if path.exists():
        shutil.rmtree(previous, ignore_errors=True)
        os.replace(path, previous)
    try:
        replace_durably(folder, path)
    except BaseException:
        if previous.exists():
            os.replace(previous, path)
        raise
    shutil.rmtree(previous, ignore_errors=True)


def _previous(path: Path) -> Path:
    """The path of the old model while a new one replaces it."""
    return path.with_name(f".{path.name[-60:]}.previous")


def _fill(
    folder: Path,
    pipeline: dict[str, Any],
    fingerprint: str,
    facts: dict[str, Any],
    head: Any,
    training_prior: dict[str, float] | None,
) -> None:
    """Write the files of a model into a folder."""
    _write_head(head, folder)
    pipeline = {**pipeline, "weights": _take_along(pipeline["weights"], folder)}
    files = {
        file.name: {"bytes": file.stat().st_size, "sha256": sha256_of(file)}
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
            **{name: _version(name) for name in ("ferembed", "numpy", "scikit-learn", "skops")},
        },
        "files": files,
    }
    text = json.dumps(manifest, indent=2, ensure_ascii=False) + "\n"
    (folder / MANIFEST).write_text(text, "utf-8")


def _write_head(head: Any, folder: Path) -> None:
    if (arrays := pack(head)) is not None:
        write_arrays(folder / ARRAYS, arrays)
        return
    import skops.io

    (folder / HEAD).write_bytes(skops.io.dumps(head, compression=zipfile.ZIP_DEFLATED))


def _take_along(weights: Any, folder: Path) -> Any:
    """The manifest's entry for the weights, after copying their files into the folder."""

    def take(one: str | None, name: str) -> str | None:
        if one is None or DRAWN_WEIGHTS.fullmatch(one):
            return one
        shutil.copyfile(one, folder / name)
        return name

    if isinstance(weights, list):
        return [take(one, f"weights-{i}.npz") for i, one in enumerate(weights, 1)]
    return take(weights, WEIGHTS)


def _check_free(path: Path) -> None:
    """Raise a ModelError if the path has something other than a model."""
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
    with _opened(place) as contents:
        manifest = _manifest(place, contents)
        _check_files(place, contents, manifest["files"])
        pipeline = dict(manifest["pipeline"])
        weights = pipeline["weights"]
        own = {one for one in _listed(weights) if one and _OUR_WEIGHTS.fullmatch(one)}
        named = ARRAYS if ARRAYS in manifest["files"] else HEAD
        if missing := {named, *own} - manifest["files"].keys():
            raise ModelError(f"{place} is incomplete: its {MANIFEST} names no {min(missing)}.")
        placed = {
            name: _placed_weights(place, contents, name, manifest["files"][name]) for name in own
        }
        content = _verified(place, contents, named, manifest["files"][named])
    found_at = [placed.get(one, one) for one in _listed(weights)]
    pipeline["weights"] = found_at if isinstance(weights, list) else found_at[0]
    if named == ARRAYS:
        head = _open_arrays(place, content, manifest)
    else:
        head = _open_objects(place, content, manifest, trusted)
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
    """The path of a model, given its path or the name of one that ships."""
    place = Path(path)
    ships = str(path) == place.name and (models_folder() / place / MANIFEST).exists()
    if (place / MANIFEST).exists() or (place.exists() and not ships):
        return place
    if (_previous(place) / MANIFEST).exists():  # a run that replaced it was killed in between
        return _previous(place)
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
    """True if a file starts like a pickle, or like one compressed by joblib."""
    if not Path(path).is_file():
        return False
    with Path(path).open("rb") as file:
        return file.read(6).startswith(_PICKLES)


def _is_ours(name: str) -> bool:
    return name in (MANIFEST, HEAD, ARRAYS) or _OUR_WEIGHTS.fullmatch(name) is not None


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


class _Contents:
    """The files of a model, in a folder or in a zip: their sizes are known before one is read."""

    def __init__(self, sizes: dict[str, int], source: Path | zipfile.ZipFile) -> None:
        self.sizes = sizes
        self.source = source

    def open(self, name: str) -> IO[bytes]:
        if isinstance(self.source, Path):
            return (self.source / name).open("rb")
        return self.source.open(name)


@contextmanager
def _opened(place: Path) -> Iterator[_Contents]:
    if place.is_dir():
        files = [file for file in place.iterdir() if _is_ours(file.name)]
        if odd := [file for file in files if is_special_file(file) or not file.is_file()]:
            raise ModelError(f"{odd[0]} is no ordinary file: {place} is no saved model.")
        yield _Contents({file.name: file.stat().st_size for file in files}, place)
        return
    try:
        if is_special_file(place):
            raise ValueError("it is a pipe or a device")
        archive = zipfile.ZipFile(place)
        members = archive.infolist()
        sizes = {member.filename: member.file_size for member in members}
        if len(sizes) < len(members):
            raise ValueError("two of its members have one name")
        check_packing(sum(sizes.values()), place.stat().st_size)
    except Exception as error:  # zipfile meets damage in many ways
        raise ModelError(f"{place} is no readable .ferembed file: {error}.") from error
    with archive:
        yield _Contents(sizes, archive)


def _check_files(place: Path, contents: _Contents, files: dict[str, Any]) -> None:
    """The files are those that the manifest names, in their sizes."""
    for name, fact in files.items():
        if name not in contents.sizes:
            raise ModelError(f"{place} is incomplete: {name} is missing. Copy the model again.")
        if contents.sizes[name] != fact["bytes"]:
            raise ModelError(
                f"{name} in {place} has {contents.sizes[name]:,} bytes, expected "
                f"{fact['bytes']:,}. The model is damaged: copy it again."
            )
    if strange := sorted(contents.sizes.keys() - files.keys() - {MANIFEST}):
        raise ModelError(
            f"{place} holds {strange[0]}, which its {MANIFEST} does not name. It was not opened: "
            "save the model again."
        )


def _verified(place: Path, contents: _Contents, name: str, fact: dict[str, Any]) -> bytes:
    """The content of a file, if its hash is right."""
    content = io.BytesIO()
    _copy_verified(place, contents, name, fact, content)
    return content.getvalue()


def _copy_verified(
    place: Path, contents: _Contents, name: str, fact: dict[str, Any], out: IO[bytes] | None
) -> None:
    digest = hashlib.sha256()
    try:
        with contents.open(name) as file:
            while chunk := file.read(1 << 20):
                digest.update(chunk)
                if out is not None:
                    out.write(chunk)
    except Exception as error:  # zipfile meets damage in many ways
        raise ModelError(f"{name} in {place} cannot be read: {error}.") from error
    if digest.hexdigest() != fact["sha256"]:
        raise ModelError(
            f"sha256 of {name} in {place} is {digest.hexdigest()[:12]}..., expected "
            f"{fact['sha256'][:12]}.... The model is damaged: copy it again."
        )


def _manifest(place: Path, contents: _Contents) -> dict[str, Any]:
    if MANIFEST not in contents.sizes:
        raise ModelError(
            f"{place} is no saved model: it has no {MANIFEST}. "
            "Give the folder or the .ferembed file that Pipeline.save wrote."
        )
    try:
        if contents.sizes[MANIFEST] > _LONGEST_MANIFEST:
            raise ValueError(f"it has {contents.sizes[MANIFEST]:,} bytes")
        with contents.open(MANIFEST) as file:
            text = file.read(_LONGEST_MANIFEST)
        manifest = json.loads(text, parse_constant=_refuse_number)
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
    except (ValueError, KeyError, TypeError, RecursionError, zipfile.BadZipFile) as error:
        raise ModelError(f"{MANIFEST} of {place} cannot be understood: {error}.") from error
    except Exception as error:  # zipfile meets damage in many ways
        raise ModelError(f"{place} is no readable .ferembed file: {error}.") from error
    if format != FORMAT:
        raise ModelError(
            f"{place} is of model format {format}; this version of ferembed reads format {FORMAT}. "
            "Load it with the version that saved it, or fit it again."
        )
    return dict(manifest)


def _refuse_number(text: str) -> None:
    raise ValueError(f"it holds {text}, which is no number")


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
    """The pipeline of format 1, which had a detector and a margin, in the later form."""
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
    """Raise an error unless the manifest has exactly the known settings, without paths."""
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
    _check_labels(manifest["labels"])
    checked_training_prior(manifest["training_prior"], [*map(str, manifest["labels"])])
    if manifest["pipeline"].keys() != _KINDS.keys():
        odd = sorted(manifest["pipeline"].keys() ^ _KINDS.keys())
        raise KeyError(f"pipeline has or lacks {', '.join(odd)}")
    for key, value in manifest["pipeline"].items():
        values = _listed(value) if key in _JOINED else [value]
        if not values or not all(isinstance(one, _KINDS[key]) for one in values):
            raise TypeError(f"{key} is {value!r:.200}")
        if len(values) > _MOST_JOINED:
            raise ValueError(f"{len(values)} of {key} are joined; {_MOST_JOINED} are allowed")
    for one in _listed(manifest["pipeline"]["weights"]):
        if one is not None and not any(k.fullmatch(one) for k in (_OUR_WEIGHTS, DRAWN_WEIGHTS)):
            raise ValueError(f"weights are outside of the model, at {one!r}")
    for name, fact in manifest["files"].items():
        if not _is_ours(name) or name == MANIFEST:
            raise ValueError(f"files names {name!r:.80}, which is no part of a model")
        whole = isinstance(fact, dict) and type(fact.get("bytes")) is int
        if not whole or not isinstance(fact.get("sha256"), str):
            raise TypeError(f"the fact of {name} is {fact!r:.200}")


def _check_labels(labels: list[Any]) -> None:
    if not 1 <= len(labels) <= _MOST_LABELS:
        raise ValueError(f"there are {len(labels):,} labels; 1 to {_MOST_LABELS:,} are allowed")
    for label in labels:
        if isinstance(label, str) and not (label.isprintable() and len(label) <= 100):
            raise ValueError(f"a label is {label!r:.120}; it has up to 100 printable characters")
        if not isinstance(label, (str, int)):
            raise TypeError(f"a label is {label!r:.120}")


def _version(package: str) -> str:
    from importlib.metadata import version  # slow to import, and our own heads need no check

    return version(package)


def _check_version(place: Path, saved_by: Any) -> None:
    """scikit-learn opens what an older version saved, with a warning, but not a newer one's."""
    here = _version("scikit-learn")
    saved, found = (re.findall(r"\d{1,9}", str(text))[:2] for text in (saved_by, here))
    if [*map(int, saved)] > [*map(int, found)]:
        raise ModelError(
            f"{place} was saved with scikit-learn {saved_by}, and here is {here}, which is older. "
            f"Run: pip install 'scikit-learn>={'.'.join(saved)}', or fit the model again."
        )


def _open_arrays(place: Path, content: bytes, manifest: dict[str, Any]) -> Any:
    try:
        features = manifest["vectors"].get("dim")
        return unpack(manifest["head"], io.BytesIO(content), features)
    except Exception as error:  # NumPy meets damage in many ways
        raise ModelError(f"The head in {place} cannot be opened: {error}.") from error


def _open_objects(
    place: Path, content: bytes, manifest: dict[str, Any], trusted: Sequence[str]
) -> Any:
    """A head of other types than ferembed's own, or one of ours of an earlier format."""
    try:
        types, functions = foreign_types(content)
    except Exception as error:  # zipfile and JSON meet damage in many ways
        raise ModelError(f"The head in {place} cannot be opened: {error}.") from error
    if foreign := sorted((types | functions) - set(trusted)):
        raise UntrustedModel(_refusal(place, foreign, functions))
    if manifest["head"] not in OWN_HEADS:  # which are the same to every version
        _check_version(place, manifest["versions"].get("scikit-learn"))
    import skops.io

    try:
        content = _with_moved_classes(content)
        head = skops.io.loads(content, trusted=sorted(OURS | set(trusted)))
        if not types and not functions:
            check(head, manifest["vectors"].get("dim"))
            return head
        sound = is_sound(head)
    except (AttributeError, IndexError, RecursionError):
        sound = False
    except Exception as error:  # skops meets damage in many ways
        raise ModelError(f"The head in {place} cannot be opened: {error}.") from error
    if not sound:
        raise ModelError(
            f"The head in {place} contains indices that are out of range: the file is corrupt or "
            "malicious. It is not used."
        )
    return head


def _with_moved_classes(content: bytes) -> bytes:
    """The skops file with the classes of MOVED named by the modules in which they are now."""
    with zipfile.ZipFile(io.BytesIO(content)) as old:
        schema = json.loads(old.read(SCHEMA), object_hook=_moved)
        made = io.BytesIO()
        with zipfile.ZipFile(made, "w") as new:
            for member in old.infolist():
                if member.filename != SCHEMA:
                    new.writestr(member, old.read(member))
            new.writestr(SCHEMA, json.dumps(schema))
    return made.getvalue()


def _moved(node: dict[str, Any]) -> dict[str, Any]:
    name = f"{node.get('__module__')}.{node.get('__class__')}"
    if name in MOVED:
        node["__module__"], _, node["__class__"] = MOVED[name].rpartition(".")
    return node


def _refusal(place: Path, foreign: list[str], functions: set[str]) -> str:
    shown = ", ".join(foreign[:20]) + (f" and {len(foreign) - 20} more" if foreign[20:] else "")
    if calls := sorted(functions.intersection(foreign)):
        return (
            f"The head in {place} calls functions, such as {calls[0]}, and a fitted classifier "
            f"has no need to. It was not opened, and you should not open it. It holds: {shown}."
        )
    return (
        f"The head in {place} holds types other than ferembed's own: {shown}. It was not opened: "
        "compiled code of scikit-learn reads the numbers of a fitted model unchecked, and other "
        "packages run code of their own, so a forged file can crash this process or do harm. If "
        "you made the file or trust its maker, name each of these types in "
        "Pipeline.load(path, trusted=[...])."
    )


def _placed_weights(place: Path, contents: _Contents, name: str, fact: dict[str, Any]) -> str:
    """The path of a file of weights: in the folder, or copied from the zip into the cache."""
    if place.is_dir():
        _copy_verified(place, contents, name, fact, None)
        return str(place / name)
    if not re.fullmatch(r"[0-9a-f]{64}", fact["sha256"]):
        raise ModelError(f"{MANIFEST} of {place} cannot be understood: {name} has no sha256.")
    path = cache_folder() / "weights" / f"{fact['sha256']}.npz"
    if path.is_file() and path.stat().st_size == fact["bytes"] and sha256_of(path) == path.stem:
        return str(path)
    try:
        with atomic_write(path) as unfinished, unfinished.open("wb") as out:
            _copy_verified(place, contents, name, fact, out)
    except OSError as error:
        raise ModelError(
            f"{name} of {place} cannot be unpacked to {path}: {error.strerror}. Unzip the model "
            "into a folder and load that, or choose another cache with $FEREMBED_CACHE."
        ) from error
    return str(path)
