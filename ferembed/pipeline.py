"""Pipeline: an embedder and a head as one scikit-learn classifier over images."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Mapping, Sequence, Sized
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeGuard, cast

import numpy as np
from numpy.typing import NDArray

from ferembed._estimator import Classifier, require_fitted
from ferembed._progress import Progress
from ferembed.backbones import BACKBONES, DEFAULT_BACKBONE
from ferembed.backbones.preprocess import Preprocess
from ferembed.embedder import (
    Embedded,
    Embedder,
    Failure,
    OneOrList,
    is_list,
    raise_failures,
)
from ferembed.errors import LabelError, ModelError, UnknownName
from ferembed.faces import Face, FaceRecipe
from ferembed.heads.softmax import Softmax
from ferembed.heads.votes import fit_on_votes, weighted_rows
from ferembed.images import MAX_PIXELS, Source, open_source
from ferembed.labels import CONTEMPT, expression_set, reading_order
from ferembed.persistence import bundle, export
from ferembed.priors import (
    Prior,
    checked_training_prior,
    prior_factors,
    reweighted,
    training_prior,
)
from ferembed.registry import unknown_name_message
from ferembed.report import Report
from ferembed.storage.embeddings import EmbeddingSpec, EmbeddingStore, Vectors
from ferembed.storage.weights import read_weights

if TYPE_CHECKING:
    from ferembed.datasets import Dataset
    from ferembed.datasets.vectors import VectorSet

_IN_MEMORY = 100_000  # vectors of a VectorSet that every head is given at once


@dataclass(frozen=True)
class Prediction:
    """A prediction for a face: the label, and the probability of each label in reading order."""

    face: Face
    label: str
    probabilities: Mapping[str, float]

    @property
    def box(self) -> tuple[int, int, int, int]:
        """The box of the face in the photo: (x1, y1, x2, y2)."""
        return self.face.box


class Pipeline(Classifier):
    """Reads expressions: `fit` on labelled faces, `predict` on faces, `analyze` a photo.

    >>> rng = np.random.default_rng(0)
    >>> faces = rng.integers(0, 256, (8, 48, 48), dtype=np.uint8)
    >>> pipeline = Pipeline("cnn-a", "knn", weights="random", store="memory")
    >>> pipeline.set_params(head__n_neighbors=1).fit(faces, ["happy", "sad"] * 4).predict(faces[:2])
    array(['happy', 'sad'], dtype='<U5')

    `fit`, `predict`, `predict_proba` and `score` take faces: each image is one face, and gives one
    row. `analyze` takes a photo, finds the faces in it with `detector` and cuts them out.

    Parameters
    ----------
    backbone, layer, weights, preprocess, normalize, mirror_average, store, engine, max_pixels,
        progress : the computation of vectors, see `Embedder`
    head : the name of a head ("svm", "forest", "bagged-svm", "knn", "softmax"), or any scikit-learn
        classifier; its parameters are reached as head__C and so on
    detector : what finds the faces of a photo and cuts them out: the name of a detector or of one
        of `FACE_RECIPES`, or a `FaceRecipe`; "auto" is "yunet" where it has been fetched, else
        "mtcnn"; None where the picture is the face
    prior : the share of each class among the faces to read: "uniform", or a mapping such as
        {"happy": 0.5, "sad": 0.5}; None is the share that each class had in training
    prior_strength : how much of that is done, from 0 to 1. A probability p(c) becomes proportional
        to p(c) * (prior(c) / training(c)) ** prior_strength, and rows still sum to 1
    expressions : 7 takes contempt out of the predictions of a head that knows it, and lets the
        others sum to 1; 8 asks for a head that knows contempt; None predicts what the head knows
    """

    def __init__(
        self,
        backbone: OneOrList[str] = DEFAULT_BACKBONE,
        head: Any = "svm",
        *,
        detector: str | FaceRecipe | None = "auto",
        layer: OneOrList[str | None] = None,
        weights: OneOrList[str | os.PathLike[str] | None] = None,
        preprocess: OneOrList[Preprocess | None] = None,
        normalize: bool = False,
        mirror_average: bool = False,
        store: str | os.PathLike[str] | EmbeddingStore = "disk",
        engine: str = "auto",
        max_pixels: int = MAX_PIXELS,
        progress: Progress | None = None,
        prior: Prior = None,
        prior_strength: float = 1.0,
        expressions: int | None = None,
    ) -> None:
        self.backbone = backbone
        self.head = head
        self.detector = detector
        self.layer = layer
        self.weights = weights
        self.preprocess = preprocess
        self.normalize = normalize
        self.mirror_average = mirror_average
        self.store = store
        self.engine = engine
        self.max_pixels = max_pixels
        self.progress = progress
        self.prior = prior
        self.prior_strength = prior_strength
        self.expressions = expressions

    @property
    def classes_(self) -> NDArray[Any]:
        """The labels that are predicted: those of the head, with `expressions=7` less contempt."""
        classes = self.head_.classes_
        return np.asarray(classes[self._columns(classes)])

    @property
    def labels(self) -> list[str]:
        """The labels that are predicted, in reading order."""
        return reading_order([str(label) for label in self.classes_])

    @property
    def embedder(self) -> Embedder:
        """The embedder with the settings of this pipeline."""
        return Embedder(**{name: getattr(self, name) for name in Embedder().get_params()})

    def fit(
        self,
        images: Iterable[Source] | Dataset | VectorSet,
        labels: Any = None,
        *,
        classes: Sequence[str] | None = None,
        skip_unreadable: bool = False,
    ) -> Pipeline:
        """Embed the faces, or find their vectors in the store, and fit the head on them.

        `labels` are one per image, or the votes on it: a row per image and a column for each of
        `classes`, as `Dataset.targets`. A face then counts for each class with its share of votes.

        A `Dataset` brings its own labels, or the votes on its pictures.

        The vectors of `datasets.open_vectors` are taken as they are, with their own labels. More
        than 100,000 of them are read in batches by the heads that can be fitted so.

        `computed_`, `from_store_` and `duplicates_` then say how many vectors were which. An
        unreadable image is an error, once all others are in the store, or with `skip_unreadable`
        stands in `failures_`.
        """
        self._check_settings()
        if _are_vectors(images):
            return self._fit_vectors(images, labels)
        if _is_dataset(images):
            images, labels, classes = _with_labels(images, labels)
        images = cast(Iterable[Source], images)
        given = np.asarray(labels) if classes is not None else _checked_labels(labels)
        labels = given if classes is None else weighted_rows(given, classes)[1]
        self._prior_factors(np.unique(labels), training_prior(labels))
        embedder = self.embedder
        embedded = _embed_labelled(embedder, images, given)
        if not skip_unreadable:
            raise_failures(embedded)
        given, weights = given[embedded.positions], None
        labels = given
        if classes is not None:
            _, labels, weights = weighted_rows(given, classes)
        _check_classes(labels, len(given))
        head = _new_head(self.head)
        if classes is None:
            head.fit(embedded.vectors, labels)
        else:
            fit_on_votes(head, embedded.vectors, given, classes)
        neighbors = getattr(head, "n_neighbors", 1)
        if isinstance(neighbors, int) and neighbors > len(given):
            raise LabelError(
                f"The head asks {neighbors} neighbours and has {len(given)} faces. "
                "Give more faces, or set head__n_neighbors to fewer."
            )
        self.head_ = head
        self.training_prior_: dict[str, float] | None
        self.training_prior_ = training_prior(labels, _class_weight(head), weights)
        self.recipe_ = embedder.recipe
        self.computed_, self.from_store_ = embedded.computed, embedded.hits
        self.duplicates_ = embedded.duplicates
        self.failures_ = embedded.failures
        return self

    def _fit_vectors(self, vectors: VectorSet, labels: Any) -> Pipeline:
        if labels is not None:
            raise LabelError("Vectors of open_vectors bring their labels: give no others.")
        recipe = self.embedder.recipe
        if vectors.fingerprint != recipe.fingerprint:
            raise ModelError(
                f"The vectors in {vectors.path} were made otherwise than this pipeline makes them: "
                f"{_differences(json.loads(recipe.facts), vectors.facts)}. Take "
                "Pipeline.for_vectors(vectors, head), which has their settings."
            )
        labels = vectors.labels
        _check_classes(labels, len(labels))
        self._prior_factors(np.unique(labels), training_prior(labels))
        head = _new_head(self.head)
        if len(vectors) > _IN_MEMORY and hasattr(head, "fit_batches"):
            head.fit_batches(vectors.batches, np.array(vectors.classes))
        else:
            head.fit(np.asarray(vectors), labels)
        self.head_ = head
        self.training_prior_ = training_prior(labels, _class_weight(head))
        self.recipe_ = recipe
        self.computed_, self.from_store_, self.duplicates_ = 0, len(vectors), 0
        self.failures_ = ()
        return self

    @classmethod
    def for_vectors(cls, vectors: VectorSet, head: Any = "svm", **settings: Any) -> Pipeline:
        """A pipeline, not fitted yet, that makes vectors as those of `open_vectors` were made."""
        own = dict(vectors.embedder)
        own["preprocess"] = _preprocess(own["preprocess"], own["backbone"])
        return cls(head=head, **{**own, **settings})

    @classmethod
    def from_head(
        cls, head: Any, *, training_prior: Mapping[str, float] | None = None, **settings: Any
    ) -> Pipeline:
        """A pipeline of a head that was fitted on vectors of these settings elsewhere.

        `training_prior` is the share of each class in training; without it `prior` stays None.
        """
        pipeline = cls(head=head, **settings)
        pipeline._check_settings()
        pipeline.head_ = head
        labels = [str(label) for label in head.classes_]
        pipeline.training_prior_ = checked_training_prior(training_prior, labels)
        pipeline._prior_factors(head.classes_, pipeline.training_prior_)
        pipeline.recipe_ = pipeline.embedder.recipe
        return pipeline

    @classmethod
    def from_networks(cls, *names: str, label_set: str | None = None, **settings: Any) -> Pipeline:
        """A pipeline of networks that ship, which predicts the mean of their own last layers.

        Networks that were trained on several label sets predict one of them: `label_set` names it,
        by default it is the first.
        """
        layers = [_last_layer(name, label_set) for name in names]
        classes = layers[0][2]
        odd = [name for name, layer in zip(names, layers, strict=True) if layer[2] != classes]
        if odd:
            raise ModelError(f"{odd[0]} predicts other classes than {names[0]}.")
        kernel = np.concatenate([layer[0] for layer in layers], dtype=np.float64) / len(names)
        bias = np.mean([layer[1] for layer in layers], axis=0)
        head = Softmax.from_layer(kernel, bias, list(classes))
        return cls.from_head(
            head, backbone=names[0] if len(names) == 1 else list(names), **settings
        )

    def predict(self, images: Iterable[Source]) -> NDArray[Any]:
        """The label of each face."""
        vectors = self.checked_embedder().transform(images)
        if not len(vectors):
            return self.classes_[:0]
        factors = self._prior_factors(self.head_.classes_, self.training_prior_)
        if factors is None and len(self.classes_) == len(self.head_.classes_):
            labels = np.asarray(_ask_head(self.head_, "predict", vectors))
            if labels.shape != (len(vectors),) or not np.isin(labels, self.classes_).all():
                raise _broken(self.head_, "it predicts labels that are none of its classes")
            return labels
        return np.asarray(self.classes_[self.probabilities(vectors).argmax(axis=1)])

    def predict_proba(self, images: Iterable[Source]) -> NDArray[np.float64]:
        """(n, k): a row per face, a column for each of `classes_`."""
        return self.probabilities(self.checked_embedder().transform(images))

    def checked_embedder(self) -> Embedder:
        """The embedder, after checking that its vectors are those the head was fitted on."""
        require_fitted(self, "head_")
        embedder = self.embedder
        recipe = embedder.recipe
        if recipe.fingerprint != self.recipe_.fingerprint:
            changed = _differences(json.loads(recipe.facts), json.loads(self.recipe_.facts))
            raise ModelError(
                "The head was fitted on other vectors than are made here: "
                f"{changed or 'their fingerprint is another'}. Fit it again, or load it with the "
                "version of ferembed that saved it."
            )
        return embedder

    def _check_settings(self) -> None:
        FaceRecipe.resolve(self.detector)
        if self.expressions is not None:
            expression_set(self.expressions)

    def _columns(self, classes: NDArray[Any]) -> NDArray[np.intp]:
        """The indices of the head's classes that are predicted."""
        if self.expressions is None:
            return np.arange(len(classes))
        known = classes.astype(str)
        if len(expression_set(self.expressions)) == 7:
            return np.flatnonzero(known != CONTEMPT)
        if CONTEMPT not in known:
            raise ModelError(
                f"expressions is 8, and the head does not know contempt: {', '.join(known)}. Fit "
                "it on labels with contempt (datasets.open(..., expressions=8)), or leave "
                "expressions out."
            )
        return np.arange(len(classes))

    def _prior_factors(
        self, classes: NDArray[Any], trained: Mapping[str, float] | None
    ) -> NDArray[np.float64] | None:
        """The factor of `prior` for each predicted column of `classes`; None for no change."""
        labels = [str(label) for label in classes[self._columns(classes)]]
        return prior_factors(self.prior, self.prior_strength, labels, trained)

    def probabilities(self, vectors: Vectors) -> NDArray[np.float64]:
        if not hasattr(self.head_, "predict_proba"):
            raise ModelError(
                f"The head {type(self.head_).__name__} gives no probabilities. Wrap it in "
                "sklearn.calibration.CalibratedClassifierCV, or use predict."
            )
        if not len(vectors):
            return np.empty((0, len(self.classes_)))
        probabilities = _checked_probabilities(self.head_, vectors)
        columns = self._columns(self.head_.classes_)
        factors = self._prior_factors(self.head_.classes_, self.training_prior_)
        if factors is None and len(columns) == probabilities.shape[1]:
            return probabilities
        return reweighted(probabilities[:, columns], factors)

    def evaluate(self, images: Iterable[Source], labels: Any) -> tuple[Report, tuple[Failure, ...]]:
        """The scores on labelled faces, and the faces that could not be read."""
        labels = _checked_labels(labels)
        embedded = _embed_labelled(self.checked_embedder(), images, labels)
        true = labels[embedded.positions]
        probabilities = self.probabilities(embedded.vectors)
        return Report.from_predictions(true, probabilities, self.classes_), embedded.failures

    def analyze(self, photo: Source) -> list[Prediction]:
        """The predictions for the faces in a photo, the most confident face first; [] for none."""
        require_fitted(self, "head_")
        recipe = FaceRecipe.resolve(self.detector)
        found = recipe(*open_source(photo).reduced(recipe.shorter_side, self.max_pixels))
        return self.read([crop for _, crop in found], [face for face, _ in found])

    def read(self, crops: Sequence[Source], faces: Sequence[Face]) -> list[Prediction]:
        """The predictions for faces that were detected and cropped elsewhere."""
        probabilities = self.predict_proba(crops)
        labels = [str(label) for label in self.classes_]
        order = self.labels
        predictions = []
        for face, row in zip(faces, probabilities, strict=True):
            by_label = dict(zip(labels, map(float, row), strict=True))
            best = labels[int(row.argmax())]
            predictions.append(Prediction(face, best, {label: by_label[label] for label in order}))
        return predictions

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write a folder that a person can read, or a zip of it if the name ends in .ferembed."""
        recipe = self.checked_embedder().recipe
        facts = {name: getattr(self, name) for name in _SAVED}
        facts |= {name: bool(facts[name]) for name in ("normalize", "mirror_average")}
        facts["detector"] = FaceRecipe.named(self.detector).facts()
        facts["preprocess"] = _each(self.preprocess, Preprocess.facts)
        facts["weights"] = _each(self.weights, os.fspath)
        if isinstance(self.prior, Mapping):
            facts["prior"] = {str(label): float(share) for label, share in self.prior.items()}
        bundle.write(
            Path(path),
            facts,
            recipe.fingerprint,
            json.loads(recipe.facts),
            self.head_,
            self.training_prior_,
        )

    @classmethod
    def load(
        cls,
        path: str | os.PathLike[str],
        *,
        trusted: Sequence[str] = (),
        allow_pickle: bool = False,
        **settings: Any,
    ) -> Pipeline:
        """A saved pipeline, ready to predict. A name such as "default" is a model that ships.

        Opening a model runs no code from it: its head is made of a closed list of types, to which
        `trusted` adds by name. An exported pickle is opened only with `allow_pickle=True`, since
        that runs whatever its writer put in. `settings` are parameters that change no vector, such
        as `store`, `engine`, `detector`, `prior` or `progress`.
        """
        if bundle.is_pickle(path):
            pipeline = export.load_pickle(Path(path), allow_pickle)
            if not isinstance(pipeline, cls):
                raise ModelError(f"{path} holds a {type(pipeline).__name__}, not a Pipeline.")
            pipeline.set_params(**settings).checked_embedder()
            return pipeline
        if "detector" in settings:
            FaceRecipe.resolve(settings["detector"])  # an error here is the caller's
        saved = bundle.read(path, trusted)
        facts = saved.pipeline
        try:
            facts["preprocess"] = _preprocess(facts["preprocess"], facts["backbone"])
            facts["detector"] = FaceRecipe(**facts["detector"])
            pipeline = cls.from_head(
                saved.head, training_prior=saved.training_prior, **{**facts, **settings}
            )
        except LabelError:  # of the settings, which say it themselves
            raise
        except (TypeError, ValueError) as error:
            raise ModelError(f"{path} cannot be understood: {error}") from error
        facts_then = json.dumps(saved.facts, sort_keys=True)
        pipeline.recipe_ = EmbeddingSpec(saved.fingerprint, facts_then, saved.head.n_features_in_)
        pipeline.checked_embedder()
        return pipeline

    def export(self, path: str | os.PathLike[str], format: str = "pickle") -> None:
        """Write the fitted pipeline for other programs; "pickle" is read by joblib.load.

        An export holds the head and how vectors are made, not the backbone's weights: those of
        your own must lie where they lie now, or use `save`, which takes them along.
        """
        require_fitted(self, "head_")
        export.EXPORTS[format](self, Path(path))

    def set_params(self, **params: Any) -> Pipeline:
        """As in scikit-learn; head__C reaches into a head that was given by name, too."""
        head = params.get("head", self.head)
        if isinstance(head, str) and any(name.startswith("head__") for name in params):
            head = params["head"] = _new_head(head)
        own = self.get_params(deep=False)
        for name in params:
            if name not in own:
                _check_nested(name, [*own], head)
        super().set_params(**params)
        return self


def _with_labels(data: Dataset, labels: Any) -> tuple[Any, Any, Sequence[str] | None]:
    """The pictures of a data set, their labels, or the votes on them and their classes."""
    if labels is not None:
        raise LabelError("A data set brings its labels: give no others.")
    if data.votes is None:
        return data.images, data.labels, None
    return data.images, data.votes, data.classes


def _is_dataset(images: Any) -> TypeGuard[Dataset]:
    """True for a Dataset; its module, which predictions do not need, is not imported."""
    return hasattr(images, "provenance")


def _are_vectors(images: Any) -> TypeGuard[VectorSet]:
    """True for a VectorSet; its module is not imported, either."""
    return hasattr(images, "fingerprint")


def _differences(here: dict[str, Any], there: dict[str, Any]) -> str:
    odd = sorted(key for key in here.keys() | there if here.get(key) != there.get(key))
    return "; ".join(f"{key} was {there.get(key)!r}, here {here.get(key)!r}" for key in odd)


def _check_classes(labels: NDArray[Any], images: int) -> None:
    if len(found := np.unique(labels)) < 2:
        raise LabelError(
            f"{images} images have {len(found)} different labels {found.tolist()}. "
            "Give images of two expressions or more."
        )


def _new_head(head: Any) -> Any:
    """The head of this name, or an unfitted copy of this head."""
    from sklearn.base import clone

    from ferembed.heads import HEADS

    return HEADS[head].make() if isinstance(head, str) else clone(head)


def _class_weight(head: Any) -> Any:
    """The head's class_weight, its own or that of an estimator inside it."""
    weights = (of for name, of in head.get_params().items() if name.endswith("class_weight"))
    return next((of for of in weights if of is not None), None)


