"""Rows right of the seam: heads, fitted and asked on vectors, and how their cost grows."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from functools import cache, partial
from typing import Any

import numpy as np
import skops.io
from joblib import cpu_count
from numpy.typing import NDArray
from sklearn.ensemble import RandomForestClassifier
from sklearn.neighbors import KNeighborsClassifier
from sklearn.svm import SVC

from benchmarks.rows import Bench, Row, row
from ferembed import Embedder
from ferembed.heads import HEADS
from ferembed.heads.pairwise_svm import Kernel, PairwiseSVM, fit_pairwise_svms

SIZES = (1_000, 4_000, 16_000, 64_000, 256_000)
ASKED = 1_000
PATIENCE = 150  # seconds that a size may take
SEARCHED = 6_000  # rows on which scikit-learn's SVC takes seconds
TREES = 60  # a fifth of the head's: scikit-learn takes seconds for them, too


class Vectors:
    """FER2013 as vectors of the network that ships, in the wanted number of dimensions.

    More of those are made by a random layer with a ReLU: no network of 2,048 ships.
    """

    def __init__(self, bench: Bench, dim: int = 512) -> None:
        train, validation = map(bench.faces.split, ("train", "validation"))
        embed = Embedder("fer-mobilenet").transform
        self.X, self.y = embed(train.images), np.asarray(train.labels)
        self.unseen, self.truth = embed(validation.images), np.asarray(validation.labels)
        if dim > self.X.shape[1]:
            rng = np.random.default_rng(0)
            layer = rng.standard_normal((self.X.shape[1], dim)).astype(np.float32)
            self.X, self.unseen = (
                np.maximum(rows @ layer / 16, 0) for rows in (self.X, self.unseen)
            )

    def some(self, count: int) -> tuple[NDArray[np.float32], NDArray[Any]]:
        """So many rows: some of the real ones, or beyond those copies with noise."""
        rng = np.random.default_rng(0)
        rows = rng.permutation(len(self.X))[:count]
        if count > len(rows):
            rows = np.concatenate([rows, rng.integers(0, len(self.X), count - len(rows))])
        chosen = self.X[rows]
        for start in range(len(self.X), count, 4096):
            part = chosen[start : start + 4096]
            part += 0.1 * self.X.std() * rng.standard_normal(part.shape, np.float32)
        return chosen, self.y[rows]

    def points(self, classes: NDArray[Any], scores: NDArray[Any]) -> float:
        """The accuracy on PublicTest in percent."""
        return 100 * float((classes[scores.argmax(axis=1)] == self.truth).mean())


def fit_machine(X: NDArray[np.float32], y: NDArray[Any]) -> PairwiseSVM:
    """Fit one support vector machine, as the head svm does in each fold."""
    codes = np.unique(y, return_inverse=True)[1]
    kernel = Kernel("rbf", 1 / (X.shape[1] * X.var(dtype=np.float64)))
    every = [np.arange(len(X))]
    settings: dict[str, Any] = {"C": 1, "cache_size": 1000, "n_jobs": cpu_count()}
    return fit_pairwise_svms(X, codes, every, np.ones(len(X)), kernel=kernel, **settings)[0]


def answers(decisions: NDArray[np.float64], classes: NDArray[Any]) -> NDArray[Any]:
    """The predictions of scikit-learn's SVC: the class that wins most pairs."""
    votes = np.zeros((len(decisions), len(classes)))
    pairs = zip(*np.triu_indices(len(classes), 1), strict=True)
    for decision, (first, second) in zip(decisions.T, pairs, strict=True):
        votes[:, first] += decision > 0
        votes[:, second] += decision <= 0
    return classes[votes.argmax(axis=1)]


@cache
def _intelex() -> Any:
    """scikit-learn-intelex's SVC, where that is installed."""
    try:
        import sklearnex.svm
    except ImportError:
        return None
    return sklearnex.svm.SVC


