"""The course of one iterative solution: checks, restarts and its end."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from kraft.core.progress import Progress
from kraft.core.typing import IntArray
from kraft.linalg.arrays import Array, host, native, tensor
from kraft.solvers.conjugate_gradients import BreakdownError, ConjugateGradients
from kraft.solvers.dense import TOLERATED_RESIDUAL
from kraft.solvers.monitor import Iterate, Monitor, StopReason
from kraft.solvers.outcome import SolveOutcome, Status
from kraft.solvers.progress_window import EAGER, PATIENT, ProgressWindow
from kraft.solvers.state import HistoryPoint, SolverState
from kraft.solvers.unconverged import advice

if TYPE_CHECKING:
    from kraft.solvers.iterative import PreparedIterative

HISTORY_INTERVAL = 10
"""Steps between points of the history."""

FEW_STEPS = 150
"""Before as many steps since a restart, the speed of convergence says little."""

LARGEST_RESIDUAL = 100.0
"""Relative residuals beyond this are those of a singular system, whose energy tells nothing."""


@dataclass(frozen=True)
class CheckedIterate:
    """An iterate whose residual was recomputed."""

    solution: Array
    relative_residual: float
    energy: float


class Iteration:
    """One solution by restarted conjugate gradients; see :class:`IterativeSolver`."""

    def __init__(
        self,
        system: PreparedIterative,
        right_hand_side: Tensor,
        start: SolverState | None,
        monitor: Monitor | None,
        progress: Progress,
    ) -> None:
        self._system = system
        self._shape = right_hand_side.shape
        operator = system.operator
        if right_hand_side.ndim not in (1, 2) or len(right_hand_side) != operator.size:
            raise ValueError(
                f"expected right-hand sides ({operator.size},) or ({operator.size}, m), got the "
                f"shape {tuple(right_hand_side.shape)}"
            )
        columns = right_hand_side.to(operator.device, operator.dtype).reshape(operator.size, -1)
        self._b = native(columns.contiguous())
        self._monitor, self._progress = monitor, progress
        self._begin = time.perf_counter()
        self._earlier = start if start is not None else SolverState(np.zeros(0))
        self._iterations = self._earlier.iteration
        self._restarts = self._earlier.restarts
        self._history = list(self._earlier.history)
        self._window = ProgressWindow()
        self._may_grow = True
        self._growths = self._idle_restarts = 0
        self._breakdowns = 0
        self._breakdown = ""
        self._rounding = 0.0  # the largest gap of the recurrence since the last restart
        self._cg = self._conjugate_gradients(self._start(start))
        self._best = self._latest()

    def _start(self, start: SolverState | None) -> Array | None:
        if start is None:
            return None
        if start.coefficients.shape != tuple(self._shape):
            raise ValueError(
                f"the state to resume has coefficients of the shape {start.coefficients.shape}, "
                f"the right-hand sides have {tuple(self._shape)}"
            )
        values = torch.tensor(start.coefficients).reshape(len(self._b), -1)
        operator = self._system.operator
        return native(values.to(operator.device, operator.dtype).contiguous())

    def _conjugate_gradients(self, start: Array | None) -> ConjugateGradients:
        return ConjugateGradients(
            self._system.apply,
            self._system.preconditioner.solve,
            self._b,
            tolerance=self._system.solver.tolerance,
            start=start,
        )

    @property
    def seconds(self) -> float:
        """Wall time so far, that of interrupted runs included."""
        return self._earlier.seconds + time.perf_counter() - self._begin

    def run(self) -> SolveOutcome:
        """Iterate to the end, whatever it is."""
        started_with = self._system.seconds_preconditioner
        status: Status | None = "converged" if self._cg.converged else None
        while status is None:
            status = self._next()
        return self._outcome(status, self._system.seconds_preconditioner - started_with)

    def _next(self) -> Status | None:
        """Take one step with all that belongs to it; return a status to end."""
        cg, solver = self._cg, self._system.solver
        limit = solver.max_iterations
        if self._iterations >= (max(1000, len(self._b)) if limit is None else limit):
            return "max_iterations"
        try:
            cg.step()
        except BreakdownError as error:
            return self._recover(error)
        self._iterations += 1
        checked = self._check()
        if not np.isfinite(cg.relative_residual):
            return self._recover(BreakdownError("The product gave numbers that are not finite"))
        self._window.add(self.seconds, cg.relative_residual + cg.gap, cg.energy)
        stop = self._tell(checked)
        if cg.converged:
            return "converged"
        if stop is not None:
            return stop.value
        return self._restart_if_stalled()

    def _check(self) -> bool:
        """Recompute residuals when it is time or when convergence is claimed."""
        cg = self._cg
        if self._iterations % self._system.solver.check_interval == 0:
            cg.refresh()
        elif np.any(claims := cg.claims()):
            cg.refresh(claims)
        else:
            return False
        self._keep_best()
        return True

    def _latest(self) -> CheckedIterate:
        return CheckedIterate(
            self._cg.current.solution, self._cg.relative_residual, self._cg.energy
        )

    def _keep_best(self) -> None:
        """Keep the latest iterate unless both its residual and its energy are worse."""
        self._rounding = max(self._rounding, self._cg.gap)
        latest, best = self._latest(), self._best
        lower = latest.energy <= best.energy and latest.relative_residual < LARGEST_RESIDUAL
        if latest.relative_residual <= best.relative_residual or lower:
            self._best = latest

    def _tell(self, checked: bool) -> StopReason | None:
        if self._iterations % HISTORY_INTERVAL == 0 or self._cg.converged:
            self._history.append(self._point())
        self._progress("solving", self._iterations, 0)
        if self._monitor is None:
            return None
        return self._monitor(
            Iterate(
                iteration=self._iterations,
                seconds=self.seconds,
                relative_residual=self._cg.relative_residual,
                target=self._cg.tolerance,
                checked=checked,
                rank=self._system.preconditioner.rank,
                restarts=self._restarts,
                coefficients=self._coefficients,
                state=self.state,
                seconds_left=lambda: self._window.seconds_left(self._cg.tolerance),
                record_validation=self._record_validation,
            )
        )

    def _point(self) -> HistoryPoint:
        return HistoryPoint(
            iteration=self._iterations,
            seconds=self.seconds,
            relative_residual=self._cg.relative_residual,
            rank=self._system.preconditioner.rank,
        )

    def _record_validation(self, force_mae: float) -> None:
        point = self._point()
        if self._history and self._history[-1].iteration == point.iteration:
            point = self._history.pop()
        self._history.append(replace(point, valid_force_mae=force_mae))

    def _restart_if_stalled(self) -> Status | None:
        """Restart from the latest iterate with a stronger preconditioner where one can be had.

        Where none can be had, restart once as it is, after more patience, and then give up.
        """
        stalled = self._window.stalled(EAGER if self._may_grow else PATIENT)
        if not stalled and not (self._may_grow and self._growth_pays()):
            return None
        self._cg.refresh()
        self._keep_best()
        if self._cg.converged:
            return "converged"
        if self._may_grow:
            self._may_grow = self._grow()
            if not self._may_grow:
                return None
        elif self._idle_restarts >= 1:
            return "stalled"
        else:
            self._idle_restarts += 1
        self._begin_again()
        return "converged" if self._cg.converged else None

    def _growth_pays(self) -> bool:
        """Whether a stronger preconditioner would end the iteration sooner, about.

        Twice the rank takes four times as long to build, and all iterations together a third to
        half as long as those since the restart and those left.
        """
        if self._iterations % self._system.solver.check_interval or self._window.steps < FEW_STEPS:
            return False
        left = self._window.seconds_left(self._cg.tolerance)
        if left is None:
            return False
        return left > 6.0 * self._system.seconds_last_build + 0.5 * self._window.seconds

    def _grow(self) -> bool:
        """Build a stronger preconditioner; return whether that was possible."""
        system = self._system
        rank, present = system.stronger_rank(self._b.shape[1]), system.preconditioner.rank
        if rank is None or self._growths >= system.solver.max_restarts:
            return False
        self._growths += 1
        system.build(rank, self._progress)
        if system.preconditioner.rank > present:
            return True
        self._begin_again()  # the present one is gone
        return False

    def _recover(self, error: BreakdownError) -> Status | None:
        """Restart once from the best iterate, with its recomputed residual, then give up."""
        self._breakdown = str(error)
        self._breakdowns += 1
        if self._breakdowns > 1:
            return "breakdown"
        self._begin_again()
        return "converged" if self._cg.converged else None

    def _begin_again(self) -> None:
        self._cg = self._conjugate_gradients(self._best.solution)
        self._restarts += 1
        self._rounding = 0.0
        self._window.restart()

    def _coefficients(self) -> Tensor:
        return tensor(self._cg.current.solution).reshape(self._shape)

    def _landmarks(self) -> IntArray:
        found = getattr(self._system.preconditioner, "landmarks", ())
        return np.array(found, dtype=np.int64)

    def state(self) -> SolverState:
        """Return what resuming from the latest iterate needs, copied."""
        return SolverState(
            coefficients=np.array(host(self._cg.current.solution), dtype=np.float64).reshape(
                self._shape
            ),
            landmarks=self._landmarks(),
            iteration=self._iterations,
            restarts=self._restarts,
            rank=self._system.preconditioner.rank,
            seconds=self.seconds,
            history=tuple(self._history),
            relative_residual=self._cg.relative_residual,
        )

    def _outcome(self, status: Status, seconds_rebuilding: float) -> SolveOutcome:
        system = self._system
        if not self._cg.converged:
            self._cg.refresh()
            self._keep_best()
            if self._best.solution is not self._cg.current.solution:
                self._cg = self._conjugate_gradients(self._best.solution)
        if self._cg.converged:
            status = "converged"
        elif status in ("stalled", "max_iterations") and self._rounding > max(
            self._cg.tolerance, TOLERATED_RESIDUAL
        ):
            status = "breakdown"
            self._breakdown = f"rounding alone leaves a residual of {self._rounding:.1e}"
        if not self._history or self._history[-1].iteration != self._iterations:
            self._history.append(self._point())
        return SolveOutcome(
            coefficients=self._coefficients().clone(),
            solver="iterative",
            relative_residual=self._cg.relative_residual,
            jitter=0.0,
            seconds_assembly=system.seconds_product,
            seconds_factorization=system.seconds_preconditioner,
            seconds_solve=self.seconds - seconds_rebuilding,
            status=status,
            iterations=self._iterations,
            restarts=self._restarts,
            preconditioner=system.preconditioner.name,
            rank=system.preconditioner.rank,
            history=tuple(self._history),
            advice=advice(
                status,
                relative_residual=self._cg.relative_residual,
                tolerance=self._cg.tolerance,
                iterations=self._iterations,
                restarts=self._restarts,
                rank=system.preconditioner.rank,
                breakdown=self._breakdown,
            ),
            memory=system.memory,
        )
