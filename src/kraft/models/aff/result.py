"""What training an atomized force field reports: every decision, figure and timing."""

from __future__ import annotations

import time
from dataclasses import dataclass

from kraft.core.typing import IntArray
from kraft.data.checks import Report
from kraft.models.aff.choice import AtomizedChoice
from kraft.models.aff.cost import AtomizedCost
from kraft.models.aff.energy_choice import EnergyChoice
from kraft.models.aff.solution import SetOutcome
from kraft.symmetry import SymmetryResult


@dataclass(frozen=True)
class AtomizedTimings:
    """Wall time of the stages of a training in seconds."""

    checks: float
    symmetry: float
    choice: float
    solution: float
    energies: float
    total: float


@dataclass(frozen=True, eq=False)
class AtomizedResult:
    """Every decision, figure and timing of a training.

    Attributes
    ----------
    choice
        Kernel, range and nugget of the forces, how they were chosen and what was tried.
    energy_choice
        Range and nugget of the energies; None without energies.
    permutations
        ``(S, N)`` permutation group in use.
    symmetry
        How it was found; None when it was given.
    sets
        How the system of each atom set was solved: residual, variance, solver.
    cost
        Memory and operations, as known before the solution.
    valid_force_mae
        Force error on the validation geometries in eV/Å, or None.
    report
        Findings of the checks on the training data.
    notices
        Sentences that a person should read.
    timings
        Wall time by stage.
    """

    choice: AtomizedChoice
    energy_choice: EnergyChoice | None
    permutations: IntArray
    symmetry: SymmetryResult | None
    sets: tuple[SetOutcome, ...]
    cost: AtomizedCost
    valid_force_mae: float | None
    report: Report
    notices: tuple[str, ...]
    timings: AtomizedTimings


class AtomizedClock:
    """Wall time of the stages of a training."""

    def __init__(self) -> None:
        self._started = self._last = time.perf_counter()
        self._laps: dict[str, float] = {}

    def lap(self, stage: str) -> None:
        """End a stage."""
        now = time.perf_counter()
        self._laps[stage], self._last = now - self._last, now

    def timings(self) -> AtomizedTimings:
        """Return the times of all stages."""
        return AtomizedTimings(**self._laps, total=self._last - self._started)