def _check_nested(name: str, own: list[str], head: Any) -> None:
    """An UnknownName unless a parameter, such as head__C, is one of a parameter of a pipeline."""
    part, _, inner = name.partition("__")
    nested = [f"head__{of}" for of in _new_head(head).get_params()]
    if part not in own or (part == "head" and f"head__{inner.partition('__')[0]}" not in nested):
        raise UnknownName(unknown_name_message("parameter of a pipeline", name, [*own, *nested]))


def _last_layer(
    name: str, label_set: str | None
) -> tuple[NDArray[Any], NDArray[Any], tuple[str, ...]]:
    """The kernel, the bias and the classes of a network's last layer in a label set."""
    spec = BACKBONES[name]
    if spec.weights is None or spec.classifier is None or not spec.label_sets:
        raise ModelError(f"{name} has no last layer for expressions.")
    columns, classes = spec.label_columns(label_set)
    kernel, bias = f"{spec.classifier}/kernel", f"{spec.classifier}/bias"
    found = read_weights(spec.weights.path(), kernel, bias)
    return found[kernel][:, columns], found[bias][columns], classes


def _ask_head(head: Any, method: str, vectors: Vectors) -> Any:
    """The result of a method of the head. Errors of foreign heads become ModelErrors."""
    try:
        with np.errstate(all="ignore"):  # what comes of it is checked
            return getattr(head, method)(vectors)
    except MemoryError:
        raise
    except Exception as error:
        raise _broken(head, f"{type(error).__name__}: {error}") from error


