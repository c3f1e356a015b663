"""Distances and kernels between rows by matrix products, and support vector machines on them.

libsvm works out a kernel row by row, in double precision. A matrix product in single precision has
all of it tens of times sooner, and libsvm's solver takes it from there.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn import config_context
from sklearn.svm import SVC
from sklearn.utils.parallel import Parallel, delayed

from ferembed.inference.matmul import matmul_transposed, one_blas_thread_per_worker

Matrix = NDArray[np.float32]
Rows = NDArray[np.intp]

KERNELS = ("linear", "poly", "rbf", "sigmoid")
_BLOCK = 1 << 22  # kernel values at a time in a prediction: they stay in the processor's cache
_TOGETHER = 512  # rows of a kernel that one thread works out at a time
_HELD = 300_000_000  # values of kernels of two classes in memory at a time, 8 bytes each


def squared_lengths(rows: Matrix) -> Matrix:
    """The inner product of each row with itself."""
    return np.asarray(np.einsum("ij,ij->i", rows, rows))


def squared_distances(a: Matrix, b: Matrix, lengths: Matrix | None = None) -> Matrix:
    """(n, m): of each row of `a` from each of `b`, whose squared lengths may be given.

    They are off by some millionths of the squared lengths, not of themselves.
    """
    distances = matmul_transposed(a, b)
    distances *= -2
    distances += squared_lengths(b) if lengths is None else lengths
    distances += squared_lengths(a)[:, None]
    return np.asarray(np.maximum(distances, 0, out=distances))


def map_row_blocks(
    work: Callable[[Matrix], tuple[NDArray[Any], ...]], rows: Matrix, step: int, n_jobs: int
) -> list[NDArray[Any]]:
    """What `work` makes of the rows, `step` of them at a time, which keeps to the cache.

    `n_jobs` threads each have a part of their own and one core for its products: they wait for
    each other once, where the threads of a product wait at each.
    """
    parts = [rows[start : start + step] for start in range(0, len(rows), step)] or [rows]
    if n_jobs == 1 or len(parts) == 1:
        made = [work(part) for part in parts]
    else:
        with one_blas_thread_per_worker():
            made = Parallel(n_jobs, require="sharedmem")(delayed(work)(part) for part in parts)
    return [np.concatenate(arrays) for arrays in zip(*made, strict=True)]


@dataclass(frozen=True)
class Kernel:
    """How alike rows are, by the formulas of scikit-learn's SVC."""

    name: str
    gamma: float

    def center(self, rows: Matrix) -> Matrix:
        """(d,): what may be taken off all rows, after which single precision errs least."""
        if self.name == "rbf":
            return np.asarray(rows.mean(axis=0))
        return np.zeros(rows.shape[1], np.float32)

    def __call__(self, a: Matrix, b: Matrix, lengths: Matrix | None = None) -> Matrix:
        """(n, m): of each row of `a` and each of `b`."""
        if self.name == "rbf":
            values = squared_distances(a, b, lengths)
            values *= -self.gamma
            return np.asarray(np.exp(values, out=values))
        values = matmul_transposed(a, b)
        if self.name == "linear":
            return values
        values *= self.gamma
        return np.asarray(values**3 if self.name == "poly" else np.tanh(values))


