"""ferembed's own heads as arrays and back. What is read is checked in full before it is used.

Every array must have the type, shape and range that fitting gives it, every number must be finite,
and the sizes must agree with each other. So nothing that a file holds can lead outside of memory.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from ferembed.heads.softmax import Softmax
from ferembed.storage.arrays import read_arrays

Arrays = dict[str, NDArray[Any]]

SETTINGS = "settings"  # the array whose text holds a head's parameters
_MOST_CLASSES = 1000
_MOST_JOBS = 256
_MOST_TREES = 10_000  # as many are walked side by side
_DEEPEST = 10_000  # levels of a tree: each is a step of a prediction
# fmt: off
_METRICS = (
    "braycurtis", "canberra", "chebyshev", "cityblock", "correlation", "cosine", "euclidean", "l1",
    "l2", "manhattan", "minkowski", "sqeuclidean",
)
# fmt: on
_KERNELS = ("linear", "poly", "rbf", "sigmoid")


def pack(head: Any) -> Arrays | None:
    """The arrays of one of ferembed's own heads; None for any other."""
    kind = type(head).__name__
    if kind not in _FITTED or type(head) is not _class(kind):
        return None
    try:
        settings = json.dumps(_parameters(head), allow_nan=False)
        arrays = _FITTED[kind].pack(head)
    except (TypeError, ValueError):  # a parameter that JSON cannot say
        return None
    return {SETTINGS: np.array(settings), **arrays}


def unpack(kind: str, file: IO[bytes], features: int) -> Any:
    """The head of a kind on vectors of so many features, or a ValueError that says why not."""
    if kind not in _FITTED:
        raise ValueError(f"{kind!r} is none of {', '.join(_FITTED)}")
    arrays = read_arrays(file)
    settings = arrays.pop(SETTINGS, None)
    if settings is None or settings.dtype.kind != "U" or settings.size != 1:
        raise ValueError("it holds no settings")
    head = _made(kind, json.loads(str(settings)))
    try:
        _FITTED[kind].unpack(head, arrays)
    except KeyError as error:
        raise ValueError(f"it holds no {error.args[0]}") from error
    except (AttributeError, IndexError, TypeError) as error:
        raise ValueError(f"its parts do not fit each other: {error}") from error
    check(head, features)
    return head


def check(head: Any, features: int) -> None:
    """A ValueError unless the fitted head is sound and takes vectors of so many features."""
    kind = type(head).__name__
    if kind not in _FITTED or type(head) is not _class(kind):
        raise ValueError(f"{kind} is no head of ferembed")
    _check_parameters(head)
    try:
        _check_classes(head.classes_)
        if head.n_features_in_ != features:
            raise ValueError(f"it takes {head.n_features_in_} numbers, and vectors have {features}")
        _FITTED[kind].check(head)
    except (AttributeError, IndexError, TypeError) as error:  # an array that is not there
        raise ValueError(f"its parts do not fit each other: {error}") from error


def _class(kind: str) -> Any:
    if kind == "Softmax":  # which predicts without scikit-learn
        return Softmax
    if kind == "CalibratedSVC":
        from ferembed.heads.svm import CalibratedSVC

        return CalibratedSVC
    if kind == "BaggedSVC":
        from ferembed.heads.bagging import BaggedSVC

        return BaggedSVC
    if kind == "Forest":
        from ferembed.heads.forest import Forest

        return Forest
    if kind == "ApproximateNeighbors":
        from ferembed.heads.approximate_neighbors import ApproximateNeighbors

        return ApproximateNeighbors
    if kind == "FourierSVM":
        from ferembed.heads.fourier_svm import FourierSVM

        return FourierSVM
    from ferembed.heads.neighbors import Neighbors

    return Neighbors


def _parameters(head: Any) -> dict[str, Any]:
    """The parameters as JSON has them: weights of classes as pairs, since JSON's keys are words."""
    found = {}
    for name, value in head.get_params(deep=False).items():
        if name == "class_weight" and isinstance(value, dict):
            value = {"pairs": [[_plain(key), _plain(one)] for key, one in value.items()]}
        elif name == "estimator" and value is not None:
            if type(value) is not _class("CalibratedSVC"):
                raise TypeError(f"{value!r} is no CalibratedSVC")
            value = _parameters(value)
        found[name] = _plain(value)
    return found