def _checked_probabilities(head: Any, vectors: Vectors) -> NDArray[np.float64]:
    shares = np.asarray(_ask_head(head, "predict_proba", vectors))
    expected = (len(vectors), len(head.classes_))
    if shares.shape != expected or shares.dtype.kind != "f":
        raise _broken(head, f"its probabilities are {shares.shape}, not {expected}")
    if not ((shares >= 0).all() and (np.abs(shares.sum(axis=1) - 1) < 1e-3).all()):  # as no NaN is
        raise _broken(head, "its probabilities are no numbers from 0 to 1 that sum to 1")
    return shares


def _broken(head: Any, reason: str) -> ModelError:
    return ModelError(
        f"The head {type(head).__name__} does not predict as it should: {reason}. It is damaged or "
        "was not fitted on such vectors. Fit it again, or copy the model again."
    )


def _each(value: Any, change: Callable[[Any], Any]) -> Any:
    """A parameter changed where it is not None, or the list of them."""
    if is_list(value):
        return [_each(one, change) for one in value]
    return None if value is None else change(value)


def _preprocess(saved: Any, backbone: OneOrList[str]) -> Any:
    """The recipe of these facts, of the kind that the backbone has, or the list of them."""
    if is_list(saved):
        names = backbone if is_list(backbone) else [backbone] * len(saved)
        return [_preprocess(*pair) for pair in zip(saved, names, strict=True)]
    first = backbone if isinstance(backbone, str) else backbone[0]
    return saved and type(BACKBONES[first].preprocess)(**saved)


