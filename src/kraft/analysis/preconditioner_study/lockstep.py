"""Conjugate gradients with many preconditioners at once, to count iterations.

All systems share the matrix, and a product with a stored matrix takes hardly longer for thirty
vectors than for one, so the recurrences of :class:`~kraft.solvers.conjugate_gradients.\
ConjugateGradients` go in step, a column for each preconditioner, undisturbed by the others.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np

from kraft.core.progress import Progress, silent
from kraft.core.typing import AnyArray, FloatArray, IntArray
from kraft.solvers.conjugate_gradients import BreakdownError, ConjugateGradients

STAGE = "iterating"


class Inverse(Protocol):
    """What a preconditioner must be able to do here."""

    def solve(self, vectors: FloatArray) -> FloatArray:
        """Return ``P⁻¹ v``."""
        ...


@dataclass(frozen=True)
class Count:
    """How conjugate gradients ended with one preconditioner.

    Attributes
    ----------
    index
        Of the preconditioner.
    iterations
        Steps taken.
    status
        ``"converged"`` when the recomputed residual met the tolerance, ``"max_iterations"``,
        ``"max_time"``, or ``"breakdown"`` when rounding made the system indefinite.
    relative_residual
        ``|y - (K + λI) x| / |y|`` at the end; recomputed when converged.
    """

    index: int
    iterations: int
    status: str
    relative_residual: float

    @property
    def converged(self) -> bool:
        """Whether the tolerance was met."""
        return self.status == "converged"


def count_iterations(
    product: Callable[[FloatArray], FloatArray],
    right_hand_side: FloatArray,
    regularization: float,
    preconditioners: Sequence[Inverse],
    *,
    tolerance: float = 1e-4,
    max_iterations: int = 3000,
    max_seconds: float = float("inf"),
    progress: Progress = silent,
) -> Iterator[Count]:
    """Solve ``(K + λI) x = y`` from zero with every preconditioner; yield counts as they end.

    Parameters
    ----------
    product
        ``K v`` for ``(n,)`` and ``(n, m)`` arrays.
    right_hand_side
        ``(n,)``.
    regularization
        ``λ``.
    preconditioners
        One for each system.
    tolerance
        Of the relative residual; believed only when recomputed from the iterate.
    max_iterations, max_seconds
        Systems that have not converged by then end as they are.
    progress
        Told about the steps.
    """
    if not preconditioners:
        return
    started = time.perf_counter()
    systems = _Systems(product, right_hand_side, regularization, preconditioners, tolerance)
    for iteration in range(1, max_iterations + 1):
        progress(STAGE, iteration - 1, max_iterations)
        broken = systems.step()
        yield from (systems.count(column, iteration, "breakdown") for column in broken)
        ended = systems.newly_converged()
        yield from (systems.count(column, iteration, "converged") for column in ended)
        running = systems.running
        if not len(running):
            break
        if time.perf_counter() - started > max_seconds:
            yield from (systems.count(column, iteration, "max_time") for column in running)
            break
    else:
        running = systems.running
        yield from (systems.count(c, max_iterations, "max_iterations") for c in running)
    progress(STAGE, max_iterations, max_iterations)


class _Systems:
    """One recurrence of many columns, each with its own preconditioner."""

    def __init__(
        self,
        product: Callable[[FloatArray], FloatArray],
        right_hand_side: FloatArray,
        regularization: float,
        preconditioners: Sequence[Inverse],
        tolerance: float,
    ) -> None:
        self._product, self._regularization = product, regularization
        self._preconditioners = preconditioners
        labels = np.repeat(right_hand_side[:, None], len(preconditioners), axis=1)
        self._suspects: AnyArray = np.zeros(len(preconditioners), dtype=bool)
        self._iteration = ConjugateGradients(
            self._apply, self._precondition, labels, tolerance=tolerance
        )

    @property
    def running(self) -> IntArray:
        """Columns that have not ended."""
        return np.flatnonzero(~self._iteration.current.converged)

    def step(self) -> IntArray:
        """Make a step with every running column; return those that rounding stopped."""
        stopped: list[int] = []
        while len(self.running):
            self._suspects[:] = False
            try:
                self._iteration.step()
            except BreakdownError:
                culprits = np.flatnonzero(self._suspects)
                culprits = culprits if len(culprits) else self.running
                self._freeze(culprits)
                stopped += culprits.tolist()
            else:
                break
        return np.array(stopped, dtype=np.int64)

    def newly_converged(self) -> IntArray:
        """Recompute the residuals that claim convergence and return the columns that are right."""
        claims = self._iteration.claims()
        if not claims.any():
            return np.array([], dtype=np.int64)
        self._iteration.refresh(claims)
        return np.flatnonzero(claims & self._iteration.current.converged)

    def count(self, column: int, iterations: int, status: str) -> Count:
        """Return how one column stands."""
        residual = float(self._iteration.current.relative[column])
        return Count(int(column), iterations, status, residual)

    def _freeze(self, columns: IntArray) -> None:
        frozen = self._iteration.current.converged.copy()
        frozen[columns] = True
        self._iteration.current = replace(self._iteration.current, converged=frozen)

    def _apply(self, vectors: FloatArray) -> FloatArray:
        """Return ``(K + λI) v``."""
        applied = self._product(vectors)
        applied += self._regularization * vectors
        self._suspect(vectors, applied)
        return applied

    def _precondition(self, vectors: FloatArray) -> FloatArray:
        """Solve each running column's residual with its own preconditioner."""
        columns = np.atleast_2d(vectors.T)
        solved = np.empty_like(columns)
        for row, system in enumerate(self.running):
            solved[row] = self._preconditioners[system].solve(np.ascontiguousarray(columns[row]))
        result = solved.T if vectors.ndim == 2 else solved[0]
        self._suspect(vectors, result)
        return result

    def _suspect(self, vectors: FloatArray, images: FloatArray) -> None:
        """Note running columns with ``vᵀ A v <= 0`` or not a number, should the step fail."""
        curvature = np.atleast_1d((vectors * images).sum(axis=0))
        running = self.running
        if len(curvature) == len(running):
            self._suspects[running] |= ~(curvature > 0.0)
