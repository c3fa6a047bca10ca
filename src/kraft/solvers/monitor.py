"""How an iteration tells a caller where it is, and how the caller stops it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import Protocol

from torch import Tensor

from kraft.solvers.state import SolverState


class StopReason(Enum):
    """Why a monitor ends an iteration; the value is the status of the outcome."""

    VALIDATION = "validation"
    MAX_TIME = "max_time"
    INTERRUPTED = "interrupted"


@dataclass(frozen=True)
class Iterate:
    """One step of an iteration; what takes work is computed only when called.

    Attributes
    ----------
    iteration
        Steps taken so far, those before restarts and interruptions included.
    seconds
        Wall time spent so far, in seconds, those of interrupted runs included.
    relative_residual
        Of the recurrence, the largest of several right-hand sides.
    target
        The relative residual that ends the iteration.
    checked
        Whether the residual was recomputed with the operator at this step.
    rank, restarts
        Columns of the present preconditioner, restarts so far.
    coefficients
        Returns the iterate ``(n,)`` or ``(n, m)``; not to be written to.
    state
        Returns what resuming needs.
    seconds_left
        Returns the time that convergence will take at the present speed, ``None`` when there is
        no telling.
    record_validation
        Takes an error on validation data, in eV/Å, into the history.
    """

    iteration: int
    seconds: float
    relative_residual: float
    target: float
    checked: bool
    rank: int
    restarts: int
    coefficients: Callable[[], Tensor]
    state: Callable[[], SolverState]
    seconds_left: Callable[[], float | None]
    record_validation: Callable[[float], None]


class Monitor(Protocol):
    """Told of every step of an iteration; must be quick as a rule."""

    def __call__(self, iterate: Iterate, /) -> StopReason | None:
        """Return a reason to end the iteration at once, ``None`` to go on."""
        ...
