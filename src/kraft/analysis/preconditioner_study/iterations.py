"""Iterations to convergence with many preconditioners (paper 004, figures 5, 6 and 10)."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from kraft.analysis.preconditioner_study.candidates import Built, Candidate
from kraft.analysis.preconditioner_study.lockstep import count_iterations
from kraft.core.progress import Progress, silent
from kraft.core.typing import FloatArray

GROUP_MEMORY = 4_000_000_000
"""Bytes of preconditioners that are iterated with together, unless told otherwise."""


@dataclass(frozen=True)
class Budget:
    """When an iteration ends that has not converged.

    Attributes
    ----------
    tolerance
        Of the relative residual.
    max_iterations
        Steps.
    max_seconds
        Wall time of the systems that are iterated together.
    """

    tolerance: float = 1e-4
    max_iterations: int = 3000
    max_seconds: float = float("inf")


@dataclass(frozen=True)
class IterationCount:
    """What one preconditioner achieves.

    Attributes
    ----------
    method, remainder, rank
        Which one; ``rank`` is what was asked for.
    columns
        Columns it has: dependent ones are left out.
    iterations
        Steps until the end.
    status
        ``"converged"``, ``"max_iterations"``, ``"max_time"`` or ``"breakdown"``.
    relative_residual
        At the end.
    memory
        Bytes of the preconditioner.
    seconds_build, seconds_apply
        To build it, and to apply it once.
    """

    method: str
    remainder: str
    rank: int
    columns: int
    iterations: int
    status: str
    relative_residual: float
    memory: int
    seconds_build: float
    seconds_apply: float

    @property
    def candidate(self) -> Candidate:
        """The preconditioner that this is about."""
        return Candidate(self.method, self.remainder, self.rank)

    @property
    def converged(self) -> bool:
        """Whether the tolerance was met."""
        return self.status == "converged"


def measure_iterations(
    chosen: Sequence[Candidate],
    build: Callable[[Candidate], Built],
    product: Callable[[FloatArray], FloatArray],
    right_hand_side: FloatArray,
    regularization: float,
    *,
    budget: Budget = Budget(),
    memory_of: Callable[[Candidate], int] = lambda _: 0,
    group_memory: int = GROUP_MEMORY,
    progress: Progress = silent,
) -> Iterator[IterationCount]:
    """Count the iterations of every candidate; yield results as they come.

    Parameters
    ----------
    chosen
        The candidates.
    build
        Builds one of them.
    product
        ``K v`` for ``(n, m)`` arrays.
    right_hand_side
        ``(n,)``.
    regularization
        ``λ``.
    budget
        Tolerance and limits.
    memory_of
        Bytes that a candidate will take.
    group_memory
        Bytes of preconditioners held at once; at least one is.
    progress
        Told about the steps.
    """
    for group in _groups(chosen, memory_of, group_memory):
        built = []
        for number, candidate in enumerate(group):
            progress("building preconditioners", number, len(group))
            built.append(build(candidate))
        for count in count_iterations(
            product,
            right_hand_side,
            regularization,
            [each.preconditioner for each in built],
            tolerance=budget.tolerance,
            max_iterations=budget.max_iterations,
            max_seconds=budget.max_seconds,
            progress=progress,
        ):
            one = built[count.index]
            yield IterationCount(
                method=one.candidate.method,
                remainder=one.candidate.remainder,
                rank=one.candidate.rank,
                columns=one.preconditioner.rank,
                iterations=count.iterations,
                status=count.status,
                relative_residual=count.relative_residual,
                memory=one.preconditioner.memory,
                seconds_build=one.seconds,
                seconds_apply=seconds_of(
                    lambda one=one: one.preconditioner.solve(right_hand_side)  # type: ignore[misc]
                ),
            )


def seconds_of(call: Callable[[], object], repeats: int = 3) -> float:
    """Return the shortest wall time of a few calls."""
    times = []
    for _ in range(repeats):
        started = time.perf_counter()
        call()
        times.append(time.perf_counter() - started)
    return float(np.min(times))


def _groups(
    chosen: Sequence[Candidate], memory_of: Callable[[Candidate], int], group_memory: int
) -> Iterator[tuple[Candidate, ...]]:
    """Yield candidates in groups whose columns fit in the memory, or one at a time."""
    group: list[Candidate] = []
    taken = 0
    for candidate in chosen:
        needed = memory_of(candidate)
        if group and taken + needed > group_memory:
            yield tuple(group)
            group, taken = [], 0
        group.append(candidate)
        taken += needed
    if group:
        yield tuple(group)