def _plain(value: Any) -> Any:
    return value.item() if isinstance(value, np.generic) else value


def _made(kind: str, parameters: Any) -> Any:
    """A head of these parameters that is not fitted yet."""
    if not isinstance(parameters, dict):
        raise ValueError(f"its settings are {parameters!r:.80}")
    parameters = dict(parameters)
    weight = parameters.get("class_weight")
    if isinstance(weight, dict) and weight.keys() == {"pairs"}:
        parameters["class_weight"] = {key: one for key, one in weight["pairs"]}
    if isinstance(inner := parameters.get("estimator"), dict):
        parameters["estimator"] = _made("CalibratedSVC", inner)
    try:
        return _class(kind)(**parameters)
    except TypeError as error:
        raise ValueError(f"its settings do not fit: {error}") from error


def _check_parameters(head: Any) -> None:
    for name, value in head.get_params(deep=False).items():
        where = f"{name} is {value!r:.80}"
        if name == "estimator":
            if value is not None:
                _check_parameters(value)
        elif name == "class_weight" and isinstance(value, dict):
            keys = all(isinstance(_plain(key), (str, int)) for key in value)
            if len(value) > _MOST_CLASSES or not (keys and all(map(_is_number, value.values()))):
                raise ValueError(where)
        elif name == "n_jobs":
            if value is not None and not (_is_whole(value) and 0 < abs(value) <= _MOST_JOBS):
                raise ValueError(f"{where}; it is None or a whole number up to {_MOST_JOBS}")
        elif not (
            value is None
            or isinstance(value, (bool, np.bool_))
            or (isinstance(value, str) and len(value) <= 100)
            or _is_number(value)
        ):
            raise ValueError(where)


def _is_whole(value: Any) -> bool:
    return isinstance(value, (int, np.integer)) and not isinstance(value, bool)


def _is_number(value: Any) -> bool:
    real = isinstance(value, (int, float, np.integer, np.floating)) and not isinstance(value, bool)
    return real and abs(value) < 1e300 and math.isfinite(value)


def _check_classes(classes: Any) -> None:
    if not isinstance(classes, np.ndarray) or classes.ndim != 1 or classes.dtype.kind not in "Uiub":
        raise ValueError("its classes are no list of words or whole numbers")
    if not 1 <= len(classes) <= _MOST_CLASSES:
        raise ValueError(f"it has {len(classes):,} classes; 1 to {_MOST_CLASSES:,} are allowed")
    if (classes[1:] <= classes[:-1]).any():
        raise ValueError("its classes are not in order")


def _require(array: Any, name: str, kinds: str, *shape: int | None) -> None:
    """A ValueError unless it is an array of such numbers, all finite, in this shape (None: any)."""
    if not isinstance(array, np.ndarray) or array.dtype.kind not in kinds:
        raise ValueError(f"{name} holds no such numbers as it must")
    fits = array.ndim == len(shape) and all(
        expected in (None, length) for expected, length in zip(shape, array.shape, strict=False)
    )
    if not fits:
        raise ValueError(f"{name} has the shape {array.shape}: its arrays do not fit each other")
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        raise ValueError(f"{name} holds NaN or infinite numbers")


@dataclass(frozen=True)
class _Softmax:
    def pack(self, head: Softmax) -> Arrays:
        names = ("classes_", "coef_", "intercept_", "n_iter_")
        return {name: vars(head)[name] for name in names if name in vars(head)}

    def unpack(self, head: Softmax, arrays: Arrays) -> None:
        head.classes_, head.coef_ = arrays["classes_"], arrays["coef_"]
        head.intercept_ = arrays["intercept_"]
        if "n_iter_" in arrays:
            head.n_iter_ = arrays["n_iter_"]
        head.n_features_in_ = head.coef_.shape[1] if head.coef_.ndim == 2 else 0

    def check(self, head: Softmax) -> None:
        classes = len(head.classes_)
        _require(head.coef_, "coef_", "f", classes, head.n_features_in_)
        _require(head.intercept_, "intercept_", "f", classes)
        if hasattr(head, "n_iter_"):
            _require(head.n_iter_, "n_iter_", "iu", None)