def svm_fit(dim: int) -> Callable[[Bench], Row]:
    def measure(bench: Bench) -> Row:
        vectors = Vectors(bench, dim)
        X, y = vectors.some(SEARCHED)
        fitted: dict[str, Any] = {}

        def by_us() -> None:
            fitted["ours"] = fit_machine(X, y)

        def by(kind: Any) -> None:
            fitted["theirs"] = kind(cache_size=1000).fit(X, y)

        intel = _intelex()
        actions: list[Callable[[], object]] = [
            by_us,
            *([partial(by, intel)] if intel else []),
            partial(by, SVC),
        ]
        ours, *others, theirs = bench.rounds(*actions, warm=0)
        classes = fitted["theirs"].classes_
        decisions = fitted["ours"].decisions(vectors.unseen)
        right = (answers(decisions, classes) == vectors.truth).mean()
        facts = {
            "accuracy": 100 * float(right),
            "points_apart": 100
            * abs(right - fitted["theirs"].score(vectors.unseen, vectors.truth)),
        }
        if others:
            facts["seconds_intelex"] = statistics.median(others[0])
        return Row(
            what=f"fit svm on {len(X):,} vectors of length {X.shape[1]:,}",
            against="scikit-learn's SVC",
            seconds_ours=ours,
            seconds_theirs=theirs,
            goals=["ratio >= 10", "points_apart <= 0.1"] if dim == 2048 else [],
            facts=facts,
        )

    return measure


@row("svm-fit-all")
def svm_fit_all(bench: Bench) -> Row:
    """Three times each, which takes minutes, and the whole head once."""
    vectors = Vectors(bench, 2048)
    X, y = vectors.X, vectors.y
    fitted: dict[str, Any] = {}

    def by_us() -> None:
        fitted["ours"] = fit_machine(X, y)

    def by_sklearn() -> None:
        fitted["theirs"] = SVC(cache_size=1000).fit(X, y)

    ours, theirs = bench.rounds(by_us, by_sklearn, times=3, warm=0)
    started = time.perf_counter()
    fitted["head"] = HEADS["svm"].make().fit(X, y)
    whole = time.perf_counter() - started
    found = answers(fitted["ours"].decisions(vectors.unseen), fitted["theirs"].classes_)
    scores = {
        "ours": (found == vectors.truth).mean(),
        "theirs": fitted["theirs"].score(vectors.unseen, vectors.truth),
        "head": fitted["head"].score(vectors.unseen, vectors.truth),
    }
    return Row(
        what=f"fit svm on {len(X):,} vectors of length {X.shape[1]:,}",
        against="scikit-learn's SVC",
        seconds_ours=ours,
        seconds_theirs=theirs,
        goals=["ratio >= 10", "points_apart <= 0.1"],
        facts={
            "seconds_of_the_head_with_its_folds": whole,
            **{f"accuracy_{name}": 100 * float(score) for name, score in scores.items()},
            "points_apart": 100 * abs(float(scores["ours"] - scores["theirs"])),
        },
    )


def svm_predict(dim: int) -> Callable[[Bench], Row]:
    def measure(bench: Bench) -> Row:
        vectors = Vectors(bench, dim)
        svc = SVC(decision_function_shape="ovo").fit(*vectors.some(SEARCHED))
        machine = PairwiseSVM.from_svc(svc)
        asked = vectors.unseen[:ASKED]
        ours, alone, theirs = bench.rounds(
            lambda: machine.decisions(asked, cpu_count()),
            lambda: machine.decisions(asked[:1]),
            lambda: svc.decision_function(asked),
        )
        apart = np.abs(machine.decisions(asked) - svc.decision_function(asked))
        return Row(
            what=f"svm decisions for {ASKED:,} vectors of length {dim:,}, "
            f"{len(machine.vectors):,} support vectors",
            against="scikit-learn's SVC with the same support vectors",
            seconds_ours=ours,
            seconds_theirs=theirs,
            goals=["ratio >= 20", "difference <= 1e-4"] if dim == 2048 else [],
            facts={
                "difference": float(apart.max()),
                "seconds_of_one_row": statistics.median(alone),
            },
        )

    return measure


