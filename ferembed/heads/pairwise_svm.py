"""Distances and kernels between rows by matrix products, and support vector machines on them.

libsvm computes a kernel row by row, in double precision. A matrix product in single precision is
tens of times faster, and libsvm's solver reads its result.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn import config_context
from sklearn.svm import SVC
from sklearn.utils.parallel import Parallel, delayed

from ferembed._memory import free_memory
from ferembed._threads import core_count
from ferembed.heads._jobs import map_row_blocks
from ferembed.inference.matmul import matmul_transposed, one_blas_thread_per_worker
from ferembed.inference.openvino import Floats

Rows = NDArray[np.intp]

KERNELS = ("linear", "poly", "rbf", "sigmoid")
_BLOCK = 1 << 22  # kernel values at a time in a prediction; they fit in the cache
_TOGETHER = 512  # rows of a kernel that one thread computes at a time
# Kernel values of pairs of classes in memory at a time, 8 bytes each; more if memory is free.
_HELD = 300_000_000


def squared_lengths(rows: Floats) -> Floats:
    """The inner product of each row with itself."""
    return np.asarray(np.einsum("ij,ij->i", rows, rows))


def squared_distances(a: Floats, b: Floats, lengths: Floats | None = None) -> Floats:
    """(n, m): squared distances of the rows of `a` and `b`, whose squared `lengths` may be given.

    Their error is some millionths of the squared lengths, not of the distances.
    """
    distances = matmul_transposed(a, b)
    distances *= -2
    distances += squared_lengths(b) if lengths is None else lengths
    distances += squared_lengths(a)[:, None]
    return np.asarray(np.maximum(distances, 0, out=distances))


@dataclass(frozen=True)
class Kernel:
    """A kernel between rows, with the formulas of scikit-learn's SVC."""

    name: str
    gamma: float

    def center(self, rows: Floats) -> Floats:
        """(d,): the center to subtract from all rows, to reduce the error in single precision."""
        if self.name == "rbf":
            return np.asarray(rows.mean(axis=0))
        return np.zeros(rows.shape[1], np.float32)

    def __call__(self, a: Floats, b: Floats, lengths: Floats | None = None) -> Floats:
        """(n, m): the kernel of each row of `a` and each of `b`."""
        if self.name == "rbf":
            values = squared_distances(a, b, lengths)
            values *= -self.gamma
            return np.asarray(np.exp(values, out=values))
        values = matmul_transposed(a, b)
        if self.name == "linear":
            return values
        values *= self.gamma
        return np.asarray(values**3 if self.name == "poly" else np.tanh(values))