@dataclass(frozen=True)
class _CalibratedSVC:
    """`machine_` is None where there was one class to learn."""

    def pack(self, head: Any) -> Arrays:
        arrays = {"classes_": head.classes_, "features": np.array(head.n_features_in_)}
        machine = head.machine_
        if machine is None:
            return arrays
        parts = ("center", "vectors", "lengths", "weights", "intercepts")
        arrays |= {part: getattr(machine, part) for part in parts}
        arrays["kernel"] = np.array(machine.kernel.name)
        arrays["gamma"] = np.array(machine.kernel.gamma, np.float64)
        if hasattr(head, "calibration_"):
            arrays["calibration_coef"] = head.calibration_.coef_
            arrays["calibration_intercept"] = head.calibration_.intercept_
        return arrays

    def unpack(self, head: Any, arrays: Arrays) -> None:
        from ferembed.heads.pairwise_svm import Kernel, PairwiseSVM

        head.classes_, head.n_features_in_ = arrays["classes_"], int(arrays["features"])
        head.machine_ = None
        if "vectors" not in arrays:
            return
        kernel = Kernel(str(arrays["kernel"]), float(arrays["gamma"]))
        parts = ("center", "vectors", "lengths", "weights", "intercepts")
        head.machine_ = PairwiseSVM(kernel=kernel, **{part: arrays[part] for part in parts})
        if "calibration_coef" in arrays:
            calibration = Softmax(class_weight=head.class_weight)
            calibration.classes_ = head.classes_
            calibration.coef_ = arrays["calibration_coef"]
            calibration.intercept_ = arrays["calibration_intercept"]
            calibration.n_features_in_ = len(head.machine_.intercepts)
            head.calibration_ = calibration

    def check(self, head: Any) -> None:
        from ferembed.heads.pairwise_svm import Kernel, PairwiseSVM

        classes, machine = len(head.classes_), head.machine_
        if machine is None:
            if classes != 1:
                raise ValueError("it has several classes and no support vector machine")
            return
        if type(machine) is not PairwiseSVM or type(machine.kernel) is not Kernel or classes < 2:
            raise ValueError("its machine is none of ferembed's")
        gamma = machine.kernel.gamma
        if machine.kernel.name not in _KERNELS or not (_is_number(gamma) and gamma >= 0):
            raise ValueError(f"its kernel is {machine.kernel!r:.80}")
        count, pairs = len(machine.vectors), classes * (classes - 1) // 2
        _require(machine.vectors, "vectors", "f", None, head.n_features_in_)
        if not count:
            raise ValueError("it has no support vectors")
        _require(machine.center, "center", "f", head.n_features_in_)
        _require(machine.lengths, "lengths", "f", count)
        _require(machine.weights, "weights", "f", count, pairs)
        _require(machine.intercepts, "intercepts", "f", pairs)
        if hasattr(head, "calibration_"):
            if type(head.calibration_) is not Softmax:
                raise ValueError("its calibration is none of ferembed's")
            if head.calibration_.classes_.tolist() != head.classes_.tolist():
                raise ValueError("its calibration is of other classes")
            check(head.calibration_, pairs)


