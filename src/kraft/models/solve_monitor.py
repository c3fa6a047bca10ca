"""What happens beside an iteration: states are saved, errors measured, time limits kept."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field

from kraft.models.observer import Observer, SolveReport, Unobserved
from kraft.models.validation_stop import ValidationWatch
from kraft.solvers.monitor import Iterate, StopReason
from kraft.solvers.state import SolverState

REPORT_INTERVAL = 0.2
"""Seconds between reports to an observer."""


@dataclass
class SolveMonitor:
    """A :class:`kraft.solvers.monitor.Monitor`.

    Parameters
    ----------
    save
        Writes a state; None saves none.
    interval
        Seconds between states.
    deadline
        Value of ``time.perf_counter()`` at which to stop.
    validation
        Measures the validation error.
    stop_on_validation
        Whether to stop when that does not improve any more.
    observer
        Is told, and may stop it.
    """

    save: Callable[[SolverState], None] | None = None
    interval: float = 60.0
    deadline: float | None = None
    validation: ValidationWatch | None = None
    stop_on_validation: bool = False
    observer: Observer = field(default_factory=Unobserved)
    _saved: float = field(default_factory=time.perf_counter)
    _reported: float = 0.0
    _first: tuple[int, float] | None = None

    def __call__(self, iterate: Iterate, /) -> StopReason | None:
        """Do what is due at this step; return a reason to stop."""
        now = time.perf_counter()
        if self._first is None:
            self._first = (iterate.iteration, now)
        reason = self._reason(iterate, now)
        if reason is None and self.save is not None and now - self._saved >= self.interval:
            self.save(iterate.state())
            self._saved = time.perf_counter()
        if now - self._reported >= REPORT_INTERVAL:
            self._reported = now
            self.observer(self._report(iterate, now))
        return reason

    def _reason(self, iterate: Iterate, now: float) -> StopReason | None:
        if self.observer.stop_requested:
            return StopReason.INTERRUPTED
        if self.deadline is not None and now >= self.deadline:
            return StopReason.MAX_TIME
        if (
            self.validation is not None
            and self.validation.look(iterate)
            and self.stop_on_validation
        ):
            return StopReason.VALIDATION
        return None

    def _report(self, iterate: Iterate, now: float) -> SolveReport:
        first, since = self._first or (iterate.iteration, now)
        elapsed = now - since
        return SolveReport(
            iteration=iterate.iteration,
            restarts=iterate.restarts,
            rank=iterate.rank,
            relative_residual=iterate.relative_residual,
            target=iterate.target,
            valid_force_mae=None if self.validation is None else self.validation.latest,
            iterations_per_second=(iterate.iteration - first) / elapsed if elapsed > 0 else 0.0,
            seconds=iterate.seconds,
            seconds_left=iterate.seconds_left(),
        )