def forest_fit(dim: int) -> Callable[[Bench], Row]:
    def measure(bench: Bench) -> Row:
        vectors = Vectors(bench, dim)
        settings = {"min_samples_leaf": 2, "n_jobs": -1, "random_state": 0}
        fitted: dict[str, Any] = {}

        def by_us() -> None:
            head = HEADS["forest"].make().set_params(n_estimators=TREES)
            fitted["ours"] = head.fit(vectors.X, vectors.y)

        def by_sklearn(features: str) -> None:
            forest = RandomForestClassifier(TREES, max_features=features, **settings)
            fitted[features] = forest.fit(vectors.X, vectors.y)

        ours, log2, theirs = bench.rounds(
            by_us, partial(by_sklearn, "log2"), partial(by_sklearn, "sqrt"), warm=0
        )
        return Row(
            what=f"fit a forest of {TREES} trees on {len(vectors.X):,} vectors of length {dim:,}",
            against="scikit-learn's random forest",
            seconds_ours=ours,
            seconds_theirs=theirs,
            goals=["ratio >= 3", "points_lost <= 0.5"],
            facts={
                "ratio_with_as_few_features": statistics.median(
                    slow / fast for slow, fast in zip(log2, ours, strict=True)
                ),
                **(
                    scores := {
                        f"accuracy_{name}": vectors.points(
                            head.classes_, head.predict_proba(vectors.unseen)
                        )
                        for name, head in fitted.items()
                    }
                ),
                "points_lost": scores["accuracy_sqrt"] - scores["accuracy_ours"],
            },
        )

    return measure


@row("forest-predict")
def forest_predict(bench: Bench) -> Row:
    """The head as it is, of 300 trees: what it takes on disk, and how soon it answers."""
    vectors = Vectors(bench)
    ours = HEADS["forest"].make().fit(vectors.X, vectors.y)
    settings = {"max_features": "log2", "n_jobs": -1, "random_state": 0}
    theirs = RandomForestClassifier(300, min_samples_leaf=2, **settings)
    theirs.fit(vectors.X, vectors.y)
    sizes = [len(skops.io.dumps(head, compression=8)) / 1e6 for head in (ours, theirs)]
    shares = [head.predict_proba(vectors.unseen) for head in (ours, theirs)]
    points = [vectors.points(ours.classes_, some) for some in shares]
    fast, slow = bench.rounds(
        lambda: ours.predict_proba(vectors.unseen), lambda: theirs.predict_proba(vectors.unseen)
    )
    one, other = bench.rounds(
        lambda: ours.predict_proba(vectors.unseen[:1]),
        lambda: theirs.predict_proba(vectors.unseen[:1]),
        times=50,
        warm=5,
    )
    return Row(
        what=f"predict {len(vectors.unseen):,} vectors of length 512, forest of 300 trees",
        against="scikit-learn's forest with the same number of trees and features",
        seconds_ours=fast,
        seconds_theirs=slow,
        goals=["megabytes <= 10", "points_lost <= 0.5", "seconds_of_one_row <= 0.002"],
        facts={
            "megabytes": sizes[0],
            "megabytes_of_scikit_learns": sizes[1],
            "accuracy": points[0],
            "points_lost": points[1] - points[0],
            "seconds_of_one_row": statistics.median(one),
            "seconds_of_one_row_by_scikit_learn": statistics.median(other),
        },
    )


