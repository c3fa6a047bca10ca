"""What a training reports: every decision, figure and timing."""

from __future__ import annotations

import time
from dataclasses import dataclass

from kraft.core.typing import IntArray
from kraft.data.checks import Report
from kraft.models.energy_offset import EnergyOffset
from kraft.models.metric import MetricDecision
from kraft.models.selection import Choice
from kraft.models.solver_choice import SolverPlan
from kraft.solvers import SolveOutcome
from kraft.symmetry import SymmetryResult


@dataclass(frozen=True)
class Timings:
    """Wall time of the stages of a training in seconds.

    With the iterative solver, ``factorization`` is the time spent on the preconditioner. ``solve``
    and ``total`` of a resumed training are those of the last run.
    """

    checks: float
    symmetry: float
    choice: float
    assembly: float
    factorization: float
    solve: float
    energy_offset: float
    total: float


@dataclass(frozen=True, eq=False)
class TrainingResult:
    """Every decision, figure and timing of a training.

    Attributes
    ----------
    choice
        Kernel, length scale and regularization, how they were chosen and what was tried.
    permutations
        ``(S, N)`` permutation group in use.
    symmetry
        How it was found; None when it was given, or found before the training was resumed.
    plan
        Which solver, preconditioner and rank, and why.
    outcome
        What the solver reports: residual, jitter, iterations, history, timings.
    energy_offset
        The integration constant and how well energies and forces agree; None without energies.
    valid_force_mae
        Force error of the final model (in double precision) on the validation geometries in eV/Å,
        or None.
    rounding_error
        Mean force error in eV/Å that single precision adds, measured on training geometries; zero
        in double precision.
    report
        Findings of the checks on the training data.
    notices
        Sentences that a person should read.
    timings
        Wall time of the stages.
    metric
        The weights of the features that were learned, and whether they are used; None when they
        were not learned, or before the training was resumed.
    """

    choice: Choice
    permutations: IntArray
    symmetry: SymmetryResult | None
    plan: SolverPlan
    outcome: SolveOutcome
    energy_offset: EnergyOffset | None
    valid_force_mae: float | None
    rounding_error: float
    report: Report
    notices: tuple[str, ...]
    timings: Timings
    metric: MetricDecision | None = None


class Clock:
    """Wall time of the stages of a training."""

    def __init__(self) -> None:
        self.started = self._last = time.perf_counter()
        self._laps: dict[str, float] = {}

    def lap(self, stage: str) -> None:
        """End a stage."""
        now = time.perf_counter()
        self._laps[stage] = now - self._last
        self._last = now

    def timings(self, outcome: SolveOutcome) -> Timings:
        """Return the times of all stages."""
        return Timings(
            checks=self._laps["checks"],
            symmetry=self._laps["symmetry"],
            choice=self._laps["choice"],
            assembly=outcome.seconds_assembly,
            factorization=outcome.seconds_factorization,
            solve=outcome.seconds_solve,
            energy_offset=self._laps["energy_offset"],
            total=self._last - self.started,
        )