@dataclass(frozen=True)
class PairwiseSVM:
    """Support vector machines between each two classes, as arrays that any version opens."""

    kernel: Kernel
    center: Matrix  # (d,): what was taken off the rows
    vectors: Matrix  # (m, d): every support vector once
    lengths: Matrix  # (m,): of those, squared
    weights: Matrix  # (m, pairs)
    intercepts: NDArray[np.float64]  # (pairs,)

    @classmethod
    def from_svc(cls, fitted: SVC) -> PairwiseSVM:
        """The machine that scikit-learn's SVC has found."""
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
        return cls(kernel, center, vectors, lengths, weights, fitted.intercept_)

    def decisions(self, X: Matrix, n_jobs: int = 1) -> NDArray[np.float64]:
        """(n, pairs): the decision function of scikit-learn's SVC, one against one."""

        weights = self.weights.astype(np.float64)  # sums of thousands, which cancel out

        def decide(rows: Matrix) -> tuple[NDArray[np.float64]]:
            values = self.kernel(rows - self.center, self.vectors, self.lengths)
            return (values.astype(np.float64) @ weights,)

        step = max(1, _BLOCK // len(self.vectors))
        return map_row_blocks(decide, X, step, n_jobs)[0] + self.intercepts


def fit_pairwise_svms(
    X: Matrix,
    codes: Rows,
    parts: Sequence[Rows],
    weights: NDArray[np.float64],
    *,
    kernel: Kernel,
    C: float,
    cache_size: float,
    n_jobs: int,
) -> list[PairwiseSVM]:
    """For each part of the rows the machine that scikit-learn's SVC would find on it.

    `codes` are the classes as numbers from 0; each part has rows of every class. The kernel of two
    classes is worked out once for all parts, unless it is too large for the memory. As many pairs
    of classes are solved at a time as it has room for, by `n_jobs` threads in all.
    """
    center = kernel.center(X)
    X = X - center
    members = [np.flatnonzero(codes == code) for code in range(codes.max() + 1)]
    pairs = list(combinations(range(len(members)), 2))
    sign = -1 if len(pairs) > 1 else 1  # of two classes the second is the positive one
    chosen = np.zeros((len(parts), len(X)), bool)
    for row, part in zip(chosen, parts, strict=True):
        row[part] = True
    duals = np.zeros((len(parts), len(X), len(pairs)), np.float32)
    intercepts = np.zeros((len(parts), len(pairs)))
    sizes = {pair: sum(len(members[one]) for one in pair) ** 2 for pair in pairs}
    largest = max((size for size in sizes.values() if size <= _HELD), default=0)
    at_once = min(n_jobs, len(pairs), _HELD // largest) if largest else 1
    jobs = n_jobs // at_once
    solver_of_many = _solver() if max(sizes.values()) > _HELD else SVC
    within: dict[int, Matrix] = {}
    # Each thread keeps one room for all its kernels: new memory takes as long as filling it.
    own = threading.local()

    def solve(column: int, first: int, second: int) -> None:
        both = np.concatenate([members[first], members[second]])
        values = None
        if len(both) ** 2 <= largest:
            if not hasattr(own, "room"):
                own.room = np.empty(largest)
            n = len(members[first])
            values = own.room[: len(both) ** 2].reshape(len(both), len(both))
            values[:n, :n], values[n:, n:] = within[first], within[second]
            _fill(values[:n, n:], values[n:, :n], kernel, X, members[first], members[second], jobs)
        solver = SVC if values is not None else solver_of_many
        threads = jobs if solver is SVC else 1  # the other has some of its own
        solved = Parallel(threads, require="sharedmem")(
            delayed(_solve)(
                X, codes, weights, both, row[both], values, kernel, solver, C, cache_size
            )
            for row in chosen
        )
        for number, (support, dual, intercept) in enumerate(solved):
            duals[number, support, column] = sign * dual
            intercepts[number, column] = sign * intercept

    with one_blas_thread_per_worker() if n_jobs > 1 else nullcontext():
        for one in {one for pair, size in sizes.items() if size <= _HELD for one in pair}:
            rows = members[one]
            within[one] = np.empty((len(rows), len(rows)), np.float32)
            _fill(within[one], within[one], kernel, X, rows, rows, n_jobs)
        Parallel(at_once, require="sharedmem")(
            delayed(solve)(column, *pairs[column])
            for column in sorted(range(len(pairs)), key=lambda column: -sizes[pairs[column]])
        )
    used = np.asarray(duals.any(axis=2))
    return [
        PairwiseSVM(kernel, center, X[row], squared_lengths(X[row]), dual[row], intercept)
        for row, dual, intercept in zip(used, duals, intercepts, strict=True)
    ]


def _solver() -> Any:
    """What fits without a kernel in memory: scikit-learn-intelex, where it is installed.

    It cannot be loaded after OpenVINO has run a network, which brings an older TBB along.
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
    X: Matrix,
    a: Rows,
    b: Rows,
    n_jobs: int,
) -> None:
    """Make `values` the kernel of the rows `a` and `b`, and `mirrored` that of `b` and `a`."""
    first, second = X[a], X[b]
    lengths = squared_lengths(second)

    def fill(start: int) -> None:
        rows = slice(start, start + _TOGETHER)
        known = start if values is mirrored else 0  # columns that earlier rows have mirrored
        part = kernel(first[rows], second[known:], lengths[known:])
        values[rows, known:], mirrored[known:, rows] = part, part.T

    starts = range(0, len(a), _TOGETHER)
    Parallel(n_jobs, require="sharedmem")(delayed(fill)(start) for start in starts)


def _solve(
    X: Matrix,
    codes: Rows,
    weights: NDArray[np.float64],
    both: Rows,
    chosen: NDArray[np.bool_],
    values: NDArray[np.float64] | None,
    kernel: Kernel,
    solver: Any,
    C: float,
    cache_size: float,
) -> tuple[Rows, NDArray[np.float64], float]:
    """The support vectors between two classes, their weights, and the intercept."""
    rows = both[chosen]
    machine = solver(C=C, kernel=kernel.name, gamma=kernel.gamma, cache_size=cache_size)
    if values is None:
        machine.fit(X[rows], codes[rows], weights[rows])
    else:
        machine.set_params(kernel="precomputed")
        mine = values if chosen.all() else values[np.ix_(chosen, chosen)]
        with config_context(assume_finite=True):
            machine.fit(mine, codes[rows], weights[rows])
    return rows[machine.support_], machine.dual_coef_[0], float(machine.intercept_[0])
