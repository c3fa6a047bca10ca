"""Learning one weight for each orbit of features by gradient descent."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass

import numpy as np
import torch
from scipy.optimize import OptimizeResult, minimize

from kraft.core.errors import OptionError, SolverError
from kraft.core.progress import Progress, silent
from kraft.core.typing import FloatArray, IntArray
from kraft.kernels import radial_kernel
from kraft.models.metric.objective import Criterion, MetricObjective
from kraft.models.objective import TrainingArrays

LARGEST_MOVE = 6.0
"""A log-weight moves at most so far from where it starts."""

REGULARIZATION_RANGE = (1e-14, 1e-2)
"""Relative to the mean diagonal of the kernel matrix at the start."""

PATIENCE = 5
"""The gain is looked at over so many steps."""

UNSOLVABLE = 100.0
"""What a singular system adds to the best objective so far, so that line searches turn back."""


@dataclass(frozen=True)
class MetricOptions:
    """How a metric is learned.

    Attributes
    ----------
    criterion
        What is minimized, see :class:`kraft.models.metric.MetricObjective`.
    prior_deviation
        Standard deviation of log-weights about their mean that the prior expects: the smaller, the
        closer to equal weights.
    max_labels
        Labels of the subset of training geometries that is learned from; the time goes with the
        cube of their number.
    max_steps
        Steps of the optimizer at most.
    least_gain
        The optimizer stops when the objective (a logarithm) fell by less than this over five steps.
    """

    criterion: Criterion = "likelihood"
    prior_deviation: float = 0.5
    max_labels: int = 2400
    max_steps: int = 25
    least_gain: float = 3e-3

    def __post_init__(self) -> None:
        for name in ("max_labels", "max_steps"):
            if getattr(self, name) < 1:
                raise OptionError(f"{name} must be at least 1, got {getattr(self, name)}.")


@dataclass(frozen=True, eq=False)
class MetricStep:
    """Where the optimizer was after a step; the first is the start, with equal weights.

    Attributes
    ----------
    objective
        Criterion and prior.
    orbit_weights
        ``(n_orbits,)`` weights times the kernel's factor for the length scale.
    regularization
        That goes with them.
    seconds
        Since the start.
    """

    objective: float
    orbit_weights: FloatArray
    regularization: float
    seconds: float


@dataclass(frozen=True, eq=False)
class LearnedMetric:
    """Learned weights and how they came about.

    Attributes
    ----------
    feature_weights
        ``(D,)`` equal on orbits; scaled so that the median distance between the weighted features
        of two geometries is that of the unweighted ones.
    orbits
        ``(D,)`` number of the orbit of every feature.
    kernel, length_scale, regularization
        What the weights were learned with, and together with them.
    criterion
        What was minimized.
    n_train
        Geometries that were learned from.
    steps
        The whole way.
    n_evaluations
        How often objective and gradient were computed.
    stop_reason
        Why it ended.
    """

    feature_weights: FloatArray
    orbits: IntArray
    kernel: str
    length_scale: float
    regularization: float
    criterion: Criterion
    n_train: int
    steps: tuple[MetricStep, ...]
    n_evaluations: int
    stop_reason: str
    seconds: float

    @property
    def gain(self) -> float:
        """How far the objective fell."""
        return self.steps[0].objective - self.steps[-1].objective

    @property
    def spread(self) -> float:
        """Standard deviation of the logarithms of the orbits' weights; zero for equal ones."""
        first = np.unique(self.orbits, return_index=True)[1]
        return float(np.log(self.feature_weights[first]).std())