def knn_predict(dim: int) -> Callable[[Bench], Row]:
    def measure(bench: Bench) -> Row:
        vectors = Vectors(bench, dim)
        head = HEADS["knn"].make().fit(vectors.X, vectors.y)
        other = HEADS["knn"].make().set_params(compact=not head.compact).fit(vectors.X, vectors.y)
        theirs = KNeighborsClassifier(30, weights="distance").fit(vectors.X, vectors.y)
        asked = vectors.unseen
        fast, slow = bench.rounds(
            lambda: head.predict_proba(asked), lambda: theirs.predict_proba(asked)
        )
        one, one_slow = bench.rounds(
            lambda: head.predict_proba(asked[:1]),
            lambda: theirs.predict_proba(asked[:1]),
            times=20,
        )
        every = {
            "ours": head.predict_proba(asked),
            "ours_compact" if other.compact else "ours_whole": other.predict_proba(asked),
            "scikit_learns": theirs.predict_proba(asked),
        }
        apart = np.abs(every["ours"] - every["scikit_learns"]).max(axis=1)
        return Row(
            what=f"30 nearest neighbours of {len(asked):,} among {len(vectors.X):,} vectors of "
            f"length {dim:,}",
            against="scikit-learn's KNeighborsClassifier",
            seconds_ours=fast,
            seconds_theirs=slow,
            goals=["ratio >= 2"],
            facts={
                "seconds_of_one_row": statistics.median(one),
                "seconds_of_one_row_by_scikit_learn": statistics.median(one_slow),
                "rows_with_other_probabilities": int((apart > 1e-4).sum()),
                **{
                    f"accuracy_{name}": vectors.points(head.classes_, scores)
                    for name, scores in every.items()
                },
                "megabytes": len(skops.io.dumps(head, compression=8)) / 1e6,
                "megabytes_of_the_other": len(skops.io.dumps(other, compression=8)) / 1e6,
            },
        )

    return measure


for _dim in (512, 2048):
    row(f"svm-fit-{_dim}")(svm_fit(_dim))
    row(f"svm-predict-{_dim}")(svm_predict(_dim))
    row(f"forest-fit-{_dim}")(forest_fit(_dim))
    row(f"knn-predict-{_dim}")(knn_predict(_dim))


def growth(
    prepare: Callable[[int], Callable[[], object]],
    sizes: Sequence[int] = SIZES,
    patience: float = PATIENCE,
) -> dict[str, Any]:
    """The exponent with which the time of the function that `prepare(rows)` returns grows.

    A size that would take longer than `patience`, by the two before it, is left out. What takes
    less than a second is timed five times.
    """
    seconds: dict[int, float] = {}
    for size in sizes:
        known = list(seconds.items())
        if known:
            (last, took), slope = known[-1], _exponent(dict(known[-2:])) or 1.0
            if took * (size / last) ** slope > patience:
                break
        action = prepare(size)
        taken = [_seconds(action)]
        if taken[0] < 1:
            taken += [_seconds(action) for _ in range(4)]
        seconds[size] = statistics.median(taken)
    return {
        "seconds": seconds,
        "exponent": _exponent(seconds),
        "left_out": [size for size in sizes if size not in seconds],
    }


def _exponent(seconds: dict[int, float]) -> float | None:
    if len(seconds) < 2:
        return None
    slope, _ = np.polyfit(np.log(list(seconds)), np.log(list(seconds.values())), 1)
    return float(slope)


def _seconds(action: Callable[[], object]) -> float:
    started = time.perf_counter()
    action()
    return time.perf_counter() - started


def head_growth(name: str) -> Callable[[Bench], Row]:
    def measure(bench: Bench) -> Row:
        vectors = Vectors(bench)
        fitted: dict[int, Any] = {}

        def fit(size: int) -> Callable[[], object]:
            X, y = vectors.some(size)

            def action() -> None:
                fitted[size] = HEADS[name].make().fit(X, y)

            return action

        def predict(size: int) -> Callable[[], object]:
            return lambda: fitted[size].predict_proba(vectors.unseen[:ASKED])

        fits = growth(fit)
        predictions = growth(predict, list(fitted))
        return Row(
            what=f"growth of {name}: fit and predict {ASKED:,}, vectors of length 512",
            against="",
            seconds_ours=list(fits["seconds"].values()),
            facts={"fit": fits, "predict": predictions},
        )

    return measure


for _name in HEADS:
    row(f"growth-{_name}")(head_growth(_name))