@dataclass(frozen=True, kw_only=True)
class PairwiseSVM:
    """Support vector machines for each pair of classes, as arrays that any version can open."""

    kernel: Kernel
    center: Floats  # (d,): subtracted from the rows
    vectors: Floats  # (m, d): the support vectors, each once
    lengths: Floats  # (m,): their squared lengths
    weights: Floats  # (m, pairs)
    intercepts: NDArray[np.float64]  # (pairs,)

    @classmethod
    def from_svc(cls, fitted: SVC) -> PairwiseSVM:
        """The machines of a fitted SVC of scikit-learn."""
        ends = np.cumsum(fitted.n_support_)
        members = [slice(end - n, end) for n, end in zip(fitted.n_support_, ends, strict=True)]
        pairs = list(combinations(range(len(members)), 2))
        weights = np.zeros((ends[-1], len(pairs)), np.float32)
        for column, (first, second) in enumerate(pairs):
            weights[members[first], column] = fitted.dual_coef_[second - 1, members[first]]
            weights[members[second], column] = fitted.dual_coef_[first, members[second]]
        kernel = Kernel(fitted.kernel, fitted._gamma)
        vectors = np.asarray(fitted.support_vectors_, np.float32)
        center = kernel.center(vectors)
        vectors = vectors - center
        lengths = squared_lengths(vectors)
        return cls(
            kernel=kernel,
            center=center,
            vectors=vectors,
            lengths=lengths,
            weights=weights,
            intercepts=fitted.intercept_,
        )

    def decisions(self, X: Floats, n_jobs: int = 1) -> NDArray[np.float64]:
        """(n, pairs): the decision function of scikit-learn's SVC, one against one."""

        weights = self.weights.astype(np.float64)  # for sums of thousands of terms that cancel

        def decide(rows: Floats) -> tuple[NDArray[np.float64]]:
            values = self.kernel(rows - self.center, self.vectors, self.lengths)
            return (values.astype(np.float64) @ weights,)

        step = max(1, _BLOCK // len(self.vectors))
        return map_row_blocks(decide, X, step, n_jobs)[0] + self.intercepts


def fit_pairwise_svms(
    X: Floats,
    codes: Rows,
    parts: Sequence[Rows],
    weights: NDArray[np.float64],
    *,
    kernel: Kernel,
    C: float,
    cache_size: float,
    n_jobs: int,
) -> list[PairwiseSVM]:
    """For each part of the rows, the support vector machines that scikit-learn's SVC would find.

    `codes` are the classes as numbers from 0; each part has rows of every class. The kernel of two
    classes is computed once for all parts, unless it is too large for the memory. As many pairs of
    classes are solved at a time as fit in memory, by `n_jobs` threads in all.
    """
    center = kernel.center(X)
    chosen = np.zeros((len(parts), len(X)), bool)
    for row, part in zip(chosen, parts, strict=True):
        row[part] = True
    problem = _Problem(
        X=X - center,
        codes=codes,
        weights=weights,
        members=[np.flatnonzero(codes == code) for code in range(codes.max() + 1)],
        chosen=chosen,
        kernel=kernel,
        C=C,
        cache_size=cache_size,
    )
    duals, intercepts = _solve_pairs(problem, n_jobs)
    X, used = problem.X, np.asarray(duals.any(axis=2))
    return [
        PairwiseSVM(
            kernel=kernel,
            center=center,
            vectors=X[row],
            lengths=squared_lengths(X[row]),
            weights=dual[row],
            intercepts=intercept,
        )
        for row, dual, intercept in zip(used, duals, intercepts, strict=True)
    ]


@dataclass(frozen=True, kw_only=True)
class _Problem:
    """The rows, classes and settings that all pairs of classes share."""

    X: Floats
    codes: Rows
    weights: NDArray[np.float64]
    members: list[Rows]  # the rows of each class
    chosen: NDArray[np.bool_]  # (parts, n): the rows of each part
    kernel: Kernel
    C: float
    cache_size: float

    @property
    def pairs(self) -> list[tuple[int, int]]:
        return list(combinations(range(len(self.members)), 2))

    def kernel_size(self, pair: tuple[int, int]) -> int:
        """The number of values in the kernel of two classes."""
        return int(sum(len(self.members[one]) for one in pair) ** 2)


def _solve_pairs(problem: _Problem, n_jobs: int) -> tuple[Floats, NDArray[np.float64]]:
    """(parts, n, pairs) and (parts, pairs): the dual coefficients and the intercepts."""
    pairs = problem.pairs
    sign = -1 if len(pairs) > 1 else 1  # with two classes the second is the positive one
    sizes = [problem.kernel_size(pair) for pair in pairs]
    most = _most_held(problem, n_jobs)
    largest = max((size for size in sizes if size <= most), default=0)
    at_once = min(n_jobs, len(pairs), max(1, _HELD // largest)) if largest else 1
    duals = np.zeros((*problem.chosen.shape, len(pairs)), np.float32)
    intercepts = np.zeros((len(problem.chosen), len(pairs)))
    with one_blas_thread_per_worker() if n_jobs > 1 else nullcontext():
        kernels = _PairKernels(problem, largest, n_jobs, n_jobs // at_once)

        def solve(column: int) -> None:
            solved = _solve_pair(problem, pairs[column], kernels, n_jobs // at_once)
            for number, (support, dual, intercept) in enumerate(solved):
                duals[number, support, column] = sign * dual
                intercepts[number, column] = sign * intercept

        order = sorted(range(len(pairs)), key=lambda column: -sizes[column])
        Parallel(at_once, require="sharedmem")(delayed(solve)(column) for column in order)
    return duals, intercepts


def _most_held(problem: _Problem, n_jobs: int) -> int:
    """The kernel values of the largest pair of classes that is held in memory.

    A kernel above _HELD is held if half of the free memory is enough for it, for the parts of it
    that are solved at the same time, and for the kernels within classes. Of that half, the share
    of the cores that are used counts: other processes may use the other cores.
    """
    room = (free_memory() or 0) / 2 * min(1.0, n_jobs / core_count())
    within = 4 * sum(len(rows) ** 2 for rows in problem.members)
    shares = [share**2 for share in problem.chosen.mean(axis=1).tolist() if share < 1]
    copies = 1 + sum(sorted(shares)[-n_jobs:])
    return max(_HELD, int((room - within) / (8 * copies)))


class _PairKernels:
    """The kernels of pairs of classes. Those within a class are computed once."""

    def __init__(self, problem: _Problem, largest: int, n_jobs: int, jobs_per_pair: int) -> None:
        self.problem = problem
        self.largest = largest
        self.jobs_per_pair = jobs_per_pair
        # Each thread reuses one buffer for its kernels: new memory takes as long as filling it.
        self._own = threading.local()
        self._within: dict[int, Floats] = {}
        held = [pair for pair in problem.pairs if problem.kernel_size(pair) <= largest]
        for one in sorted({one for pair in held for one in pair}):
            rows = problem.members[one]
            values = self._within[one] = np.empty((len(rows), len(rows)), np.float32)
            _fill(values, values, problem.kernel, problem.X, rows, rows, n_jobs)

    def between(self, pair: tuple[int, int]) -> NDArray[np.float64] | None:
        """The kernel of two classes; None if it is too large for the memory."""
        size = self.problem.kernel_size(pair)
        if size > self.largest:
            return None
        if not hasattr(self._own, "buffer"):
            self._own.buffer = np.empty(self.largest)
        first, second = (self.problem.members[one] for one in pair)
        n = len(first)
        side = n + len(second)
        values: NDArray[np.float64] = self._own.buffer[:size].reshape(side, side)
        values[:n, :n], values[n:, n:] = (self._within[one] for one in pair)
        _fill(
            values[:n, n:],
            values[n:, :n],
            self.problem.kernel,
            self.problem.X,
            first,
            second,
            self.jobs_per_pair,
        )
        return values


def _solve_pair(
    problem: _Problem, pair: tuple[int, int], kernels: _PairKernels, jobs: int
) -> list[tuple[Rows, NDArray[np.float64], float]]:
    """For each part: the support vectors between two classes, their weights, the intercept."""
    both = np.concatenate([problem.members[one] for one in pair])
    values = kernels.between(pair)
    solver = _solver() if values is None else SVC
    threads = jobs if solver is SVC else 1  # scikit-learn-intelex starts its own threads
    solved = Parallel(threads, require="sharedmem")(
        delayed(_solve)(problem, both, row[both], values, solver) for row in problem.chosen
    )
    return list(solved)


def _solver() -> Any:
    """The SVC for kernels that do not fit in memory: scikit-learn-intelex if it is installed.

    It cannot be loaded after OpenVINO has run a network, because OpenVINO loads an older TBB.
    """
    try:
        import sklearnex.svm
    except ImportError:
        return SVC
    return sklearnex.svm.SVC


def _fill(
    values: NDArray[Any],
    mirrored: NDArray[Any],
    kernel: Kernel,
    X: Floats,
    a: Rows,
    b: Rows,
    n_jobs: int,
) -> None:
    """Write the kernel of the rows `a` and `b` to `values`, and its transpose to `mirrored`."""
    first, second = X[a], X[b]
    lengths = squared_lengths(second)

    def fill(start: int) -> None:
        rows = slice(start, start + _TOGETHER)
        known = start if values is mirrored else 0  # columns already filled by earlier rows
        part = kernel(first[rows], second[known:], lengths[known:])
        values[rows, known:], mirrored[known:, rows] = part, part.T

    starts = range(0, len(a), _TOGETHER)
    Parallel(n_jobs, require="sharedmem")(delayed(fill)(start) for start in starts)


def _solve(
    problem: _Problem,
    both: Rows,
    chosen: NDArray[np.bool_],
    values: NDArray[np.float64] | None,
    solver: Any,
) -> tuple[Rows, NDArray[np.float64], float]:
    """The support vectors between two classes, their weights, and the intercept."""
    rows = both[chosen]
    kernel, codes, weights = problem.kernel, problem.codes[rows], problem.weights[rows]
    machine = solver(
        C=problem.C, kernel=kernel.name, gamma=kernel.gamma, cache_size=problem.cache_size
    )
    if values is None:
        machine.fit(problem.X[rows], codes, weights)
    else:
        machine.set_params(kernel="precomputed")
        mine = values if chosen.all() else values[np.ix_(chosen, chosen)]
        with config_context(assume_finite=True):
            machine.fit(mine, codes, weights)
    return rows[machine.support_], machine.dual_coef_[0], float(machine.intercept_[0])
