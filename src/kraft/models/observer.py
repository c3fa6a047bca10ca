"""How a long solution tells an interface where it is, and how the interface stops it."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True)
class SolveReport:
    """Where the iterative solver is.

    Attributes
    ----------
    iteration, restarts, rank
        Steps and restarts so far; columns of the present preconditioner.
    relative_residual, target
        Where the residual is, and where it shall go.
    valid_force_mae
        Force error on validation geometries in eV/Å, the last measured; None without any.
    iterations_per_second
        Of this run.
    seconds, seconds_left
        Wall time spent, those of interrupted runs included; what is left, None when unknown.
    """

    iteration: int
    restarts: int
    rank: int
    relative_residual: float
    target: float
    valid_force_mae: float | None
    iterations_per_second: float
    seconds: float
    seconds_left: float | None


class Observer(Protocol):
    """What an interface offers to :func:`kraft.train`."""

    @property
    def stop_requested(self) -> bool:
        """Whether to stop after the present step, with the state saved."""
        ...

    def solving(self) -> AbstractContextManager[object]:
        """Return a context that is entered while ``stop_requested`` is looked at."""
        ...

    def __call__(self, report: SolveReport, /) -> None:
        """Take note of a report; several a second at most."""
        ...


class Unobserved:
    """Nobody looks, nobody stops it: the default."""

    stop_requested = False

    def solving(self) -> AbstractContextManager[object]:
        """Return a context that does nothing."""
        return nullcontext()

    def __call__(self, _report: SolveReport, /) -> None:
        """Do nothing."""
