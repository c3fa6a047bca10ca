"""A descent by L-BFGS to the weights that minimize an objective, every step on record."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.optimize import OptimizeResult, minimize

from kraft.core.errors import SolverError
from kraft.core.typing import FloatArray
from kraft.models.metric.objective import MetricObjective

LARGEST_MOVE = 6.0
"""A log-weight moves at most so far from where it starts."""

LARGEST_MIXING = 20.0
"""An entry of the mixing is at most so many of its standard deviations."""

REGULARIZATION_RANGE = (1e-14, 1e-2)
"""Relative to the mean diagonal of the kernel matrix at the start."""

RAISED, TIMES_RAISED = 10.0, 4
"""A regularization that makes the system singular at the start is raised so much, so many times."""

PATIENCE = 5
"""The gain is looked at over so many steps."""

MEMORY = 20
"""Steps that the optimizer remembers."""

UNSOLVABLE = 100.0
"""What a singular system adds to the best objective so far, so that line searches turn back."""


@dataclass(frozen=True, eq=False)
class MetricStep:
    """Where the optimizer was after a step; the first is the start, with equal weights.

    Attributes
    ----------
    n_train
        Geometries that the step was made on; what it led to is computed anew when they change.
    objective
        Criterion and prior on these.
    orbit_weights
        ``(n_orbits,)`` weights times the kernel's factor for the length scale.
    mixing
        ``(n_pairs,)`` entries of the mixing matrix, one for each orbit of pairs of features.
    regularization
        That goes with them.
    seconds
        Since the start.
    """

    n_train: int
    objective: float
    orbit_weights: FloatArray
    mixing: FloatArray
    regularization: float
    seconds: float


class Descent:
    """A run of L-BFGS with its trace.

    Parameters
    ----------
    objective
        What to minimize.
    max_steps
        Steps at most.
    least_gain
        The descent ends when the objective fell by less than this over :data:`PATIENCE` steps.
    started
        When the clock of the steps was started.
    """

    def __init__(
        self, objective: MetricObjective, max_steps: int, least_gain: float, started: float
    ) -> None:
        self._objective = objective
        self._max_steps = max_steps
        self._least_gain = least_gain
        self._started = started
        self._best = math.inf
        self._stalled = False
        self.steps: list[MetricStep] = []
        self.n_evaluations = 0

    def run(self, start: FloatArray, report: Callable[[int], None]) -> tuple[FloatArray, str]:
        """Return the best point and why the descent ended; ``report`` is told the steps done.

        Raises
        ------
        SolverError
            When the system is singular at the start, at larger regularizations too.
        """
        report(0)
        start = self._solvable(start)
        diagonal = self._objective.mean_diagonal(start)
        lowest, highest = (math.log(limit * diagonal) for limit in REGULARIZATION_RANGE)
        variables = self._objective.variables
        bounds = [(x - LARGEST_MOVE, x + LARGEST_MOVE) for x in start[: variables.n_orbits]]
        bounds += [(-LARGEST_MIXING, LARGEST_MIXING)] * variables.n_pairs
        bounds.append((min(lowest, start[-1]), max(highest, start[-1])))

        def after_step(intermediate_result: OptimizeResult) -> None:
            self._record(float(intermediate_result.fun), np.array(intermediate_result.x))
            report(len(self.steps) - 1)
            self._stalled = self._gain() < self._least_gain
            if self._stalled:
                raise StopIteration

        result = minimize(
            self._evaluate,
            start,
            jac=True,
            method="L-BFGS-B",
            bounds=bounds,
            callback=after_step,
            options={"maxiter": self._max_steps, "maxls": 10, "maxcor": MEMORY},
        )
        return result.x, self._reason(result)

    def _solvable(self, start: FloatArray) -> FloatArray:
        """Return the start, its regularization raised where the system is singular."""
        for raised in range(TIMES_RAISED + 1):
            point = np.append(start[:-1], start[-1] + raised * math.log(RAISED))
            value, _ = self._evaluate(point)
            if self._best < math.inf:
                self._record(value, point)
                return point
        raise SolverError(
            "A metric cannot be learned from a system that is singular at the start. Look for "
            "duplicate or coincident frames with `kraft info`, or give a larger regularization."
        )

    def _evaluate(self, point: FloatArray) -> tuple[float, FloatArray]:
        self.n_evaluations += 1
        value, gradient = self._objective(point)
        if not math.isfinite(value):
            return self._best + UNSOLVABLE, gradient
        self._best = min(self._best, value)
        return value, gradient

    def _record(self, value: float, point: FloatArray) -> None:
        variables = self._objective.variables
        self.steps.append(
            MetricStep(
                n_train=self._objective.n_train,
                objective=value,
                orbit_weights=np.exp(point[: variables.n_orbits]),
                mixing=variables.deviations * point[variables.n_orbits : -1],
                regularization=math.exp(point[-1]),
                seconds=time.perf_counter() - self._started,
            )
        )

    def _gain(self) -> float:
        """Return what the last few steps gained; infinity while there were not as many."""
        if len(self.steps) <= PATIENCE:
            return math.inf
        return self.steps[-1 - PATIENCE].objective - self.steps[-1].objective

    def _reason(self, result: OptimizeResult) -> str:
        if self._stalled:
            return f"{PATIENCE} steps gained less than {self._least_gain:g}"
        if len(self.steps) > self._max_steps:
            return f"the limit of {self._max_steps} steps"
        return f"the optimizer ended: {str(result.message).strip().lower()}"