def learn_metric(
    arrays: TrainingArrays,
    indices: IntArray,
    kernel: str,
    length_scale: float,
    regularization: float,
    options: MetricOptions = MetricOptions(),
    progress: Progress = silent,
) -> LearnedMetric:
    """Learn the weights of features, with length scale and regularization, on some geometries.

    Nothing is random, and nothing is written: an interruption loses the steps, no more.

    Parameters
    ----------
    arrays
        The data.
    indices
        ``(m,)`` training geometries to learn from.
    kernel
        Name of the radial kernel.
    length_scale, regularization
        Where to start, with equal weights.
    options
        How.
    progress
        Told about the steps.

    Raises
    ------
    OptionError
        When the criterion needs validation geometries and there are none.
    SolverError
        When the system cannot be solved at the start.
    """
    objective = MetricObjective(arrays, indices, kernel, options.criterion, options.prior_deviation)
    descent = _Descent(objective, options, progress)
    point, reason = descent.run(objective.point(length_scale, regularization))
    factors = objective.scale(point)
    ratio = _relative_spread(arrays, indices, factors)
    return LearnedMetric(
        feature_weights=factors / ratio,
        orbits=objective.orbits,
        kernel=kernel,
        length_scale=radial_kernel(kernel).scale(1.0) / ratio,
        regularization=math.exp(point[-1]),
        criterion=options.criterion,
        n_train=objective.n_train,
        steps=tuple(descent.steps),
        n_evaluations=descent.n_evaluations,
        stop_reason=reason,
        seconds=time.perf_counter() - descent.started,
    )


class _Descent:
    """A run of L-BFGS with its trace."""

    def __init__(
        self, objective: MetricObjective, options: MetricOptions, progress: Progress
    ) -> None:
        self._objective = objective
        self._options = options
        self._progress = progress
        self._best = math.inf
        self._stalled = False
        self.steps: list[MetricStep] = []
        self.n_evaluations = 0
        self.started = time.perf_counter()

    def run(self, start: FloatArray) -> tuple[FloatArray, str]:
        """Return the best point and why the descent ended."""
        self._progress("learning the metric", 0, self._options.max_steps)
        value, _ = self._evaluate(start)
        if not self._best < math.inf:
            raise SolverError(
                "A metric cannot be learned from a system that is singular at the start. Look for "
                "duplicate or coincident frames with `kraft info`, or give a larger regularization."
            )
        self._record(value, start)
        diagonal = self._objective.mean_diagonal(start)
        lowest, highest = (math.log(limit * diagonal) for limit in REGULARIZATION_RANGE)
        bounds = [(x - LARGEST_MOVE, x + LARGEST_MOVE) for x in start[:-1]]
        bounds.append((min(lowest, start[-1]), max(highest, start[-1])))
        result = minimize(
            self._evaluate,
            start,
            jac=True,
            method="L-BFGS-B",
            bounds=bounds,
            callback=self._after_step,
            options={"maxiter": self._options.max_steps, "maxls": 10},
        )
        return result.x, self._reason(result)

    def _evaluate(self, point: FloatArray) -> tuple[float, FloatArray]:
        self.n_evaluations += 1
        value, gradient = self._objective(point)
        if not math.isfinite(value):
            return self._best + UNSOLVABLE, gradient
        self._best = min(self._best, value)
        return value, gradient

    def _record(self, value: float, point: FloatArray) -> None:
        self.steps.append(
            MetricStep(
                objective=value,
                orbit_weights=np.exp(point[:-1]),
                regularization=math.exp(point[-1]),
                seconds=time.perf_counter() - self.started,
            )
        )

    def _after_step(self, intermediate_result: OptimizeResult) -> None:
        self._record(float(intermediate_result.fun), np.array(intermediate_result.x))
        self._progress("learning the metric", len(self.steps) - 1, self._options.max_steps)
        if len(self.steps) > PATIENCE:
            gain = self.steps[-1 - PATIENCE].objective - self.steps[-1].objective
            if gain < self._options.least_gain:
                self._stalled = True
                raise StopIteration

    def _reason(self, result: OptimizeResult) -> str:
        if self._stalled:
            return f"{PATIENCE} steps gained less than {self._options.least_gain:g}"
        if len(self.steps) > self._options.max_steps:
            return f"the limit of {self._options.max_steps} steps"
        return f"the optimizer ended: {str(result.message).strip().lower()}"


def _relative_spread(arrays: TrainingArrays, indices: IntArray, factors: FloatArray) -> float:
    """Return the median distance of features with these factors, relative to that without any."""
    positions = arrays.positions[torch.as_tensor(indices, device=arrays.positions.device)]
    values = arrays.descriptor.values(positions).cpu()
    weighted, plain = (
        float(torch.pdist(x).median()) for x in (values * torch.as_tensor(factors), values)
    )
    ratio = weighted / plain if plain > 0.0 else math.nan
    return ratio if math.isfinite(ratio) and ratio > 0.0 else float(factors.mean())