@dataclass(frozen=True)
class _Forest:
    parts = ("classes_", "edges_", "features_", "splits_", "shares_")

    def pack(self, head: Any) -> Arrays:
        features = np.array(head.n_features_in_)
        return {"features": features, **{name: getattr(head, name) for name in self.parts}}

    def unpack(self, head: Any, arrays: Arrays) -> None:
        head.n_features_in_ = int(arrays["features"])
        for name in self.parts:
            setattr(head, name, arrays[name])
        self.check(head)  # before the walk is prepared from them
        head._walk = head._prepared()

    def check(self, head: Any) -> None:
        head.check_temperature()
        features = head.n_features_in_
        edges = head.edges_
        if not isinstance(edges, np.ndarray) or edges.dtype.kind != "f" or edges.ndim != 2:
            raise ValueError("edges_ holds no such numbers as it must")
        if edges.shape[0] != features or np.isnan(edges).any():  # some are infinite
            raise ValueError("edges_: its arrays do not fit each other")
        _require(head.features_, "features_", "u", None)
        _require(head.splits_, "splits_", "u", None)
        _require(head.shares_, "shares_", "u", None, len(head.classes_))
        if head.shares_.dtype != np.uint8 or head.features_.dtype.itemsize > 4:
            raise ValueError("its arrays do not fit each other")
        inner = head.features_ < features
        if (head.features_ > features).any() or inner.sum() != len(head.splits_):
            raise ValueError("the nodes are no forest")
        if (head.splits_ >= edges.shape[1]).any() or not head.shares_.any(axis=1).all():
            raise ValueError("the nodes are no forest")
        level, begin, depth = len(inner) - 2 * int(inner.sum()), 0, 0
        if not 1 <= level <= _MOST_TREES:
            raise ValueError(f"it has {level:,} trees; 1 to {_MOST_TREES:,} are allowed")
        while level and depth <= _DEEPEST:
            below = 2 * int(inner[begin : begin + level].sum())
            begin, level, depth = begin + level, below, depth + 1
        if level or begin != len(inner):
            raise ValueError(f"its trees are no trees, or deeper than {_DEEPEST:,} levels")


@dataclass(frozen=True)
class _Neighbors:
    parts = ("classes_", "codes_", "rows_")

    def pack(self, head: Any) -> Arrays:
        facts = {
            "features": np.array(head.n_features_in_),
            "scale_": np.array(head.scale_, np.float64),
        }
        if hasattr(head, "shares_"):
            facts["shares_"] = head.shares_
        return {**facts, **{name: getattr(head, name) for name in self.parts}}

    def unpack(self, head: Any, arrays: Arrays) -> None:
        head.n_features_in_, head.scale_ = int(arrays["features"]), float(arrays["scale_"])
        for name in (*self.parts, *({"shares_"} & arrays.keys())):
            setattr(head, name, arrays[name])
        self.check(head)  # before the distances are prepared from them
        head._ready = head._prepared()

    def check(self, head: Any) -> None:
        rows = len(head.rows_)
        _require(head.rows_, "rows_", "f", None, head.n_features_in_)
        _require(head.codes_, "codes_", "u", rows)
        if not rows or (head.codes_ >= len(head.classes_)).any():
            raise ValueError("the neighbours and their classes do not belong together")
        if hasattr(head, "shares_"):
            _require(head.shares_, "shares_", "f", rows, len(head.classes_))
            if (head.shares_ < 0).any() or not head.shares_.any(axis=1).all():
                raise ValueError("its votes are none")
        if not (_is_number(head.scale_) and 1e-30 < head.scale_ < 1e30):
            raise ValueError(f"its scale is {head.scale_!r:.80}")
        if not _is_whole(head.n_neighbors) or not 1 <= head.n_neighbors <= rows:
            raise ValueError(f"n_neighbors is {head.n_neighbors!r:.80} of {rows:,} rows")
        if head.weights not in ("uniform", "distance") or head.metric not in _METRICS:
            raise ValueError(
                f"its weights are {head.weights!r:.80}, its metric {head.metric!r:.80}"
            )


@dataclass(frozen=True)
class _BaggedSVC:
    """Each member's arrays stand under its number: 0/vectors, 0/weights, 1/vectors."""

    def pack(self, head: Any) -> Arrays:
        arrays = {"classes_": head.classes_, "features": np.array(head.n_features_in_)}
        for number, member in enumerate(head.members_):
            for name, array in (pack(member) or {}).items():
                arrays[f"{number}/{name}"] = array
        return arrays

    def unpack(self, head: Any, arrays: Arrays) -> None:
        head.classes_, head.n_features_in_ = arrays["classes_"], int(arrays["features"])
        head.members_ = []
        of_members: dict[int, Arrays] = {}
        for name, array in arrays.items():
            number, slash, part = name.partition("/")
            if slash:
                of_members.setdefault(int(number), {})[part] = array
        for _, member in sorted(of_members.items()):
            made = _made("CalibratedSVC", json.loads(str(member.pop(SETTINGS))))
            _FITTED["CalibratedSVC"].unpack(made, member)
            head.members_.append(made)

    def check(self, head: Any) -> None:
        if not isinstance(head.members_, list) or not head.members_:
            raise ValueError("it has no members")
        for member in head.members_:
            if type(member) is not _class("CalibratedSVC"):
                raise ValueError("a member of it is no CalibratedSVC")
            check(member, head.n_features_in_)
            kind, codes = member.classes_.dtype.kind, member.classes_
            if kind not in "iu" or codes.min() < 0 or codes.max() >= len(head.classes_):
                raise ValueError("one of its members has other classes")


