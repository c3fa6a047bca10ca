"""Dense against iterative solutions: equal errors, different times (paper 004, Table II)."""

from __future__ import annotations

import time
import tracemalloc
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from torch import Tensor

from kraft.analysis.preconditioner_study.systems import StudySystem
from kraft.core.progress import Progress, silent
from kraft.data.dataset import Dataset
from kraft.solvers import DenseCholesky, SolveOutcome
from kraft.solvers.iterative import IterativeSolver


@dataclass(frozen=True)
class Solution:
    """One solution of a system and what it took.

    Attributes
    ----------
    solver, preconditioner
        Names; the latter empty for the dense solver.
    rank, iterations, restarts
        Zero for the dense solver.
    status
        How it ended.
    relative_residual
        Recomputed.
    seconds
        Wall time from the operator to the coefficients.
    memory
        Bytes that the preconditioner and the cache of the product keep.
    peak_memory
        Most bytes of NumPy arrays at any one time, measured; None where not measured.
    """

    solver: str
    preconditioner: str
    rank: int
    iterations: int
    restarts: int
    status: str
    relative_residual: float
    seconds: float
    memory: int
    peak_memory: int | None


@dataclass(frozen=True)
class Comparison:
    """Force errors of both solutions on one test set.

    Attributes
    ----------
    dense, iterative
        The solutions.
    dense_force_mae, iterative_force_mae
        In eV/Å.
    rms_difference
        Between the forces that the two predict, in eV/Å.
    n_test
        Test geometries.
    """

    dense: Solution
    iterative: Solution
    dense_force_mae: float
    iterative_force_mae: float
    rms_difference: float
    n_test: int

    @property
    def mae_difference(self) -> float:
        """Absolute difference of the two force errors in eV/Å."""
        return abs(self.iterative_force_mae - self.dense_force_mae)

    @property
    def speedup(self) -> float:
        """How many times faster the iterative solution was."""
        return self.dense.seconds / self.iterative.seconds


def solve(
    system: StudySystem,
    solver: DenseCholesky | IterativeSolver,
    *,
    measure_memory: bool = False,
    progress: Progress = silent,
) -> tuple[Tensor, Solution]:
    """Solve a system; return the coefficients ``(size,)`` and what it took.

    Parameters
    ----------
    system
        The system.
    solver
        Either solver.
    measure_memory
        Whether to measure the memory of NumPy arrays, for iterative solutions on the CPU.
    progress
        Told about the stages.
    """
    if measure_memory:
        tracemalloc.start()
    try:
        started = time.perf_counter()
        prepared = solver.prepare(system.operator, system.regularization, progress)
        outcome = prepared.solve(system.right_hand_side)
        seconds = time.perf_counter() - started
        peak = tracemalloc.get_traced_memory()[1] if measure_memory else None
    finally:
        if measure_memory:
            tracemalloc.stop()
    return outcome.coefficients, _solution(outcome, seconds, peak)


def compare_solutions(
    system: StudySystem,
    test: Dataset,
    iterative: Sequence[IterativeSolver],
    dense: DenseCholesky = DenseCholesky(),  # noqa: B008
    progress: Progress = silent,
) -> tuple[Comparison, ...]:
    """Solve one system densely and by iterative solvers; compare the errors on a test set.

    Raises
    ------
    MemoryLimitError
        When the dense system does not fit.
    """
    coefficients, exact = solve(system, dense, progress=progress)
    expected = system.predict(coefficients, test.positions)
    comparisons = []
    for solver in iterative:
        coefficients, approximate = solve(system, solver, progress=progress)
        forces = system.predict(coefficients, test.positions)
        comparisons.append(
            Comparison(
                dense=exact,
                iterative=approximate,
                dense_force_mae=float(np.abs(expected - test.forces).mean()),
                iterative_force_mae=float(np.abs(forces - test.forces).mean()),
                rms_difference=float(np.sqrt(np.square(forces - expected).mean())),
                n_test=len(test),
            )
        )
    return tuple(comparisons)


def _solution(outcome: SolveOutcome, seconds: float, peak: int | None) -> Solution:
    return Solution(
        solver=outcome.solver,
        preconditioner=outcome.preconditioner,
        rank=outcome.rank,
        iterations=outcome.iterations,
        restarts=outcome.restarts,
        status=outcome.status,
        relative_residual=outcome.relative_residual,
        seconds=seconds,
        memory=outcome.memory,
        peak_memory=peak,
    )
