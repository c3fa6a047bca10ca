"""Where an iteration stands: plain arrays and numbers, enough to go on from."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from kraft.core.typing import FloatArray, IntArray


@dataclass(frozen=True)
class HistoryPoint:
    """One point of the course of an iteration.

    Attributes
    ----------
    iteration
        Steps taken so far, those before restarts included.
    seconds
        Wall time spent on the solution so far, those of interrupted runs included.
    relative_residual
        Of the recurrence; the largest of several right-hand sides.
    valid_force_mae
        Error on validation data, in eV/Å, where a monitor measured it.
    rank
        Columns of the preconditioner.
    """

    iteration: int
    seconds: float
    relative_residual: float
    valid_force_mae: float | None = None
    rank: int = 0


@dataclass(frozen=True)
class SolverState:
    """Everything that resuming an iteration needs.

    The direction of the conjugate gradients is not part of it: resuming is a restart from the
    latest iterate, with a preconditioner rebuilt from its landmark columns.

    Attributes
    ----------
    coefficients
        ``(n,)`` or ``(n, m)`` the iterate.
    landmarks
        ``(k,)`` indices of the columns of the preconditioner, in their order.
    iteration, restarts, rank, seconds, history
        The counts and the course so far.
    relative_residual
        Of the iterate, as the recurrence has it.
    """

    coefficients: FloatArray
    landmarks: IntArray = field(default_factory=lambda: np.zeros(0, dtype=np.int64))
    iteration: int = 0
    restarts: int = 0
    rank: int = 0
    seconds: float = 0.0
    history: tuple[HistoryPoint, ...] = ()
    relative_residual: float = float("inf")