@dataclass(frozen=True)
class _ApproximateNeighbors:
    parts = ("classes_", "centers_", "codes_")

    def pack(self, head: Any) -> Arrays:
        state = head.__getstate__()  # which has the rows in place of the index
        arrays = {name: state[name] for name in (*self.parts, "rows_")}
        facts = {"features": np.array(head.n_features_in_), "recall_": np.array(head.recall_)}
        return {**facts, **arrays}

    def unpack(self, head: Any, arrays: Arrays) -> None:
        head.n_features_in_, head.recall_ = int(arrays["features"]), float(arrays["recall_"])
        for name in self.parts:
            setattr(head, name, arrays[name])
        self.check(head)
        _require(arrays["rows_"], "rows_", "f", len(head.codes_), head.n_features_in_)
        head.__setstate__({"rows_": arrays["rows_"]})

    def check(self, head: Any) -> None:
        _require(head.centers_, "centers_", "f", None, head.n_features_in_)
        _require(head.codes_, "codes_", "u", None)
        rows = len(head.codes_)
        if head.centers_.dtype != np.float32 or not 1 <= len(head.centers_) <= max(1, rows):
            raise ValueError("its lists do not fit its rows")
        if not rows or (head.codes_ >= len(head.classes_)).any():
            raise ValueError("the neighbours and their classes do not belong together")
        if not _is_whole(head.n_neighbors) or not 1 <= head.n_neighbors <= rows:
            raise ValueError(f"n_neighbors is {head.n_neighbors!r:.80} of {rows:,} rows")
        if not _is_whole(head.probes) or head.probes < 1:
            raise ValueError(f"probes is {head.probes!r:.80}")
        if head.weights not in ("uniform", "distance"):
            raise ValueError(f"weights is {head.weights!r:.80}")


@dataclass(frozen=True)
class _FourierSVM:
    parts = ("classes_", "waves_", "phases_", "coef_", "intercept_")

    def pack(self, head: Any) -> Arrays:
        return {
            **{name: getattr(head, name) for name in self.parts},
            "penalty_": np.array(head.penalty_, np.float64),
            "calibration_coef": head.calibration_.coef_,
            "calibration_intercept": head.calibration_.intercept_,
        }

    def unpack(self, head: Any, arrays: Arrays) -> None:
        for name in self.parts:
            setattr(head, name, arrays[name])
        head.n_features_in_, head.penalty_ = len(head.waves_), float(arrays["penalty_"])
        calibration = Softmax()
        calibration.classes_ = head.classes_
        calibration.coef_ = arrays["calibration_coef"]
        calibration.intercept_ = arrays["calibration_intercept"]
        calibration.n_features_in_ = len(head.classes_)
        head.calibration_ = calibration

    def check(self, head: Any) -> None:
        count, classes = len(head.phases_), len(head.classes_)
        _require(head.waves_, "waves_", "f", head.n_features_in_, count)
        _require(head.phases_, "phases_", "f", count)
        _require(head.coef_, "coef_", "f", count, classes)
        _require(head.intercept_, "intercept_", "f", classes)
        if not count or type(head.calibration_) is not Softmax:
            raise ValueError("it has no features, or its calibration is none of ferembed's")
        if head.calibration_.classes_.tolist() != head.classes_.tolist():
            raise ValueError("its calibration is of other classes")
        check(head.calibration_, classes)


_FITTED: dict[str, Any] = {
    "Softmax": _Softmax(),
    "CalibratedSVC": _CalibratedSVC(),
    "Forest": _Forest(),
    "Neighbors": _Neighbors(),
    "BaggedSVC": _BaggedSVC(),
    "ApproximateNeighbors": _ApproximateNeighbors(),
    "FourierSVM": _FourierSVM(),
}
OWN_HEADS = frozenset(_FITTED)