def _checked_labels(labels: Any) -> NDArray[Any]:
    """One label per image, all words or all whole numbers."""
    array = np.asarray(labels)
    if array.ndim != 1:
        raise LabelError(
            f"Labels come as one list, a label per image, not as {array.shape}. Votes, a row per "
            "image, come with the name of each column: classes=[...]."
        )
    kinds = {"word" if isinstance(label, str) else type(label).__name__ for label in labels}
    if array.dtype.kind not in "UOiub" or ("word" in kinds and len(kinds) > 1):
        raise LabelError(f"Labels are all words or all whole numbers, not {sorted(kinds)}.")
    if kinds != {"word"}:
        return array
    array = array.astype(np.str_)
    for label in np.unique(array).tolist():
        if not (label.isprintable() and len(label) <= 100):
            raise LabelError(f"A label is {label!r:.120}; it has up to 100 printable characters.")
    return array


def _embed_labelled(embedder: Embedder, images: Iterable[Source], labels: NDArray[Any]) -> Embedded:
    """The vectors of as many images as there are labels, of which one at least can be read."""
    given = len(images) if isinstance(images, Sized) else len(labels)
    if given == len(labels):
        embedded = embedder.embed(images)
        given = len(embedded.positions) + len(embedded.failures)
    if given != len(labels):
        raise LabelError(
            f"There are {given} images and {len(labels)} labels. "
            "Give one label for each image, in the same order."
        )
    if not len(embedded.positions):
        raise_failures(embedded)
    return embedded


_SAVED = (
    "backbone",
    "detector",
    "layer",
    "weights",
    "preprocess",
    "normalize",
    "mirror_average",
    "prior",
    "prior_strength",
    "expressions",
)
